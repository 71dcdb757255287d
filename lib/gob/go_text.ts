/** Go strings as JavaScript strings and back, without loss. */
import { E2dError } from "../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A Go string may contain any bytes. Valid UTF-8 becomes the same text. Otherwise each byte from 0x80 up becomes the lone
 * surrogate U+DC00 + byte, so that a name is sent again with the same bytes: a changed name would create a member.
 */
export function goTextFromBytes(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
}

/** The bytes of a text. Throws E2dError `gossip_encode` for surrogates that {@link goTextFromBytes} does not create. */
export function goTextToBytes(text: string): Bytes {
  if (text.isWellFormed()) return encoder.encode(text);
  return Uint8Array.from(text, (unit) => {
    const code = unit.charCodeAt(0);
    if (unit.length === 1 && code < 0x80) return code;
    if (unit.length === 1 && code >= 0xdc80 && code <= 0xdcff) return code - 0xdc00;
    throw new E2dError("gossip_encode", `Cannot encode text ${JSON.stringify(text)}: it is not well-formed Unicode`);
  });
}
