/**
 * The messages of the memberlist protocol as values. The core (swim.ts) uses only these; the codecs own their encoding.
 * Field meanings follow memberlist v0.2.0 and v0.7.0, protocol version 2.
 */

type Bytes = Uint8Array<ArrayBuffer>;

/** The six version bytes of a record, in wire order: protocol min, max, current; delegate min, max, current. */
export interface Versions {
  protocolMin: number;
  protocolMax: number;
  protocolCurrent: number;
  delegateMin: number;
  delegateMax: number;
  delegateCurrent: number;
}

/** The sender of a ping. A ping of an old node has none and is answered to the packet's source address. */
export interface Source {
  /** Raw address: 4 bytes for IPv4, 16 for IPv6 or IPv4-mapped. Compared byte by byte, passed on verbatim. */
  address: Bytes;
  port: number;
  name: string;
}

export interface Ping {
  kind: "ping";
  sequence: number;
  /** The name of the target; empty: any node that receives it. */
  node: string;
  source?: Source;
}

export interface IndirectPing {
  kind: "indirectPing";
  sequence: number;
  target: Bytes;
  port: number;
  node: string;
  /** The requester supports nacks. */
  nack: boolean;
  source?: Source;
}

export interface Ack {
  kind: "ack";
  sequence: number;
  payload: Bytes;
}

export interface Nack {
  kind: "nack";
  sequence: number;
}

export interface Suspect {
  kind: "suspect";
  node: string;
  incarnation: number;
  from: string;
}

export interface Dead {
  kind: "dead";
  node: string;
  incarnation: number;
  /** Equal to `node`: the node announces its own leave. */
  from: string;
}

export interface Alive {
  kind: "alive";
  node: string;
  incarnation: number;
  address: Bytes;
  port: number;
  meta: Bytes;
  /** Undefined: the record arrived without complete version bytes. */
  versions: Versions | undefined;
}

/** Application data, such as e2d's status broadcasts. */
export interface User {
  kind: "user";
  data: Bytes;
}

/** The messages of a packet after label, seal, CRC, compression and compound are decoded. */
export type Message = Ping | IndirectPing | Ack | Nack | Suspect | Dead | Alive | User;

export const memberStates = ["alive", "suspect", "dead", "left"] as const;
export type MemberState = typeof memberStates[number];

/** One record of a push/pull. */
export interface NodeState {
  name: string;
  address: Bytes;
  port: number;
  incarnation: number;
  meta: Bytes;
  state: MemberState;
  versions: Versions | undefined;
}

export interface PushPull {
  kind: "pushPull";
  join: boolean;
  nodes: NodeState[];
  userState: Bytes;
}

/** The answer to a stream with unreadable framing. */
export interface ErrorReply {
  kind: "error";
  text: string;
}

/** The messages of a stream. */
export type StreamMessage = PushPull | Ping | Ack | User | ErrorReply;
