/**
 * Encodes values as byte strings whose byte order is the order of the values.
 *
 * A tag byte separates the types (null < false < true < numbers < dates < strings < bytes), so any two values compare. No
 * encoding is a prefix of another, so encodings can be concatenated in a key, and the complement of a key sorts in exactly
 * the opposite order. Strings sort by code point, which is the order of their UTF-8 bytes and differs from JavaScript's
 * `<` only outside the basic plane. -0 is 0. The infinities are at the ends of the numbers; NaN is rejected.
 */
import { concat, fromUtf8, utf8 } from "./bytes.ts";

/** The values of indexes, unique fields and ids. */
export type Orderable = null | boolean | number | Date | string | Uint8Array;

const tag = { null: 0x05, false: 0x10, true: 0x11, number: 0x20, date: 0x28, string: 0x30, bytes: 0x38 } as const;

export function isOrderable(value: unknown): value is Orderable {
  switch (typeof value) {
    case "boolean":
      return true;
    case "number":
      return !Number.isNaN(value);
    case "string":
      return value.isWellFormed();
    case "object":
      return value === null || value instanceof Uint8Array ||
        (value instanceof Date && !Number.isNaN(value.getTime()));
    default:
      return false;
  }
}

/** Throws TypeError for a value outside {@link Orderable}. Callers check first, because they know the field's name. */
export function encodeOrdered(value: Orderable): Uint8Array<ArrayBuffer> {
  if (!isOrderable(value)) throw new TypeError(`value has no place in an order: ${String(value)}`);
  if (value === null) return Uint8Array.of(tag.null);
  if (typeof value === "boolean") return Uint8Array.of(value ? tag.true : tag.false);
  if (typeof value === "number") return encodeDouble(tag.number, value);
  if (value instanceof Date) return encodeDouble(tag.date, value.getTime());
  if (typeof value === "string") return escaped(tag.string, utf8(value), "ended");
  return escaped(tag.bytes, value, "ended");
}

/** The common prefix of the encodings of all strings that start with `prefix`. */
export const encodeStringPrefix = (prefix: string): Uint8Array<ArrayBuffer> =>
  escaped(tag.string, utf8(prefix), "open");

/**
 * IEEE 754 doubles sort as unsigned integers when the sign bit is set in positive ones and all bits are flipped in
 * negative ones. Dates are encoded by their milliseconds.
 */
function encodeDouble(first: number, value: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(9);
  out[0] = first;
  new DataView(out.buffer).setFloat64(1, value === 0 ? 0 : value);
  if (out[1]! & 0x80) { for (let i = 1; i < 9; i++) out[i]! ^= 0xff; }
  else out[1]! |= 0x80;
  return out;
}

/**
 * NUL becomes 00 FF, and the end is 00 01: "a" sorts before "a\0" and both before "a\x01". With a single 00 as the end, one
 * encoding would be a prefix of the other.
 */
function escaped(first: number, content: Uint8Array, end: "ended" | "open"): Uint8Array<ArrayBuffer> {
  let nuls = 0;
  for (const byte of content) if (byte === 0) nuls++;
  const out = new Uint8Array(1 + content.length + nuls + (end === "ended" ? 2 : 0));
  out[0] = first;
  let at = 1;
  for (const byte of content) {
    out[at++] = byte;
    if (byte === 0) out[at++] = 0xff;
  }
  if (end === "ended") out[at + 1] = 0x01;
  return out;
}

/** Reads one value from `at`; undefined for bytes that are not an encoding. */
export function decodeOrdered(bytes: Uint8Array, at = 0): { value: Orderable; end: number } | undefined {
  switch (bytes[at]) {
    case tag.null:
      return { value: null, end: at + 1 };
    case tag.false:
      return { value: false, end: at + 1 };
    case tag.true:
      return { value: true, end: at + 1 };
    case tag.number:
    case tag.date: {
      if (bytes.length < at + 9) return undefined;
      const copy = bytes.slice(at + 1, at + 9);
      if (copy[0]! & 0x80) copy[0]! &= 0x7f;
      else for (let i = 0; i < 8; i++) copy[i]! ^= 0xff;
      const value = new DataView(copy.buffer, copy.byteOffset).getFloat64(0);
      return { value: bytes[at] === tag.number ? value : new Date(value), end: at + 9 };
    }
    case tag.string:
    case tag.bytes:
      return decodeEscaped(bytes, at);
    default:
      return undefined;
  }
}

function decodeEscaped(bytes: Uint8Array, at: number): { value: Orderable; end: number } | undefined {
  const parts: Uint8Array[] = [];
  let from = at + 1;
  for (let i = from; i < bytes.length; i++) {
    if (bytes[i] !== 0) continue;
    if (bytes[i + 1] === 0xff) {
      parts.push(bytes.subarray(from, i + 1));
      from = i + 2;
      i++;
      continue;
    }
    if (bytes[i + 1] !== 0x01) return undefined;
    parts.push(bytes.subarray(from, i));
    const content = concat(...parts);
    try {
      return { value: bytes[at] === tag.string ? fromUtf8(content) : content, end: i + 2 };
    } catch {
      return undefined;
    }
  }
  return undefined;
}
