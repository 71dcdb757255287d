/** Encodes one value as a fresh Go encoder does, byte by byte: golden files of the Go original depend on it. */
import { E2dError } from "../errors.ts";
import { ByteWriter } from "../streams/byte_writer.ts";
import { gobBuiltInIds, type GobType, type GobValue } from "./value.ts";
import { goTextToBytes } from "./go_text.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The first id that current Go gives to a type of the program. */
const firstTypeId = 64;

/**
 * One value after the definitions of its types. Keeps the given order of map entries, which Go does not define.
 *
 * @param firstId id of the first type; a Go process that encoded other types before has a higher one
 */
export function encodeGob(type: GobType, value: GobValue, firstId: number = firstTypeId): Bytes {
  const ids = new Map<GobType, number>();
  numberTypes(type, ids, { next: firstId });
  const out = new ByteWriter();
  define(type, ids, out, new Set());
  const body = new ByteWriter();
  writeInt(body, BigInt(idOf(type, ids)));
  if (type.kind !== "struct") body.byte(0);
  writeValue(body, type, value);
  writeMessage(out, body);
  return out.finish();
}

/** Go numbers a struct before its fields, and a list or map after its elements. */
function numberTypes(type: GobType, ids: Map<GobType, number>, counter: { next: number }): void {
  if (ids.has(type) || type.kind in gobBuiltInIds) return;
  switch (type.kind) {
    case "struct":
      ids.set(type, counter.next++);
      for (const field of type.fields) numberTypes(field.type, ids, counter);
      break;
    case "list":
      numberTypes(type.element, ids, counter);
      ids.set(type, counter.next++);
      break;
    case "map":
      numberTypes(type.key, ids, counter);
      numberTypes(type.element, ids, counter);
      ids.set(type, counter.next++);
      break;
    case "opaque":
      ids.set(type, counter.next++);
  }
}

const idOf = (type: GobType, ids: ReadonlyMap<GobType, number>) => gobBuiltInIds[type.kind] ?? ids.get(type)!;

/** Field numbers of Go's wireType, which select the kind of a definition. */
const wireList = 2, wireStruct = 3, wireMap = 4, wireOpaque = 5;

function define(type: GobType, ids: ReadonlyMap<GobType, number>, out: ByteWriter, done: Set<GobType>): void {
  if (done.has(type) || type.kind in gobBuiltInIds) return;
  done.add(type);
  const body = new ByteWriter();
  writeInt(body, BigInt(-idOf(type, ids)));
  const common = (field: number) => {
    writeUint(body, BigInt(field));
    body.byte(1);
    const { name } = type as { name: string };
    if (name !== "") {
      body.byte(1);
      writeText(body, name);
    }
    body.byte(name === "" ? 2 : 1);
    writeInt(body, BigInt(idOf(type, ids)));
    body.byte(0);
  };
  const reference = (to: GobType) => {
    body.byte(1);
    writeInt(body, BigInt(idOf(to, ids)));
  };
  switch (type.kind) {
    case "struct":
      common(wireStruct);
      body.byte(1);
      writeUint(body, BigInt(type.fields.length));
      for (const field of type.fields) {
        body.byte(1);
        writeText(body, field.name);
        reference(field.type);
        body.byte(0);
      }
      break;
    case "list":
      common(wireList);
      reference(type.element);
      break;
    case "map":
      common(wireMap);
      reference(type.key);
      reference(type.element);
      break;
    case "opaque":
      common(wireOpaque);
  }
  body.byte(0);
  body.byte(0);
  writeMessage(out, body);
  if (type.kind === "struct") { for (const field of type.fields) define(field.type, ids, out, done); }
  if (type.kind === "map") define(type.key, ids, out, done);
  if (type.kind === "list" || type.kind === "map") define(type.element, ids, out, done);
}

function writeMessage(out: ByteWriter, body: ByteWriter): void {
  writeUint(out, BigInt(body.length));
  out.bytes(body.finish());
}

function writeValue(out: ByteWriter, type: GobType, value: GobValue): void {
  if (type.kind !== value.kind) {
    throw new E2dError("gob_encode", `Cannot encode gob: a value of kind "${value.kind}" where "${type.kind}" belongs`);
  }
  switch (value.kind) {
    case "bool":
      return out.byte(value.value ? 1 : 0);
    case "int":
      return writeInt(out, value.value);
    case "uint":
      return writeUint(out, value.value);
    case "float": {
      // Bytes of the IEEE form in reverse order, so that round numbers are short.
      const view = new DataView(new ArrayBuffer(8));
      view.setFloat64(0, value.value, true);
      return writeUint(out, view.getBigUint64(0));
    }
    case "bytes":
    case "opaque":
      writeUint(out, BigInt(value.value.length));
      return out.bytes(value.value);
    case "string":
      return writeText(out, value.value);
    case "list":
      writeUint(out, BigInt(value.values.length));
      for (const element of value.values) writeValue(out, (type as GobType & { kind: "list" }).element, element);
      return;
    case "map": {
      const { key, element } = type as GobType & { kind: "map" };
      writeUint(out, BigInt(value.entries.length));
      for (const [k, v] of value.entries) {
        writeValue(out, key, k);
        writeValue(out, element, v);
      }
      return;
    }
    case "struct": {
      let last = -1;
      for (const [at, field] of (type as GobType & { kind: "struct" }).fields.entries()) {
        const content = value.fields.get(field.name);
        if (content === undefined || isZero(content)) continue;
        writeUint(out, BigInt(at - last));
        writeValue(out, field.type, content);
        last = at;
      }
      return out.byte(0);
    }
    default:
      return value satisfies never;
  }
}

/** Go omits zero-valued fields. A struct or a value that encodes itself is never zero. */
function isZero(value: GobValue): boolean {
  switch (value.kind) {
    case "bool":
      return !value.value;
    case "int":
    case "uint":
      return value.value === 0n;
    case "float":
      return Object.is(value.value, 0);
    case "string":
    case "bytes":
      return value.value.length === 0;
    case "list":
      return value.values.length === 0;
    case "map":
      return value.entries.length === 0;
    case "struct":
    case "opaque":
      return false;
    default:
      return value satisfies never;
  }
}

function writeUint(out: ByteWriter, value: bigint): void {
  if (value < 0n || value > 0xffff_ffff_ffff_ffffn) {
    throw new E2dError("gob_encode", `Cannot encode gob: the number ${value} has more than 64 bits`);
  }
  if (value < 0x80n) return out.byte(Number(value));
  const digits = value.toString(16);
  const width = Math.ceil(digits.length / 2);
  out.byte(256 - width);
  out.bytes(Uint8Array.fromHex(digits.padStart(width * 2, "0")));
}

function writeInt(out: ByteWriter, value: bigint): void {
  writeUint(out, value >= 0n ? value << 1n : (~value << 1n) | 1n);
}

function writeText(out: ByteWriter, text: string): void {
  const bytes = goTextToBytes(text);
  writeUint(out, BigInt(bytes.length));
  out.bytes(bytes);
}
