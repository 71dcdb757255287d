/** Several messages in one packet: a count, their lengths, then the messages one after another. */
import { E2dError } from "../../errors.ts";
import { ByteWriter } from "../../streams/byte_writer.ts";
import { messageTypes } from "./message_codec.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** memberlist v0.2.0 computes offsets in eight bits: with more parts it decodes wrongly or crashes. */
export const compoundPartsMax = 127;
/** Bytes of a compound packet before its lengths: type and count. */
export const compoundHeaderBytes = 2;
/** Bytes that each part adds to its own length. */
export const compoundPartOverheadBytes = 2;

/**
 * One compound message of 1 to 127 parts. Throws E2dError `gossip_encode` for another count, for an empty part (it
 * crashes old Go processes), and for a part longer than 65535 bytes.
 */
export function encodeCompound(parts: readonly Uint8Array[]): Bytes {
  if (parts.length === 0 || parts.length > compoundPartsMax) {
    throw new E2dError("gossip_encode", `Cannot join ${parts.length} messages into one packet: the limit is 1 to 127`);
  }
  const out = new ByteWriter(1500);
  out.byte(messageTypes.compound);
  out.byte(parts.length);
  for (const part of parts) {
    if (part.length === 0 || part.length > 0xffff) {
      throw new E2dError("gossip_encode", `Cannot join a message of ${part.length} bytes: the limit is 1 to 65535`);
    }
    out.integer(part.length, 2);
  }
  for (const part of parts) out.bytes(part);
  return out.finish();
}

/**
 * The parts of a compound message, as views. A part longer than the remaining bytes ends the list; `lost` is the number
 * of parts that are cut off. Throws E2dError `gossip_truncated` when the table of lengths itself is cut off.
 */
export function decodeCompound(data: Uint8Array): { parts: Uint8Array[]; lost: number } {
  const count = data[1];
  const bodyAt = compoundHeaderBytes + compoundPartOverheadBytes * (count ?? 0);
  if (count === undefined || data.length < bodyAt) {
    throw new E2dError("gossip_truncated", "Cannot decode a compound message: its table of lengths is cut off");
  }
  const parts: Uint8Array[] = [];
  let at = bodyAt;
  for (let i = 0; i < count; i++) {
    const lengthAt = compoundHeaderBytes + compoundPartOverheadBytes * i;
    const length = data[lengthAt]! << 8 | data[lengthAt + 1]!;
    if (length > data.length - at) break;
    parts.push(data.subarray(at, at + length));
    at += length;
  }
  return { parts, lost: count - parts.length };
}
