/**
 * LZW as in Go's compress/lzw, as memberlist uses it: least significant bit first, literals of 8 bits, codes of 9 to 12
 * bits. One counter numbers the table entries and sets the code width; writer and reader step it once per data code.
 */
import { E2dError } from "../../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const clearCode = 256;
const endCode = 257;
const widthMin = 9;
const widthMax = 12;
const tableSize = 1 << widthMax;

/** Slots of the writer's open hash table; four times the entries, so that chains stay short. */
const slots = 1 << 14;

/** Compresses to the same bytes as Go's writer. */
export function lzwCompress(data: Uint8Array): Bytes {
  const out = new CodeWriter(64 + data.length);
  const strings = new KnownStrings();
  /** Writes a data code; false when the table was full and has been cleared. */
  const write = (code: number) => {
    out.write(code, strings.width);
    if (strings.step()) return true;
    out.write(clearCode, strings.width);
    strings.clear();
    return false;
  };
  out.write(clearCode, strings.width);
  if (data.length > 0) {
    let current = data[0]!;
    for (let at = 1; at < data.length; at++) {
      const key = current << 8 | data[at]!;
      const slot = strings.slotOf(key);
      if (strings.has(slot)) {
        current = strings.codeAt(slot);
        continue;
      }
      if (write(current)) strings.add(slot, key);
      current = data[at]!;
    }
    write(current);
  }
  out.write(endCode, strings.width);
  return out.finish();
}

class CodeWriter {
  #out: Bytes;
  #length = 0;
  #bits = 0;
  #bitCount = 0;

  /** `size` in bytes is a guess: the output grows. */
  constructor(size: number) {
    this.#out = new Uint8Array(size);
  }

  write(code: number, width: number): void {
    this.#bits |= code << this.#bitCount;
    this.#bitCount += width;
    while (this.#bitCount >= 8) {
      if (this.#length === this.#out.length) {
        const grown = new Uint8Array(this.#out.length * 2);
        grown.set(this.#out);
        this.#out = grown;
      }
      this.#out[this.#length++] = this.#bits & 0xff;
      this.#bits >>>= 8;
      this.#bitCount -= 8;
    }
  }

  /** Fills the last byte with zero bits. */
  finish(): Bytes {
    if (this.#bitCount > 0) this.write(0, 8 - this.#bitCount);
    return this.#out.slice(0, this.#length);
  }
}

/** The writer's table in the slots of an open hash. The key of a string is `code of its prefix << 8 | last byte`. */
class KnownStrings {
  width = widthMin;
  #counter = endCode;
  /** Key + 1, 0 when free. */
  readonly #keys = new Int32Array(slots);
  readonly #codes = new Uint16Array(slots);

  slotOf(key: number): number {
    let slot = Math.imul(key, 0x9e3779b1) >>> 18;
    while (this.#keys[slot] !== 0 && this.#keys[slot] !== key + 1) slot = (slot + 1) & (slots - 1);
    return slot;
  }

  has(slot: number): boolean {
    return this.#keys[slot] !== 0;
  }

  codeAt(slot: number): number {
    return this.#codes[slot]!;
  }

  /** Gives the string the code of the last step. */
  add(slot: number, key: number): void {
    this.#keys[slot] = key + 1;
    this.#codes[slot] = this.#counter;
  }

  /** Steps the counter after a data code; false when the table is full. */
  step(): boolean {
    this.#counter++;
    if (this.#counter === 1 << this.width) this.width++;
    return this.#counter < tableSize - 1;
  }

  clear(): void {
    this.#keys.fill(0);
    this.width = widthMin;
    this.#counter = endCode;
  }
}

/**
 * Decompresses. Throws E2dError `gossip_lzw` for bytes that are not LZW or have no end code, and `gossip_oversize` when
 * the result would exceed `outputMax` bytes: a packet of 64 KiB can expand to 80 MiB.
 */
export function lzwDecompress(data: Uint8Array, outputMax: number): Bytes {
  const codes = new CodeReader(data);
  const table = new StringTable();
  const out = new BoundedOutput(Math.min(outputMax, 256 + data.length * 4), outputMax);
  for (let width = widthMin;;) {
    const code = codes.next(width);
    if (code === endCode) return out.finish();
    if (code === clearCode) {
      table.clear();
      width = widthMin;
      continue;
    }
    const size = table.lengthOf(code);
    out.append(size, (bytes, end) => table.decode(code, bytes, end));
    width = table.width;
  }
}

/** Reads codes, least significant bit first. */
class CodeReader {
  readonly #data: Uint8Array;
  #at = 0;
  #bits = 0;
  #bitCount = 0;

  constructor(data: Uint8Array) {
    this.#data = data;
  }

  next(width: number): number {
    while (this.#bitCount < width) {
      if (this.#at === this.#data.length) {
        throw new E2dError("gossip_lzw", "Cannot decompress: the data ends without an end code");
      }
      this.#bits |= this.#data[this.#at++]! << this.#bitCount;
      this.#bitCount += 8;
    }
    const code = this.#bits & ((1 << width) - 1);
    this.#bits >>>= width;
    this.#bitCount -= width;
    return code;
  }
}

/** The reader's table: each code stands for the string of another code plus one byte. */
class StringTable {
  readonly #prefix = new Uint16Array(tableSize);
  readonly #suffix = new Uint8Array(tableSize);
  readonly #lengths = new Uint16Array(tableSize);
  #counter = endCode;
  #last = -1;
  #full = false;
  #width = widthMin;

  /** Of the next code, in bits. */
  get width(): number {
    return this.#width;
  }

  clear(): void {
    this.#counter = endCode;
    this.#last = -1;
    this.#full = false;
    this.#width = widthMin;
  }

  /** Length of the string of a code. Throws E2dError `gossip_lzw` for a code that is not defined. */
  lengthOf(code: number): number {
    if (this.#definesItself(code)) return this.#length(this.#last) + 1;
    if (code > endCode && code >= this.#counter && !(this.#full && code === this.#counter)) {
      throw new E2dError("gossip_lzw", `Cannot decompress: code ${code} is not defined yet`);
    }
    return this.#length(code);
  }

  /** Writes the string of a code so that it ends at `end`, then defines the next code. */
  decode(code: number, out: Uint8Array, end: number): void {
    const own = this.#definesItself(code);
    const first = own ? this.#spell(this.#last, out, end - 1) : this.#spell(code, out, end);
    if (own) out[end - 1] = first;
    if (this.#last >= 0) {
      this.#prefix[this.#counter] = this.#last;
      this.#suffix[this.#counter] = first;
      this.#lengths[this.#counter] = this.#length(this.#last) + 1;
    }
    this.#last = code;
    this.#counter++;
    if (this.#counter < 1 << this.#width) return;
    if (this.#width < widthMax) {
      this.#width++;
      return;
    }
    // The table of 12-bit codes is full: no code is defined until a clear.
    this.#counter--;
    this.#last = -1;
    this.#full = true;
  }

  /** True for the code that is about to be defined: the last string plus the first byte of that string. */
  #definesItself(code: number): boolean {
    return code === this.#counter && this.#last >= 0;
  }

  #length(code: number): number {
    return code < clearCode ? 1 : this.#lengths[code]!;
  }

  /** Writes the string of a code backwards from `end`; returns its first byte. */
  #spell(code: number, out: Uint8Array, end: number): number {
    while (code > endCode) {
      out[--end] = this.#suffix[code]!;
      code = this.#prefix[code]!;
    }
    out[--end] = code;
    return code;
  }
}

class BoundedOutput {
  readonly #maxBytes: number;
  #bytes: Bytes;
  #length = 0;

  constructor(capacity: number, maxBytes: number) {
    this.#bytes = new Uint8Array(capacity);
    this.#maxBytes = maxBytes;
  }

  /** Adds `count` bytes, which `write` writes so that they end at `end`. Throws E2dError `gossip_oversize`. */
  append(count: number, write: (bytes: Bytes, end: number) => void): void {
    const end = this.#length + count;
    if (end > this.#maxBytes) {
      throw new E2dError("gossip_oversize", `Cannot decompress: the content is longer than ${this.#maxBytes} bytes`);
    }
    if (end > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(this.#maxBytes, Math.max(this.#bytes.length * 2, end)));
      grown.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = grown;
    }
    write(this.#bytes, end);
    this.#length = end;
  }

  finish(): Bytes {
    return this.#bytes.slice(0, this.#length);
  }
}
