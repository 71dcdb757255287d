/** CRC-32C (Castagnoli), eight bytes at a step. `crc` is the checksum of the preceding bytes. */
export function crc32c(data: Uint8Array, crc = 0): number {
  let state = ~crc;
  let at = 0;
  for (const end = data.length - 7; at < end; at += 8) {
    state ^= data[at]! | data[at + 1]! << 8 | data[at + 2]! << 16 | data[at + 3]! << 24;
    state = tables[1792 + (state & 0xff)]! ^ tables[1536 + (state >>> 8 & 0xff)]! ^
      tables[1280 + (state >>> 16 & 0xff)]! ^ tables[1024 + (state >>> 24)]! ^
      tables[768 + data[at + 4]!]! ^ tables[512 + data[at + 5]!]! ^ tables[256 + data[at + 6]!]! ^
      tables[data[at + 7]!]!;
  }
  for (; at < data.length; at++) state = state >>> 8 ^ tables[(state ^ data[at]!) & 0xff]!;
  return ~state >>> 0;
}

/** Eight tables of 256: table n has the effect of a byte that n further bytes follow. */
const tables = makeTables();

function makeTables(): Uint32Array {
  const made = new Uint32Array(2048);
  for (let byte = 0; byte < 256; byte++) {
    let state = byte;
    for (let bit = 0; bit < 8; bit++) state = state & 1 ? state >>> 1 ^ 0x82f63b78 : state >>> 1;
    made[byte] = state;
  }
  for (let index = 256; index < 2048; index++) {
    const before = made[index - 256]!;
    made[index] = before >>> 8 ^ made[before & 0xff]!;
  }
  return made;
}
