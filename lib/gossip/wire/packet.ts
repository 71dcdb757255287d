/**
 * One UDP packet: label ‖ seal ‖ CRC ‖ compression ‖ compound ‖ message, outermost first. The first three occur at most
 * once and in this order; compression and compound may nest.
 */
import { E2dError } from "../../errors.ts";
import { concat } from "../../bytes.ts";
import { decodeCompound, encodeCompound } from "./compound.ts";
import { decodeCompress, encodeCompress } from "./compress.ts";
import { crc32 } from "./crc32.ts";
import { labelHeader, stripLabel } from "./label.ts";
import type { Message } from "./message.ts";
import { decodeMessage, messageTypes } from "./message_codec.ts";
import type { KeyMismatchKind } from "../key_mismatches.ts";
import { looksSealed, open, seal, type SealVersion } from "./seal.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Maximum bytes of a packet after decompression. Peers write at most 1,405 bytes, except in user messages. */
export const packetContentMax = 65_536;
/** Maximum nesting of compression and compound messages; peers write two levels. */
const depthMax = 4;
/** Maximum number of messages of one packet, at all levels together. */
const messagesMax = 1024;

export interface PacketSecurity {
  label: Uint8Array;
  /** All keys for decryption, the primary key first; undefined for a cluster without encryption. */
  keys: readonly Uint8Array[] | undefined;
}

export interface EncodePacketOptions {
  label: Uint8Array;
  key: Uint8Array | undefined;
  /** Returns 12 bytes from a cryptographic generator; called only when there is a key. */
  nonce: () => Uint8Array;
  compress: boolean;
  /** Adds a checksum, for peers with a protocol maximum of 5 or more; no peer requires it. Default false. */
  crc?: boolean;
  version?: SealVersion;
}

/** Wraps 1 to 127 encoded messages. Throws E2dError `gossip_encode` as {@link encodeCompound} does. */
export function encodePacket(messages: readonly Uint8Array[], options: EncodePacketOptions): Bytes {
  let content: Uint8Array;
  if (messages.length === 1 && messages[0]!.length > 0) content = messages[0]!;
  else content = encodeCompound(messages);
  if (options.compress) {
    const compressed = encodeCompress(content);
    if (compressed.length < content.length) content = compressed;
  }
  if (options.crc) content = addCrc(content);
  if (options.key !== undefined) {
    const { key, nonce, label, version = 1 } = options;
    content = seal(content, { key, nonce: nonce(), additional: label, version });
  }
  return concat(labelHeader(options.label), content);
}

export interface DecodedPacket {
  messages: Message[];
  /** The errors of the parts that could not be read. */
  dropped: E2dError[];
}

/**
 * Decodes a packet. An unreadable part does not affect the others. Throws E2dError when no part may be read:
 * `gossip_label`, `gossip_sealed` (also for an unencrypted packet when there is a key), `gossip_crc`.
 */
export function decodePacket(data: Uint8Array, { label, keys }: PacketSecurity): DecodedPacket {
  let content = stripLabel(data, label);
  if (keys !== undefined) content = open(content, { keys, additional: label });
  content = checkCrc(content);
  const reading = new PacketReading();
  reading.read(content, 0);
  return reading;
}

/**
 * The kind of key mismatch of a packet that could not be read; undefined: no mismatch is visible. The first byte of a
 * seal can also be the type of a message, so a packet counts as sealed when it does not decode as a message.
 */
export function packetMismatch(data: Uint8Array, { label, keys }: PacketSecurity): KeyMismatchKind | undefined {
  try {
    const { messages, dropped } = decodePacket(data, { label, keys: undefined });
    if (messages.length > 0 && dropped.length === 0) return keys === undefined ? undefined : "peer_has_none";
    if (!looksSealed(stripLabel(data, label))) return undefined;
    return keys === undefined ? "own_missing" : "differs";
  } catch (error) {
    if (error instanceof E2dError) return undefined;
    throw error;
  }
}

/** Prepends the checksum. */
function addCrc(content: Uint8Array): Bytes {
  const sum = crc32(content);
  return concat([messageTypes.crc, sum >>> 24, sum >>> 16 & 0xff, sum >>> 8 & 0xff, sum & 0xff], content);
}

function checkCrc(content: Uint8Array): Uint8Array {
  if (content[0] !== messageTypes.crc || content.length < 5) return content;
  const expected = new DataView(content.buffer, content.byteOffset).getUint32(1);
  const body = content.subarray(5);
  if (crc32(body) !== expected) throw new E2dError("gossip_crc", "Cannot accept a packet: its checksum is wrong");
  return body;
}

/** The decoding of one packet, with the remaining budget of its bounds. */
class PacketReading implements DecodedPacket {
  readonly messages: Message[] = [];
  readonly dropped: E2dError[] = [];
  #contentBytesLeft = packetContentMax;
  #messagesLeft = messagesMax;

  read(content: Uint8Array, depth: number): void {
    try {
      if (--this.#messagesLeft < 0) {
        throw new E2dError("gossip_oversize", "Cannot read a packet: it has too many messages");
      }
      if (depth > depthMax) throw new E2dError("gossip_oversize", "Cannot read a packet: its layers nest too deep");
      if (content[0] === messageTypes.compound) this.#readCompound(content, depth);
      else if (content[0] === messageTypes.compress) {
        const inner = decodeCompress(content, this.#contentBytesLeft);
        this.#contentBytesLeft -= inner.length;
        this.read(inner, depth + 1);
      } else this.messages.push(decodeMessage(content));
    } catch (error) {
      if (!(error instanceof E2dError)) throw error;
      // The list is bounded: a packet can have a thousand unreadable parts.
      if (this.dropped.length < 16) this.dropped.push(error);
    }
  }

  #readCompound(content: Uint8Array, depth: number): void {
    const { parts, lost } = decodeCompound(content);
    for (const part of parts) {
      if (this.#messagesLeft < 0) break;
      this.read(part, depth + 1);
    }
    if (lost > 0) {
      throw new E2dError("gossip_truncated", `Cannot read ${lost} messages of a compound packet: they are cut off`);
    }
  }
}
