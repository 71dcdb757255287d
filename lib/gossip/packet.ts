/**
 * One UDP packet: label ‖ seal ‖ CRC ‖ compression ‖ compound ‖ message, outermost first. The first three come once and
 * at these places only; compression and compound may nest.
 */
import { E2dError } from "../errors.ts";
import { joinBytes } from "./byte_writer.ts";
import { decodeCompound, encodeCompound } from "./compound.ts";
import { decodeCompress, encodeCompress } from "./compress.ts";
import { crc32 } from "./crc32.ts";
import { labelHeader, stripLabel } from "./label.ts";
import type { Message } from "./message.ts";
import { decodeMessage, messageTypes } from "./message_codec.ts";
import { open, seal, type SealVersion } from "./seal.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** What a packet may hold once everything is decompressed. Peers write 1,405 bytes at most, user messages apart. */
export const packetContentMax = 65_536;
/** Compression and compound messages inside one another; peers write two levels. */
const depthMax = 4;
/** Messages of one packet, however they nest. */
const messagesMax = 1024;

export interface PacketSecurity {
  label: Uint8Array;
  /** All keys that open, the sealing one first; undefined for a cluster without encryption. */
  keys: readonly Uint8Array[] | undefined;
}

export interface EncodePacketOptions {
  label: Uint8Array;
  key: Uint8Array | undefined;
  /** 12 bytes from a cryptographic generator; read only when there is a key. */
  nonce: () => Uint8Array;
  compress: boolean;
  /** A checksum is for destinations whose protocol maximum is 5 or more; nobody insists on it. Default false. */
  crc?: boolean;
  version?: SealVersion;
}

/** Wraps 1..127 encoded messages. Throws E2dError `gossip_encode` for what {@link encodeCompound} refuses. */
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
  return joinBytes(labelHeader(options.label), content);
}

export interface DecodedPacket {
  messages: Message[];
  /** Why parts of the packet are not among the messages. */
  dropped: E2dError[];
}

/**
 * Takes a packet apart. A part that cannot be read costs itself alone. Throws E2dError when nothing of the packet may
 * be read: `gossip_label`, `gossip_sealed` (also for everything unsealed once there is a key), `gossip_crc`.
 */
export function decodePacket(data: Uint8Array, { label, keys }: PacketSecurity): DecodedPacket {
  let content = stripLabel(data, label);
  if (keys !== undefined) content = open(content, { keys, additional: label });
  content = checkCrc(content);
  const reading = new Reading();
  reading.dispatch(content, 0);
  return reading;
}

/** Puts the checksum in front. */
function addCrc(content: Uint8Array): Bytes {
  const sum = crc32(content);
  return joinBytes([messageTypes.crc, sum >>> 24, sum >>> 16 & 0xff, sum >>> 8 & 0xff, sum & 0xff], content);
}

function checkCrc(content: Uint8Array): Uint8Array {
  if (content[0] !== messageTypes.crc || content.length < 5) return content;
  const stated = new DataView(content.buffer, content.byteOffset).getUint32(1);
  const rest = content.subarray(5);
  if (crc32(rest) !== stated) throw new E2dError("gossip_crc", "Cannot accept a packet: its checksum is wrong");
  return rest;
}

/** The walk through one packet, with what it has used up of the bounds. */
class Reading implements DecodedPacket {
  readonly messages: Message[] = [];
  readonly dropped: E2dError[] = [];
  #contentLeft = packetContentMax;
  #partsLeft = messagesMax;

  dispatch(content: Uint8Array, depth: number): void {
    try {
      if (--this.#partsLeft < 0) throw new E2dError("gossip_oversize", "Cannot read a packet: too many messages");
      if (depth > depthMax) throw new E2dError("gossip_oversize", "Cannot read a packet: its layers nest too deep");
      if (content[0] === messageTypes.compound) this.#compound(content, depth);
      else if (content[0] === messageTypes.compress) {
        const inner = decodeCompress(content, this.#contentLeft);
        this.#contentLeft -= inner.length;
        this.dispatch(inner, depth + 1);
      } else this.messages.push(decodeMessage(content));
    } catch (error) {
      if (!(error instanceof E2dError)) throw error;
      // One entry tells as much as a thousand: the parts beyond the bound are not listed one by one.
      if (this.dropped.length < 16) this.dropped.push(error);
    }
  }

  #compound(content: Uint8Array, depth: number): void {
    const { parts, lost } = decodeCompound(content);
    for (const part of parts) {
      if (this.#partsLeft < 0) break;
      this.dispatch(part, depth + 1);
    }
    if (lost > 0) {
      throw new E2dError("gossip_truncated", `Cannot read ${lost} messages of a compound packet: they are cut off`);
    }
  }
}
