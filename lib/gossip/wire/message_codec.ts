/** One message as bytes: a type byte and a body. Fields are in sorted order, as Go writes them. */
import { E2dError } from "../../errors.ts";
import type { Message, Source, Versions } from "./message.ts";
import { MsgpackReader, MsgpackWriter } from "./msgpack.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const messageTypes = {
  ping: 0,
  indirectPing: 1,
  ack: 2,
  suspect: 3,
  alive: 4,
  dead: 5,
  pushPull: 6,
  compound: 7,
  user: 8,
  compress: 9,
  encrypt: 10,
  nack: 11,
  crc: 12,
  error: 13,
  label: 244,
} as const;

const uint32Max = 0xffff_ffff;
const portMax = 0xffff;

/**
 * Encodes a packet message. Throws E2dError `gossip_encode` for messages that harm a peer: a record without version
 * bytes stops every later push/pull merge of a Go node, and a record with incarnation 0 never becomes alive.
 */
export function encodeMessage(message: Message): Bytes {
  const out = new MsgpackWriter();
  switch (message.kind) {
    case "ping":
      writePing(out, message);
      break;
    case "indirectPing":
      writeIndirectPing(out, message);
      break;
    case "ack":
      writeAck(out, message);
      break;
    case "nack":
      out.byte(messageTypes.nack);
      out.struct(1);
      out.key("SeqNo");
      out.uint(message.sequence);
      break;
    case "suspect":
    case "dead":
      writeClaim(out, message);
      break;
    case "alive":
      writeAlive(out, message);
      break;
    case "user":
      out.byte(messageTypes.user);
      out.verbatim(message.data);
      break;
    default:
      return message satisfies never;
  }
  return out.finish();
}

function writeIndirectPing(out: MsgpackWriter, message: Extract<Message, { kind: "indirectPing" }>): void {
  out.byte(messageTypes.indirectPing);
  out.struct(5 + sourceFields(message.source));
  out.key("Nack");
  out.bool(message.nack);
  out.key("Node");
  out.text(message.node);
  out.key("Port");
  out.uint(message.port);
  out.key("SeqNo");
  out.uint(message.sequence);
  writeSource(out, message.source);
  out.key("Target");
  out.raw(message.target);
}

function writeClaim(out: MsgpackWriter, message: Extract<Message, { kind: "suspect" | "dead" }>): void {
  out.byte(messageTypes[message.kind]);
  out.struct(3);
  out.key("From");
  out.text(message.from);
  out.key("Incarnation");
  out.uint(message.incarnation);
  out.key("Node");
  out.text(message.node);
}

function writeAlive(out: MsgpackWriter, message: Extract<Message, { kind: "alive" }>): void {
  if (message.incarnation < 1) {
    throw new E2dError("gossip_encode", `Cannot announce node "${message.node}": incarnation 0 never becomes alive`);
  }
  out.byte(messageTypes.alive);
  out.struct(6);
  out.key("Addr");
  out.raw(message.address);
  out.key("Incarnation");
  out.uint(message.incarnation);
  out.key("Meta");
  out.rawOrNil(message.meta);
  out.key("Node");
  out.text(message.node);
  out.key("Port");
  out.uint(message.port);
  out.key("Vsn");
  out.raw(versionBytes(message.versions, message.node));
}

/**
 * Decodes a message of a packet and ignores trailing bytes. Throws E2dError `gossip_truncated`, or `gossip_decode`, also
 * for types that wrap messages (compound, compress) and for types of streams.
 */
export function decodeMessage(data: Uint8Array): Message {
  if (data.length === 0) throw new E2dError("gossip_decode", "Cannot decode a message: it is empty");
  const type = data[0]!;
  const body = new MsgpackReader(data, 1);
  switch (type) {
    case messageTypes.ping:
      return readPing(body);
    case messageTypes.indirectPing:
      return readIndirectPing(body);
    case messageTypes.ack:
      return readAck(body);
    case messageTypes.nack: {
      let sequence = 0;
      body.struct({ SeqNo: () => sequence = body.uint(uint32Max) });
      return { kind: "nack", sequence };
    }
    case messageTypes.suspect:
      return { kind: "suspect", ...readAccusation(body) };
    case messageTypes.dead:
      return { kind: "dead", ...readAccusation(body) };
    case messageTypes.alive: {
      let node = "", incarnation = 0, port = 0;
      let address: Bytes = new Uint8Array(0), meta: Bytes = new Uint8Array(0), versions: Versions | undefined;
      body.struct({
        Incarnation: () => incarnation = body.uint(uint32Max),
        Node: () => node = body.text(),
        Addr: () => address = body.bytes(),
        Port: () => port = body.uint(portMax),
        Meta: () => meta = body.bytes(),
        Vsn: () => versions = versionsFromBytes(body.bytes()),
      });
      if (!isAddress(address)) {
        throw new E2dError("gossip_decode", `Cannot decode "alive" of "${node}": ${address.length} bytes of address`);
      }
      return { kind: "alive", node, incarnation, address, port, meta, versions };
    }
    case messageTypes.user:
      return { kind: "user", data: data.slice(1) };
    default:
      throw new E2dError("gossip_decode", `Cannot decode a message: type ${type} does not occur in packets`);
  }
}

/** True for the length of an IPv4 or IPv6 address. */
export function isAddress(address: Uint8Array): boolean {
  return address.length === 4 || address.length === 16;
}

export function writePing(out: MsgpackWriter, ping: { sequence: number; node: string; source?: Source }): void {
  out.byte(messageTypes.ping);
  out.struct(2 + sourceFields(ping.source));
  out.key("Node");
  out.text(ping.node);
  out.key("SeqNo");
  out.uint(ping.sequence);
  writeSource(out, ping.source);
}

export function readPing(body: MsgpackReader): Message & { kind: "ping" } {
  let sequence = 0, node = "";
  const source = new SourceFields(body);
  body.struct({
    SeqNo: () => sequence = body.uint(uint32Max),
    Node: () => node = body.text(),
    ...source.readers,
  });
  return { kind: "ping", sequence, node, ...source.value() };
}

export function writeAck(out: MsgpackWriter, ack: { sequence: number; payload: Uint8Array }): void {
  out.byte(messageTypes.ack);
  out.struct(2);
  out.key("Payload");
  out.rawOrNil(ack.payload);
  out.key("SeqNo");
  out.uint(ack.sequence);
}

export function readAck(body: MsgpackReader): Message & { kind: "ack" } {
  let sequence = 0;
  let payload: Bytes = new Uint8Array(0);
  body.struct({ SeqNo: () => sequence = body.uint(uint32Max), Payload: () => payload = body.bytes() });
  return { kind: "ack", sequence, payload };
}

/** All six version bytes; fewer crash old Go processes. Throws E2dError `gossip_encode` when the record has none. */
export function versionBytes(versions: Versions | undefined, node: string): Bytes {
  if (versions === undefined) {
    throw new E2dError("gossip_encode", `Cannot pass on the record of "${node}": it has no protocol versions`);
  }
  return Uint8Array.of(
    versions.protocolMin,
    versions.protocolMax,
    versions.protocolCurrent,
    versions.delegateMin,
    versions.delegateMax,
    versions.delegateCurrent,
  );
}

export function versionsFromBytes(bytes: Uint8Array): Versions | undefined {
  if (bytes.length < 6) return undefined;
  return {
    protocolMin: bytes[0]!,
    protocolMax: bytes[1]!,
    protocolCurrent: bytes[2]!,
    delegateMin: bytes[3]!,
    delegateMax: bytes[4]!,
    delegateCurrent: bytes[5]!,
  };
}

function readIndirectPing(body: MsgpackReader): Message {
  let sequence = 0, port = 0, node = "", nack = false;
  let target: Bytes = new Uint8Array(0);
  const source = new SourceFields(body);
  body.struct({
    SeqNo: () => sequence = body.uint(uint32Max),
    Target: () => target = body.bytes(),
    Port: () => port = body.uint(portMax),
    Node: () => node = body.text(),
    Nack: () => nack = body.bool(),
    ...source.readers,
  });
  if (!isAddress(target)) {
    throw new E2dError("gossip_decode", `Cannot decode "indirectPing": ${target.length} bytes of target address`);
  }
  return { kind: "indirectPing", sequence, target, port, node, nack, ...source.value() };
}

function readAccusation(body: MsgpackReader): { node: string; incarnation: number; from: string } {
  let node = "", incarnation = 0, from = "";
  body.struct({
    Incarnation: () => incarnation = body.uint(uint32Max),
    Node: () => node = body.text(),
    From: () => from = body.text(),
  });
  return { node, incarnation, from };
}

function sourceFields(source: Source | undefined): number {
  return source === undefined ? 0 : 2 + (source.name === "" ? 0 : 1);
}

function writeSource(out: MsgpackWriter, source: Source | undefined): void {
  if (source === undefined) return;
  out.key("SourceAddr");
  out.raw(source.address);
  if (source.name !== "") {
    out.key("SourceNode");
    out.text(source.name);
  }
  out.key("SourcePort");
  out.uint(source.port);
}

/** The three fields of a sender, which apply only with a valid address and a port. */
class SourceFields {
  #address: Bytes = new Uint8Array(0);
  #port = 0;
  #name = "";
  readonly readers: Readonly<Record<string, () => void>>;

  constructor(body: MsgpackReader) {
    this.readers = {
      SourceAddr: () => this.#address = body.bytes(),
      SourcePort: () => this.#port = body.uint(portMax),
      SourceNode: () => this.#name = body.text(),
    };
  }

  value(): { source?: Source } {
    if (!isAddress(this.#address) || this.#port === 0) return {};
    return { source: { address: this.#address, port: this.#port, name: this.#name } };
  }
}
