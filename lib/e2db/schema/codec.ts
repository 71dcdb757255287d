/**
 * Rows as bytes: one kind byte, the 12 bytes of the write id, then the fields as JSON. Values that JSON lacks are
 * tagged: {"$date": ms}, {"$bytes": base64}, {"$number": "Infinity"}, {"$sealed": base64}, and {"$object": [[name,
 * value], …]} for an object with a name that starts with "$". Values can be read without a schema, so an older program
 * keeps the fields of a newer one when it changes a row.
 *
 * An index entry contains the row, so that one range read answers a query; for rows over 2 KiB it contains size and id.
 */
import { concat, fromBase64, fromUtf8, toBase64, utf8 } from "./bytes.ts";

/** An encrypted value as it is stored. */
export class Sealed {
  readonly bytes: Uint8Array<ArrayBuffer>;
  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = bytes;
  }
}

/** Field values by name, with encrypted ones sealed. */
export type Values = Readonly<Record<string, unknown>>;

/** A row as it is stored. */
export interface StoredRow {
  values: Values;
  /** Identifies the write that made this state; unique for each write. */
  writeId: Uint8Array;
}

/** Rows up to this size are copied into their index entries. */
const inlineBytesMax = 2048;
export const writeIdBytes = 12;
const headerBytes = 1 + writeIdBytes;
const kind = { row: 1, pointer: 2 } as const;

/** The values of the row's key and of its index entries; `id` is the encoded id. */
export function encodeRow(
  values: Values,
  writeId: Uint8Array,
  id: Uint8Array,
): { row: Uint8Array; entry: Uint8Array } {
  const json = utf8(encodeValue(values));
  const row = concat(Uint8Array.of(kind.row), writeId, json);
  if (json.length <= inlineBytesMax) return { row, entry: row };
  const size = new Uint8Array(4);
  new DataView(size.buffer).setUint32(0, json.length);
  return { row, entry: concat(Uint8Array.of(kind.pointer), writeId, size, id) };
}

/** Refers to a row that is stored under its own key only: the bytes of its JSON, and the encoded id. */
export interface Pointer {
  writeId: Uint8Array;
  size: number;
  id: Uint8Array;
}

/** A row or a pointer to one; undefined for bytes that are neither. */
export function decodeRow(
  bytes: Uint8Array,
): { kind: "row"; row: StoredRow } | { kind: "pointer"; pointer: Pointer } | undefined {
  if (bytes.length < headerBytes) return undefined;
  const writeId = bytes.subarray(1, headerBytes);
  if (bytes[0] === kind.pointer && bytes.length > headerBytes + 4) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const size = view.getUint32(headerBytes);
    return { kind: "pointer", pointer: { writeId, size, id: bytes.subarray(headerBytes + 4) } };
  }
  if (bytes[0] !== kind.row) return undefined;
  try {
    const values = decodeValue(fromUtf8(bytes.subarray(headerBytes)));
    if (typeof values !== "object" || values === null) return undefined;
    return { kind: "row", row: { values: values as Values, writeId } };
  } catch {
    return undefined;
  }
}

/** Throws TypeError, with the path in the value, for a value that cannot be stored. */
export function encodeValue(value: unknown): string {
  return JSON.stringify(toJson(value, ""));
}

/** Throws SyntaxError or TypeError for text that encodeValue did not write. */
export function decodeValue(text: string): unknown {
  const json = JSON.parse(text);
  return text.includes('"$') ? fromJson(json) : json;
}

const depthMax = 100;

function toJson(value: unknown, path: string, depth = 0): unknown {
  if (depth > depthMax) throw new TypeError(`value is nested deeper than ${depthMax}${at(path)}`);
  switch (typeof value) {
    case "string":
    case "boolean":
      return value;
    case "number":
      if (Number.isNaN(value)) throw new TypeError(`NaN cannot be stored${at(path)}`);
      if (value === 0) return 0;
      return Number.isFinite(value) ? value : { $number: String(value) };
    case "object":
      return value === null ? null : objectToJson(value, path, depth);
    default:
      throw new TypeError(`a ${typeof value} cannot be stored${at(path)}`);
  }
}

function objectToJson(value: object, path: string, depth: number): unknown {
  if (Array.isArray(value)) {
    return value.map((item, index) => toJson(item === undefined ? null : item, `${path}[${index}]`, depth + 1));
  }
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw new TypeError(`an invalid Date cannot be stored${at(path)}`);
    return { $date: value.getTime() };
  }
  if (value instanceof Uint8Array) return { $bytes: toBase64(value) };
  if (value instanceof Sealed) return { $sealed: toBase64(value.bytes) };
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== null && Object.getPrototypeOf(prototype) !== null) {
    throw new TypeError(`a ${value.constructor?.name ?? "class instance"} cannot be stored${at(path)}`);
  }
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .map(([name, item]) => [name, toJson(item, `${path}.${name}`, depth + 1)] as const);
  // An own property "__proto__" is preserved only as a pair.
  if (entries.some(([name]) => name.startsWith("$") || name === "__proto__")) return { $object: entries };
  return Object.fromEntries(entries);
}

const at = (path: string) => path === "" ? "" : ` (at ${path.replace(/^\./, "")})`;

function fromJson(json: unknown): unknown {
  if (typeof json !== "object" || json === null) return json;
  if (Array.isArray(json)) return json.map(fromJson);
  const entries = Object.entries(json);
  const [name, value] = entries[0] ?? ["", undefined];
  if (entries.length === 1 && name.startsWith("$")) return fromTagged(name, value);
  return Object.fromEntries(entries.map(([key, item]) => [key, fromJson(item)]));
}

function fromTagged(name: string, value: unknown): unknown {
  if (name === "$date" && typeof value === "number") return new Date(value);
  if (name === "$number" && (value === "Infinity" || value === "-Infinity")) return Number(value);
  if (name === "$bytes" && typeof value === "string") return fromBase64(value);
  if (name === "$sealed" && typeof value === "string") return new Sealed(fromBase64(value));
  if (name === "$object" && Array.isArray(value)) {
    return Object.fromEntries(value.map(([key, item]) => [key, fromJson(item)]));
  }
  throw new TypeError(`unknown tag "${name}"`);
}
