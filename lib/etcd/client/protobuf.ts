/**
 * Protocol buffers, as far as etcd's client API and its files on disk use them: a table of fields defines a message's
 * TypeScript type, its encoder and its decoder. Unknown fields are skipped, a missing field has its default, and every
 * length is checked against the bytes that are present.
 *
 * Source of the encoding: https://protobuf.dev/programming-guides/encoding/
 */
import { E2dError } from "../../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const enum Wire {
  varint = 0,
  fixed64 = 1,
  lengthDelimited = 2,
  fixed32 = 5,
}

/** `T` is the decoded value, `I` the value to encode, in which nested messages may omit fields. */
interface Field<T, I = T> {
  readonly number: number;
  readonly wire: Wire;
  /** The value when the message lacks this field. */
  empty(): T;
  isEmpty(value: I): boolean;
  write(writer: Writer, value: I): void;
  /** `before` is the value from earlier occurrences of the field. */
  read(reader: Reader, wire: Wire, before: T): T;
}

type Fields = Readonly<Record<string, Field<unknown>>>;
// deno-lint-ignore no-explicit-any -- a field's type is both a parameter and a result of its functions
type AnyFields = Readonly<Record<string, Field<any, any>>>;
type ValueOf<F> = F extends Field<infer T, infer _> ? T : never;
type InputOf<F> = F extends Field<infer _, infer I> ? I : never;

export interface Message<T, I> {
  /** An omitted field has its default, which takes no bytes. */
  encode(value: I): Bytes;
  /** Throws E2dError `protobuf_invalid`. Byte fields are views of `data`. */
  decode(data: Uint8Array): T;
}

/** The TypeScript type of a message. */
export type Decoded<M> = M extends Message<infer T, infer _> ? T : never;

type MessageOf<F extends AnyFields> = Message<
  { -readonly [K in keyof F]: ValueOf<F[K]> },
  { readonly [K in keyof F]?: InputOf<F[K]> | undefined }
>;

export function message<F extends AnyFields>(fields: F): MessageOf<F> {
  const entries = Object.entries(fields as Fields);
  const byNumber = new Map(entries.map(([name, field]) => [field.number, { name, field }]));
  return {
    encode(value) {
      const writer = new Writer();
      for (const [name, field] of entries) {
        const given = (value as Record<string, unknown>)[name];
        if (given !== undefined && !field.isEmpty(given)) field.write(writer, given);
      }
      return writer.finish();
    },
    decode(data) {
      const result: Record<string, unknown> = {};
      for (const [name, field] of entries) result[name] = field.empty();
      const reader = new Reader(data);
      while (!reader.done) {
        const { number, wire } = reader.tag();
        const known = byNumber.get(number);
        if (known === undefined) reader.skip(wire);
        else result[known.name] = known.field.read(reader, wire, result[known.name]);
      }
      return result as Decoded<MessageOf<F>>;
    },
  };
}

/** int64, uint64, int32, uint32 and enum values. Those above 2^53 lose their last bits; no revision gets that large. */
export const integer = (number: number): Field<number> =>
  scalar(number, Wire.varint, 0, (writer, value) => writer.varint(value), (reader) => reader.integer());

export const flag = (number: number): Field<boolean> =>
  scalar(
    number,
    Wire.varint,
    false,
    (writer, value) => writer.varint(value ? 1 : 0),
    (reader) => reader.integer() !== 0,
  );

/** uint64 as etcd prints it: lower-case hexadecimal without leading zeros, "0" for none. */
export const hexId = (number: number): Field<string> =>
  scalar(number, Wire.varint, "0", (writer, value) => writer.bigVarint(BigInt(`0x${value}`)), (reader) => reader.hex());

export const text = (number: number): Field<string> =>
  scalar(
    number,
    Wire.lengthDelimited,
    "",
    (writer, value) => writer.bytes(encoder.encode(value)),
    (reader) => decoder.decode(reader.bytes()),
  );

export const bytes = (number: number): Field<Uint8Array> => ({
  number,
  wire: Wire.lengthDelimited,
  empty: () => noBytes,
  isEmpty: (value) => value.length === 0,
  write(writer, value) {
    writer.tag(number, Wire.lengthDelimited);
    writer.bytes(value);
  },
  read(reader, wire) {
    requireWire(wire, Wire.lengthDelimited, number);
    return reader.bytes();
  },
});

/** A nested message, or undefined. An empty one is written, too: in a `oneof` its presence matters. */
export const nested = <T, I>(number: number, inner: () => Message<T, I>): Field<T | undefined, I | undefined> => ({
  number,
  wire: Wire.lengthDelimited,
  empty: () => undefined,
  isEmpty: (value) => value === undefined,
  write(writer, value) {
    writer.tag(number, Wire.lengthDelimited);
    writer.bytes(inner().encode(value!));
  },
  read(reader, wire) {
    requireWire(wire, Wire.lengthDelimited, number);
    return inner().decode(reader.bytes());
  },
});

/** A scalar of a `oneof`: written even when it has its default. */
export const chosen = <T>(field: Field<T>): Field<T | undefined> => ({
  ...field,
  empty: () => undefined,
  isEmpty: (value) => value === undefined,
  write: (writer, value) => field.write(writer, value!),
  read: (reader, wire) => field.read(reader, wire, field.empty()),
});

/** A list of texts, bytes or messages. Lists of numbers, which would be packed, do not occur in etcd's messages. */
export const repeated = <T, I>(field: Field<T, I>): Field<NonNullable<T>[], readonly NonNullable<I>[]> => ({
  number: field.number,
  wire: field.wire,
  empty: () => [],
  isEmpty: (value) => value.length === 0,
  write(writer, values) {
    for (const value of values) field.write(writer, value);
  },
  read(reader, wire, before) {
    before.push(field.read(reader, wire, field.empty())!);
    return before;
  },
});

function scalar<T>(
  number: number,
  wire: Wire,
  empty: T,
  write: (writer: Writer, value: T) => void,
  read: (reader: Reader) => T,
): Field<T> {
  return {
    number,
    wire,
    empty: () => empty,
    isEmpty: (value) => value === empty,
    write(writer, value) {
      writer.tag(number, wire);
      write(writer, value);
    },
    read(reader, found) {
      requireWire(found, wire, number);
      return read(reader);
    },
  };
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const noBytes = new Uint8Array(0);
const two32 = 2 ** 32;

function invalid(state: string): E2dError {
  return new E2dError("protobuf_invalid", `Cannot read a protocol buffer: ${state}`);
}

function requireWire(found: Wire, wanted: Wire, number: number): void {
  if (found !== wanted) throw invalid(`field ${number} has wire type ${found}, not ${wanted}`);
}

class Writer {
  #buffer = new Uint8Array(64);
  #length = 0;

  tag(number: number, wire: Wire): void {
    this.varint(number * 8 + wire);
  }

  /** A safe integer. A negative one takes ten bytes, as its two's complement of 64 bits. */
  varint(value: number): void {
    if (value < 0) return this.bigVarint(BigInt.asUintN(64, BigInt(value)));
    let left = value;
    while (left >= 0x80) {
      this.#byte(left % 0x80 + 0x80);
      left = Math.floor(left / 0x80);
    }
    this.#byte(left);
  }

  bigVarint(value: bigint): void {
    let left = value;
    while (left >= 0x80n) {
      this.#byte(Number(left & 0x7fn) | 0x80);
      left >>= 7n;
    }
    this.#byte(Number(left));
  }

  bytes(value: Uint8Array): void {
    this.varint(value.length);
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
  }

  finish(): Bytes {
    return this.#buffer.subarray(0, this.#length);
  }

  #byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#buffer.length) return;
    const larger = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + count));
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
  }
}

class Reader {
  readonly #data: Uint8Array;
  #at = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  get done(): boolean {
    return this.#at >= this.#data.length;
  }

  tag(): { number: number; wire: Wire } {
    const { low, high } = this.#varint();
    if (high !== 0 || low < 8) throw invalid("a field has no number");
    return { number: Math.floor(low / 8), wire: low % 8 };
  }

  /** As int64: the upper half of the range is negative. */
  integer(): number {
    const { low, high } = this.#varint();
    return (high >= two32 / 2 ? high - two32 : high) * two32 + low;
  }

  hex(): string {
    const { low, high } = this.#varint();
    return high === 0 ? low.toString(16) : high.toString(16) + low.toString(16).padStart(8, "0");
  }

  bytes(): Uint8Array {
    const { low, high } = this.#varint();
    if (high !== 0 || low > this.#data.length - this.#at) throw invalid("a field is longer than its message");
    const start = this.#at;
    this.#at += low;
    return this.#data.subarray(start, this.#at);
  }

  skip(wire: Wire): void {
    switch (wire) {
      case Wire.varint:
        this.#varint();
        return;
      case Wire.lengthDelimited:
        this.bytes();
        return;
      case Wire.fixed64:
        return this.#advance(8);
      case Wire.fixed32:
        return this.#advance(4);
      default:
        throw invalid(`wire type ${wire as number} is unknown`);
    }
  }

  #advance(count: number): void {
    if (count > this.#data.length - this.#at) throw invalid("a field is longer than its message");
    this.#at += count;
  }

  /** 64 bits as two halves: JavaScript's numbers are exact to 53. */
  #varint(): { low: number; high: number } {
    let low = 0;
    let high = 0;
    for (let index = 0; index < 10; index++) {
      const byte = this.#data[this.#at++];
      if (byte === undefined) throw invalid("it ends within a number");
      const bits = byte & 0x7f;
      if (index < 4) low += bits * 2 ** (7 * index);
      else if (index === 4) {
        low += (bits & 0x0f) * 2 ** 28;
        high += bits >> 4;
      } else high += bits * 2 ** (7 * index - 32);
      if (byte < 0x80) return { low, high: high % two32 };
    }
    throw invalid("a number is longer than 64 bits");
  }
}
