/**
 * LZW as Go's compress/lzw has it and memberlist uses it: least significant bit first, literals of 8 bits, codes of 9 to
 * 12. One counter numbers the table entries and sets the code width; writer and reader step it once for each data code.
 */
import { E2dError } from "../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const clearCode = 256;
const endCode = 257;
const widthMin = 9;
const widthMax = 12;
const tableSize = 1 << widthMax;

/** Slots of the writer's open hash table; four times the entries, so that chains stay short. */
const slots = 1 << 14;

/** Compresses; the same bytes as Go's writer gives. */
export function lzwCompress(data: Uint8Array): Bytes {
  let out = new Uint8Array(64 + data.length);
  let length = 0;
  let bits = 0;
  let bitCount = 0;
  let width = widthMin;
  let counter = endCode;

  const write = (code: number) => {
    bits |= code << bitCount;
    bitCount += width;
    while (bitCount >= 8) {
      if (length === out.length) {
        const grown = new Uint8Array(out.length * 2);
        grown.set(out);
        out = grown;
      }
      out[length++] = bits & 0xff;
      bits >>>= 8;
      bitCount -= 8;
    }
  };

  // A slot holds (string code << 8 | next byte) + 1 and, beside it, the code of string-plus-byte; 0 is free.
  const keys = new Int32Array(slots);
  const codes = new Uint16Array(slots);
  const slotOf = (key: number) => {
    let slot = Math.imul(key, 0x9e3779b1) >>> 18;
    while (keys[slot] !== 0 && keys[slot] !== key + 1) slot = (slot + 1) & (slots - 1);
    return slot;
  };
  /** Steps the counter after a data code; false when the table was full and has been thrown away. */
  const step = () => {
    counter++;
    if (counter === 1 << width) width++;
    if (counter < tableSize - 1) return true;
    write(clearCode);
    keys.fill(0);
    width = widthMin;
    counter = endCode;
    return false;
  };

  write(clearCode);
  if (data.length > 0) {
    let current = data[0]!;
    for (let at = 1; at < data.length; at++) {
      const byte = data[at]!;
      const key = current << 8 | byte;
      const slot = slotOf(key);
      if (keys[slot] !== 0) {
        current = codes[slot]!;
        continue;
      }
      write(current);
      current = byte;
      if (!step()) continue;
      keys[slot] = key + 1;
      codes[slot] = counter;
    }
    write(current);
    step();
  }
  write(endCode);
  if (bitCount > 0) {
    width = 8 - bitCount;
    write(0);
  }
  return out.slice(0, length);
}

/**
 * Decompresses. Throws E2dError `gossip_lzw` for bytes that are not LZW or do not end, `gossip_oversize` when the result
 * would be longer than `outputMax` bytes: a packet of 64 KiB can claim to hold 80 MiB.
 */
export function lzwDecompress(data: Uint8Array, outputMax: number): Bytes {
  let out = new Uint8Array(Math.min(outputMax, 256 + data.length * 4));
  let length = 0;
  let bits = 0;
  let bitCount = 0;
  let at = 0;
  let width = widthMin;
  let counter = endCode;
  let last = -1;
  let full = false;
  const prefix = new Uint16Array(tableSize);
  const suffix = new Uint8Array(tableSize);
  const lengths = new Uint16Array(tableSize);

  const reserve = (count: number) => {
    if (length + count > outputMax) {
      throw new E2dError("gossip_oversize", `Cannot decompress: the content is longer than ${outputMax} bytes`);
    }
    if (length + count <= out.length) return;
    const grown = new Uint8Array(Math.min(outputMax, Math.max(out.length * 2, length + count)));
    grown.set(out.subarray(0, length));
    out = grown;
  };
  /** Writes the string of a code at `end` backwards; gives its first byte. */
  const spell = (code: number, end: number) => {
    while (code > endCode) {
      out[--end] = suffix[code]!;
      code = prefix[code]!;
    }
    out[--end] = code;
    return code;
  };
  const lengthOf = (code: number) => code < clearCode ? 1 : lengths[code]!;

  while (true) {
    while (bitCount < width) {
      if (at === data.length) throw new E2dError("gossip_lzw", "Cannot decompress: the data ends without an end code");
      bits |= data[at++]! << bitCount;
      bitCount += 8;
    }
    const code = bits & ((1 << width) - 1);
    bits >>>= width;
    bitCount -= width;

    if (code === endCode) return out.slice(0, length);
    if (code === clearCode) {
      width = widthMin;
      counter = endCode;
      last = -1;
      full = false;
      continue;
    }
    // The code that is about to be defined stands for the last string and its own first byte.
    const own = code === counter && last >= 0;
    if (code > endCode && !own && code >= counter && !(full && code === counter)) {
      throw new E2dError("gossip_lzw", `Cannot decompress: code ${code} is not defined yet`);
    }
    const size = own ? lengthOf(last) + 1 : lengthOf(code);
    reserve(size);
    const first = own ? spell(last, length + size - 1) : spell(code, length + size);
    length += size;
    if (own) out[length - 1] = first;
    if (last >= 0) {
      prefix[counter] = last;
      suffix[counter] = first;
      lengths[counter] = lengthOf(last) + 1;
    }
    last = code;
    counter++;
    if (counter < 1 << width) continue;
    if (width < widthMax) width++;
    else {
      // Twelve bits are used up: nothing more is defined until a clear.
      counter--;
      last = -1;
      full = true;
    }
  }
}
