/**
 * What memberlist nodes say to each other, as values. The core (swim.ts) thinks in these alone; how they look as bytes
 * is the business of the codec. Field meanings follow memberlist v0.2.0 and v0.7.0, protocol version 2.
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

/** Where a ping came from; an old node that leaves it out is answered at the packet's sender. */
export interface Source {
  /** Raw address: 4 bytes for IPv4, 16 for IPv6 or IPv4-mapped. Compared byte by byte, sent on verbatim. */
  address: Bytes;
  port: number;
  name: string;
}

export interface Ping {
  kind: "ping";
  sequence: number;
  /** The node that is meant; empty means whoever gets it. */
  node: string;
  source?: Source;
}

export interface IndirectPing {
  kind: "indirectPing";
  sequence: number;
  target: Bytes;
  port: number;
  node: string;
  /** The requester understands nacks. */
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
  /** Equal to `node`: the node says itself that it leaves. */
  from: string;
}

export interface Alive {
  kind: "alive";
  node: string;
  incarnation: number;
  address: Bytes;
  port: number;
  meta: Bytes;
  /** undefined: the record came without (complete) version bytes. */
  versions: Versions | undefined;
}

/** Application data; e2d's status broadcasts travel so. */
export interface User {
  kind: "user";
  data: Bytes;
}

/** Everything a packet may carry once compound, compression, CRC, encryption and label are off. */
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

/** The answer to a stream whose framing could not be read. */
export interface ErrorReply {
  kind: "error";
  text: string;
}

/** What a stream carries in one direction. */
export type StreamMessage = PushPull | Ping | Ack | User | ErrorReply;
