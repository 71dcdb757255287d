/** One message of a stream as bytes: push/pull, ping, ack, user data or an error, without frame and compression. */
import { E2dError } from "../../errors.ts";
import { ByteQueue } from "./byte_queue.ts";
import { memberStates, type NodeState, type StreamMessage, type Versions } from "./message.ts";
import { isAddress, messageTypes, readAck, readPing, versionBytes, versionsFromBytes } from "./message_codec.ts";
import { writeAck, writePing } from "./message_codec.ts";
import { MsgpackReader, MsgpackWriter } from "./msgpack.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Maximum records of a push/pull. A record has at least 60 bytes, so the bound on the content applies first. */
export const pushPullNodesMax = 32_768;
/** Maximum bytes of a header or a record: an incomplete one is parsed again with each received piece. */
const valueBytesMax = 65_536;
const uint32Max = 0xffff_ffff;

/** Throws E2dError `gossip_encode` as encodeMessage does. */
export function encodeStreamMessage(message: StreamMessage): Bytes {
  const out = new MsgpackWriter();
  switch (message.kind) {
    case "pushPull":
      out.byte(messageTypes.pushPull);
      out.struct(3);
      out.key("Join");
      out.bool(message.join);
      out.key("Nodes");
      out.uint(message.nodes.length);
      out.key("UserStateLen");
      out.uint(message.userState.length);
      for (const node of message.nodes) writeNode(out, node);
      out.verbatim(message.userState);
      break;
    case "ping":
      writePing(out, message);
      break;
    case "ack":
      writeAck(out, message);
      break;
    case "user":
      out.byte(messageTypes.user);
      out.struct(1);
      out.key("UserMsgLen");
      out.uint(message.data.length);
      out.verbatim(message.data);
      break;
    case "error":
      out.byte(messageTypes.error);
      out.struct(1);
      out.key("Error");
      out.text(message.text);
      break;
    default:
      return message satisfies never;
  }
  return out.finish();
}

/**
 * Decodes a whole message and ignores trailing bytes. Throws E2dError `gossip_decode`, `gossip_truncated` or
 * `gossip_oversize`.
 */
export function decodeStreamMessage(data: Uint8Array): StreamMessage {
  const decoder = new StreamMessageDecoder(data.length);
  const message = decoder.push(data);
  if (message === undefined) {
    throw new E2dError("gossip_truncated", "Cannot decode: the data ends in the middle of a message");
  }
  return message;
}

/**
 * Decodes one message of unknown length as its bytes arrive. Decoded records are not parsed again, so a long push/pull
 * in small pieces costs no more than in one piece.
 */
export class StreamMessageDecoder {
  readonly #bytesMax: number;
  readonly #queue = new ByteQueue();
  #bytesReceived = 0;
  #type: number | undefined;
  #header: { join: boolean; nodes: number; userStateLength: number } | undefined;
  #userLength: number | undefined;
  #nodesRead = 0;
  readonly #nodes: NodeState[] = [];

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /**
   * Returns the message once it is complete, undefined while bytes are missing. Throws E2dError `gossip_decode`, or
   * `gossip_oversize` as soon as more than `bytesMax` bytes would be needed.
   */
  push(data: Uint8Array): StreamMessage | undefined {
    this.#bytesReceived += data.length;
    if (this.#bytesReceived > this.#bytesMax) throw oversize(this.#bytesMax);
    this.#queue.append(data);
    try {
      return this.#step();
    } catch (error) {
      if (error instanceof E2dError && error.code === "gossip_truncated") return undefined;
      throw error;
    }
  }

  #step(): StreamMessage {
    if (this.#type === undefined) {
      this.#type = this.#verbatim(1)[0]!;
    }
    switch (this.#type) {
      case messageTypes.ping:
        return this.#read(readPing);
      case messageTypes.ack:
        return this.#read(readAck);
      case messageTypes.error:
        return this.#read((reader) => {
          let text = "";
          reader.struct({ Error: () => text = reader.text() });
          return { kind: "error", text };
        });
      case messageTypes.user: {
        const length = this.#userLength ??= this.#read((reader) => {
          let length = 0;
          reader.struct({ UserMsgLen: () => length = reader.uint(uint32Max) });
          return length;
        });
        if (length > this.#bytesMax) throw oversize(this.#bytesMax);
        return { kind: "user", data: this.#verbatim(length) };
      }
      case messageTypes.pushPull: {
        const header = this.#header ??= this.#read(readHeader);
        if (header.nodes > pushPullNodesMax) {
          throw new E2dError(
            "gossip_oversize",
            `Cannot read a push/pull: it has ${header.nodes} records, the limit is ${pushPullNodesMax}`,
          );
        }
        if (header.userStateLength > this.#bytesMax) throw oversize(this.#bytesMax);
        while (this.#nodesRead < header.nodes) {
          const node = this.#read(readNode);
          this.#nodesRead++;
          if (node !== undefined) this.#nodes.push(node);
        }
        const userState = this.#verbatim(header.userStateLength);
        return { kind: "pushPull", join: header.join, nodes: this.#nodes, userState };
      }
      default:
        throw new E2dError("gossip_decode", `Cannot decode a stream: type ${this.#type} does not occur in streams`);
    }
  }

  /** Reads one value; consumes nothing while it is incomplete. Refuses a value longer than `valueBytesMax`. */
  #read<T>(read: (reader: MsgpackReader) => T): T {
    try {
      return this.#consume(read);
    } catch (error) {
      if (this.#queue.length > valueBytesMax) throw oversize(valueBytesMax);
      throw error;
    }
  }

  #verbatim(length: number): Bytes {
    return this.#consume((reader) => reader.verbatim(length));
  }

  #consume<T>(read: (reader: MsgpackReader) => T): T {
    const reader = new MsgpackReader(this.#queue.view());
    const value = read(reader);
    this.#queue.consume(reader.at);
    return value;
  }
}

const oversize = (max: number) =>
  new E2dError("gossip_oversize", `Cannot read a stream: it is longer than ${max} bytes`);

function readHeader(reader: MsgpackReader): { join: boolean; nodes: number; userStateLength: number } {
  let nodes = 0, userStateLength = 0, join = false;
  reader.struct({
    Nodes: () => nodes = reader.uint(uint32Max),
    UserStateLen: () => userStateLength = reader.uint(uint32Max),
    Join: () => join = reader.bool(),
  });
  return { join, nodes, userStateLength };
}

function writeNode(out: MsgpackWriter, node: NodeState): void {
  out.struct(7);
  out.key("Addr");
  out.raw(node.address);
  out.key("Incarnation");
  out.uint(node.incarnation);
  out.key("Meta");
  out.rawOrNil(node.meta);
  out.key("Name");
  out.text(node.name);
  out.key("Port");
  out.uint(node.port);
  out.key("State");
  out.uint(memberStates.indexOf(node.state));
  out.key("Vsn");
  out.raw(versionBytes(node.versions, node.name));
}

/**
 * One record; undefined for an unusable one (an invalid address, an unknown state). Such a record must not stop the
 * others: the peer that holds it sends it with every push/pull.
 */
function readNode(reader: MsgpackReader): NodeState | undefined {
  let name = "", port = 0, incarnation = 0, stateNumber = 0;
  let address: Bytes = new Uint8Array(0), meta: Bytes = new Uint8Array(0), versions: Versions | undefined;
  reader.struct({
    Name: () => name = reader.text(),
    Addr: () => address = reader.bytes(),
    Port: () => port = reader.uint(0xffff),
    Meta: () => meta = reader.bytes(),
    Incarnation: () => incarnation = reader.uint(uint32Max),
    State: () => stateNumber = reader.uint(uint32Max),
    Vsn: () => versions = versionsFromBytes(reader.bytes()),
  });
  const state = memberStates[stateNumber];
  if (state === undefined || !isAddress(address)) return undefined;
  return { name, address, port, incarnation, meta, state, versions };
}
