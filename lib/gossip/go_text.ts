import { E2dError } from "../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * A Go string is any bytes, a JavaScript string is not. Valid UTF-8 becomes the text it is; of anything else each byte
 * from 0x80 up becomes the lone surrogate U+DC00 + byte, so that a name goes out again as the very bytes that came in:
 * a node that re-gossiped a mangled name would invent a member.
 */
export function goTextFromBytes(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return Array.from(bytes, (byte) => String.fromCharCode(byte < 0x80 ? byte : 0xdc00 + byte)).join("");
  }
}

/** The bytes of a text. Throws E2dError `gossip_encode` for surrogates that {@link goTextFromBytes} does not make. */
export function goTextToBytes(text: string): Bytes {
  if (text.isWellFormed()) return encoder.encode(text);
  return Uint8Array.from(text, (unit) => {
    const code = unit.charCodeAt(0);
    if (unit.length === 1 && code < 0x80) return code;
    if (unit.length === 1 && code >= 0xdc80 && code <= 0xdcff) return code - 0xdc00;
    throw new E2dError("gossip_encode", `Cannot encode text ${JSON.stringify(text)}: it is not well-formed Unicode`);
  });
}
