/**
 * Decodes the first value of a gob stream. Must accept no more than e2d nodes exchange: every size and depth has a limit,
 * because the bytes come from the network.
 */
import { E2dError } from "../errors.ts";
import { gobBuiltInIds, type GobType, type GobValue } from "./value.ts";
import { goTextFromBytes } from "./go_text.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const builtInTypes = new Map<number, GobType>(
  Object.entries(gobBuiltInIds).map(([kind, id]) => [id, { kind } as GobType]),
);

// Limits. Values of e2d nodes have two definitions, two levels and a few hundred bytes.
const inputMax = 65_536;
const definitionsMax = 64;
const depthMax = 16;

const malformed = (what: string) => new E2dError("gob_decode", `Cannot decode gob: ${what}`);

/** A received definition. It refers to other types by ids that may be defined later. */
type Definition =
  | { kind: "struct"; fields: readonly { name: string; id: number }[] }
  | { kind: "list"; element: number; length?: number }
  | { kind: "map"; key: number; element: number }
  | { kind: "opaque" };

/** The first value of a gob stream. Throws E2dError `gob_decode` for invalid data and beyond the limits. */
export function decodeGob(data: Uint8Array): GobValue {
  if (data.length > inputMax) throw malformed(`${data.length} bytes are too many`);
  const definitions = new Map<number, Definition>();
  const stream = new GobReader(data);
  while (!stream.done) {
    const message = new GobReader(stream.take(stream.count()));
    const id = message.smallInt();
    if (id < 0) {
      if (definitions.size >= definitionsMax) throw malformed(`more than ${definitionsMax} types are defined`);
      if (builtInTypes.has(-id) || definitions.has(-id)) throw malformed(`type ${-id} is defined twice`);
      definitions.set(-id, readDefinition(message));
      continue;
    }
    if (definitions.get(id)?.kind !== "struct" && message.byte() !== 0) throw malformed("a lone value lacks its mark");
    return readValue(message, id, definitions, 0);
  }
  throw malformed("there is no value");
}

function readDefinition(reader: GobReader): Definition {
  let definition: Definition | undefined;
  readFields(reader, {
    1: () => {
      let element = 0, length = 0;
      readFields(reader, {
        1: () => skipCommon(reader),
        2: () => element = reader.smallInt(),
        3: () => length = reader.smallInt(),
      });
      definition = { kind: "list", element, length };
    },
    2: () => {
      let element = 0;
      readFields(reader, { 1: () => skipCommon(reader), 2: () => element = reader.smallInt() });
      definition = { kind: "list", element };
    },
    3: () => {
      const fields: { name: string; id: number }[] = [];
      readFields(reader, {
        1: () => skipCommon(reader),
        2: () => {
          for (let left = reader.count(); left > 0; left--) {
            let name = "", id = 0;
            readFields(reader, { 1: () => name = reader.text(), 2: () => id = reader.smallInt() });
            fields.push({ name, id });
          }
        },
      });
      definition = { kind: "struct", fields };
    },
    4: () => {
      let key = 0, element = 0;
      readFields(reader, {
        1: () => skipCommon(reader),
        2: () => key = reader.smallInt(),
        3: () => element = reader.smallInt(),
      });
      definition = { kind: "map", key, element };
    },
    5: () => definition = readOpaque(reader),
    6: () => definition = readOpaque(reader),
    7: () => definition = readOpaque(reader),
  });
  if (definition === undefined) throw malformed("a type definition is empty");
  return definition;
}

function readOpaque(reader: GobReader): Definition {
  readFields(reader, { 1: () => skipCommon(reader) });
  return { kind: "opaque" };
}

/** Skips name and id of a type: the id before the definition is the valid one. */
function skipCommon(reader: GobReader): void {
  readFields(reader, { 1: () => reader.text(), 2: () => reader.smallInt() });
}

/** Calls the reader of each present field, by number from 1. Only for the structs of gob itself. */
function readFields(reader: GobReader, fields: Readonly<Record<number, () => void>>): void {
  for (let at = 0;;) {
    const delta = reader.smallUint();
    if (delta === 0) return;
    at += delta;
    const read = fields[at];
    if (read === undefined) throw malformed(`a type definition has a field ${at}`);
    read();
  }
}

function readValue(
  reader: GobReader,
  id: number,
  definitions: ReadonlyMap<number, Definition>,
  depth: number,
): GobValue {
  if (depth > depthMax) throw malformed(`values nest deeper than ${depthMax}`);
  const builtIn = builtInTypes.get(id);
  if (builtIn !== undefined) return readBuiltIn(reader, builtIn.kind);
  const definition = definitions.get(id);
  if (definition === undefined) throw malformed(`type ${id} is not defined`);
  const read = (of: number) => readValue(reader, of, definitions, depth + 1);
  switch (definition.kind) {
    case "opaque":
      return { kind: "opaque", value: reader.bytes() };
    case "list": {
      const count = reader.count();
      if (definition.length !== undefined && definition.length !== count) {
        throw malformed("an array has a wrong length");
      }
      return { kind: "list", values: Array.from({ length: count }, () => read(definition.element)) };
    }
    case "map":
      return {
        kind: "map",
        entries: Array.from(
          { length: reader.count() },
          () => [read(definition.key), read(definition.element)] as const,
        ),
      };
    case "struct": {
      const fields = new Map<string, GobValue>();
      for (let at = -1;;) {
        const delta = reader.smallUint();
        if (delta === 0) return { kind: "struct", fields };
        at += delta;
        const field = definition.fields[at];
        if (field === undefined) throw malformed(`a struct of ${definition.fields.length} fields has one more`);
        fields.set(field.name, read(field.id));
      }
    }
    default:
      return definition satisfies never;
  }
}

function readBuiltIn(reader: GobReader, kind: GobType["kind"]): GobValue {
  switch (kind) {
    case "bool":
      return { kind, value: reader.uint() !== 0n };
    case "int":
      return { kind, value: reader.int() };
    case "uint":
      return { kind, value: reader.uint() };
    case "float": {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigUint64(0, reader.uint());
      return { kind, value: view.getFloat64(0, true) };
    }
    case "bytes":
      return { kind, value: reader.bytes() };
    default:
      return { kind: "string", value: reader.text() };
  }
}

/** Reads the numbers and byte strings of gob. */
class GobReader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  get done(): boolean {
    return this.#at === this.#data.length;
  }

  byte(): number {
    return this.take(1)[0]!;
  }

  take(count: number): Uint8Array {
    if (count > this.#data.length - this.#at) throw malformed("the data ends in the middle of a value");
    this.#at += count;
    return this.#data.subarray(this.#at - count, this.#at);
  }

  uint(): bigint {
    const first = this.byte();
    if (first < 0x80) return BigInt(first);
    const width = 256 - first;
    if (width > 8) throw malformed(`a number has ${width} bytes`);
    return BigInt(`0x${this.take(width).toHex()}`);
  }

  int(): bigint {
    const value = this.uint();
    return value & 1n ? ~(value >> 1n) : value >> 1n;
  }

  /** Type ids and field numbers. The limit is far above the numbers of a Go process. */
  smallInt(): number {
    const value = this.int();
    if (value > 0xffff_ffffn || value < -0xffff_ffffn) throw malformed(`the number ${value} is too big here`);
    return Number(value);
  }

  smallUint(): number {
    const value = this.uint();
    if (value > 0xffff_ffffn) throw malformed(`the number ${value} is too big here`);
    return Number(value);
  }

  /** A number of bytes or elements. Each has at least one byte, so the remaining bytes are the limit. */
  count(): number {
    const value = this.smallUint();
    if (value > this.#data.length - this.#at) throw malformed("the data ends in the middle of a value");
    return value;
  }

  bytes(): Bytes {
    return this.take(this.count()).slice();
  }

  text(): string {
    return goTextFromBytes(this.take(this.count()));
  }
}
