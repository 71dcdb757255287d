/**
 * The msgpack dialect of memberlist: writes the bytes that its Go codecs write, and reads every form that they read.
 * Strings and byte strings are one raw family; structs are maps with sorted keys.
 */
import { E2dError } from "../../errors.ts";
import { ByteWriter } from "../../streams/byte_writer.ts";
import { goTextFromBytes, goTextToBytes } from "../../gob/go_text.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Nesting of skipped values; deeper ones are refused. */
const depthMax = 16;
/** Fields of one struct. memberlist uses at most eight; the rest is reserved for later versions. */
const fieldsMax = 64;

/** Writes the dialect. The caller must write fields in sorted order, which is part of the format. */
export class MsgpackWriter {
  readonly #out = new ByteWriter();

  struct(fields: number): void {
    this.#out.byte(0x80 | fields);
  }

  key(name: string): void {
    this.text(name);
  }

  nil(): void {
    this.#out.byte(0xc0);
  }

  bool(value: boolean): void {
    this.#out.byte(value ? 0xc3 : 0xc2);
  }

  /** A field of an unsigned Go type, or of a signed one in older versions: all versions read this form. */
  uint(value: number): void {
    if (value < 0x80) return this.#out.byte(value);
    if (value <= 0xff) return this.#tagged(0xcc, value, 1);
    if (value <= 0xffff) return this.#tagged(0xcd, value, 2);
    this.#tagged(0xce, value, 4);
  }

  text(value: string): void {
    this.raw(goTextToBytes(value));
  }

  raw(value: Uint8Array): void {
    if (value.length < 32) this.#out.byte(0xa0 | value.length);
    else if (value.length <= 0xffff) this.#tagged(0xda, value.length, 2);
    else this.#tagged(0xdb, value.length, 4);
    this.#out.bytes(value);
  }

  /** An empty byte string is written as nil, as Go writes a nil slice. */
  rawOrNil(value: Uint8Array): void {
    if (value.length === 0) this.nil();
    else this.raw(value);
  }

  /** Bytes outside of msgpack values, such as user data. */
  verbatim(value: Uint8Array): void {
    this.#out.bytes(value);
  }

  byte(value: number): void {
    this.#out.byte(value);
  }

  finish(): Bytes {
    return this.#out.finish();
  }

  #tagged(tag: number, value: number, width: number): void {
    this.#out.byte(tag);
    this.#out.integer(value, width);
  }
}

/** A stream reader waits for more bytes after this error, and fails on every other. */
const truncated = () => new E2dError("gossip_truncated", "Cannot decode: the data ends in the middle of a value");
const malformed = (what: string) => new E2dError("gossip_decode", `Cannot decode: ${what}`);

/**
 * Reads values from a byte array; `at` is the offset of the next one. Every method throws E2dError `gossip_truncated`
 * when the bytes end too early and `gossip_decode` for a value of another type. nil is the zero value of every type, as
 * in Go.
 */
export class MsgpackReader {
  readonly #data: Uint8Array;
  at: number;

  constructor(data: Uint8Array, at = 0) {
    this.#data = data;
    this.at = at;
  }

  /**
   * A struct: a map (unknown keys are skipped, repeated keys overwrite), or an array of the fields in the order of
   * `fields`, which must be Go's order of declaration.
   */
  struct(fields: Readonly<Record<string, () => void>>): void {
    const tag = this.#byte();
    if (tag === 0xc0) return;
    const pairs = this.#mapLength(tag);
    if (pairs !== undefined) {
      if (pairs > fieldsMax) throw malformed(`a struct has ${pairs} fields`);
      for (let i = 0; i < pairs; i++) {
        const name = this.#keyText();
        const read = Object.hasOwn(fields, name) ? fields[name] : undefined;
        if (read) read();
        else this.skip();
      }
      return;
    }
    const count = this.#arrayLength(tag);
    if (count === undefined) throw malformed(`a struct cannot begin with byte ${tag}`);
    if (count > fieldsMax) throw malformed(`a struct has ${count} fields`);
    const inOrder = Object.values(fields);
    for (let i = 0; i < count; i++) {
      const read = inOrder[i];
      if (read) read();
      else this.skip();
    }
  }

  bool(): boolean {
    const tag = this.#byte();
    if (tag === 0xc3) return true;
    if (tag === 0xc2 || tag === 0xc0) return false;
    throw malformed(`a truth value cannot begin with byte ${tag}`);
  }

  /** A whole number of any width, 0 to `max`. */
  uint(max: number): number {
    const value = this.#integer(this.#byte());
    if (value < 0 || value > max) throw malformed(`the number ${value} is not in 0..${max}`);
    return value;
  }

  text(): string {
    return goTextFromBytes(this.bytes());
  }

  /** A byte string of any family, or an array of small integers; a copy. */
  bytes(): Bytes {
    const tag = this.#byte();
    if (tag === 0xc0) return new Uint8Array(0);
    const length = this.#rawLength(tag);
    if (length !== undefined) return this.#take(length).slice();
    const count = this.#arrayLength(tag);
    if (count === undefined) throw malformed(`a byte string cannot begin with byte ${tag}`);
    this.#requireBytes(count);
    return Uint8Array.from({ length: count }, () => this.uint(255));
  }

  /** `count` raw bytes; a copy. */
  verbatim(count: number): Bytes {
    return this.#take(count).slice();
  }

  skip(depth = 0): void {
    if (depth > depthMax) throw malformed(`values nest deeper than ${depthMax}`);
    const tag = this.#byte();
    if (tag < 0x80 || tag >= 0xe0 || tag === 0xc0 || tag === 0xc2 || tag === 0xc3) return;
    const raw = this.#rawLength(tag);
    if (raw !== undefined) return void this.#take(raw);
    const pairs = this.#mapLength(tag);
    const values = pairs === undefined ? this.#arrayLength(tag) : pairs * 2;
    if (values !== undefined) {
      this.#requireBytes(values);
      for (let i = 0; i < values; i++) this.skip(depth + 1);
      return;
    }
    const fixed = fixedSizes[tag];
    if (fixed !== undefined) return void this.#take(fixed);
    const extWidth = { 0xc7: 1, 0xc8: 2, 0xc9: 4 }[tag];
    if (extWidth === undefined) throw malformed(`no value begins with byte ${tag}`);
    this.#take(this.#unsigned(extWidth) + 1);
  }

  #keyText(): string {
    const tag = this.#byte();
    const length = this.#rawLength(tag);
    if (length === undefined) throw malformed("a map key is not a string");
    return goTextFromBytes(this.#take(length));
  }

  #integer(tag: number): number {
    if (tag < 0x80) return tag;
    if (tag >= 0xe0) return tag - 0x100;
    switch (tag) {
      case 0xc0:
        return 0;
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
        return this.#unsigned(1 << (tag - 0xcc));
      case 0xd0:
      case 0xd1:
      case 0xd2:
      case 0xd3: {
        const width = 1 << (tag - 0xd0);
        const value = this.#unsigned(width);
        return value >= 2 ** (width * 8 - 1) ? value - 2 ** (width * 8) : value;
      }
      default:
        throw malformed(`a whole number cannot begin with byte ${tag}`);
    }
  }

  #rawLength(tag: number): number | undefined {
    if (tag >= 0xa0 && tag <= 0xbf) return tag & 0x1f;
    if (tag === 0xd9 || tag === 0xc4) return this.#unsigned(1);
    if (tag === 0xda || tag === 0xc5) return this.#unsigned(2);
    if (tag === 0xdb || tag === 0xc6) return this.#unsigned(4);
    return undefined;
  }

  #mapLength(tag: number): number | undefined {
    if (tag >= 0x80 && tag <= 0x8f) return tag & 0x0f;
    if (tag === 0xde) return this.#unsigned(2);
    if (tag === 0xdf) return this.#unsigned(4);
    return undefined;
  }

  #arrayLength(tag: number): number | undefined {
    if (tag >= 0x90 && tag <= 0x9f) return tag & 0x0f;
    if (tag === 0xdc) return this.#unsigned(2);
    if (tag === 0xdd) return this.#unsigned(4);
    return undefined;
  }

  #byte(): number {
    if (this.at >= this.#data.length) throw truncated();
    return this.#data[this.at++]!;
  }

  #unsigned(width: number): number {
    this.#requireBytes(width);
    let value = 0;
    for (let i = 0; i < width; i++) value = value * 256 + this.#data[this.at++]!;
    return value;
  }

  #take(count: number): Uint8Array {
    this.#requireBytes(count);
    this.at += count;
    return this.#data.subarray(this.at - count, this.at);
  }

  /** Each value takes at least one byte, so a count above the remaining bytes is false and must not be allocated. */
  #requireBytes(count: number): void {
    if (count > this.#data.length - this.at) throw truncated();
  }
}

/** Bytes after the tag of values of a fixed size, for `skip`: integers, floats and fixed extensions. */
const fixedSizes: Readonly<Record<number, number>> = {
  0xca: 4,
  0xcb: 8,
  0xcc: 1,
  0xcd: 2,
  0xce: 4,
  0xcf: 8,
  0xd0: 1,
  0xd1: 2,
  0xd2: 4,
  0xd3: 8,
  0xd4: 2,
  0xd5: 3,
  0xd6: 5,
  0xd7: 9,
  0xd8: 17,
};
