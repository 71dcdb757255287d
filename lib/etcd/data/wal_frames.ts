/**
 * The frames of etcd's write-ahead log (server/storage/wal/{encoder,decoder}.go): 8 bytes with the record's length and,
 * in the upper byte, the length of the padding; the record; padding to a multiple of 8.
 */
import type { OpenFile } from "../../ports.ts";
import { damage } from "./damage.ts";

export interface WalFrame {
  /** Fewer bytes than the frame declares where the file ends within it. */
  readonly record: Uint8Array;
  /** Of the record in the file. */
  readonly offset: number;
  /** Of the next frame. */
  readonly nextOffset: number;
  /** False when the file ends within the record. */
  readonly complete: boolean;
}

const headerBytes = 8;
const chunkBytes = 256 * 1024;
/** etcd takes requests of a few MiB; a record holds one request, or several. */
const recordBytesMax = 256 * 1024 * 1024;
/** What a disk writes as a whole: a record that was not completely written contains sectors of zeros. */
const sectorBytes = 512;

/** Ends at the part of the file that etcd allocated in advance, or after an incomplete record. */
export async function* framesOf(file: OpenFile): AsyncGenerator<WalFrame, void, void> {
  let chunk: Uint8Array = new Uint8Array(0);
  /** Of the chunk's first byte. */
  let offset = 0;
  /** Makes the chunk hold `count` bytes from `at` on, unless the file ends before, and returns where they begin in it. */
  const fill = async (at: number, count: number) => {
    if (at + count <= chunk.length) return at;
    const rest = chunk.subarray(at);
    const more = await file.read(offset + chunk.length, Math.max(chunkBytes, count - rest.length));
    const joined = new Uint8Array(rest.length + more.length);
    joined.set(rest);
    joined.set(more, rest.length);
    offset += at;
    chunk = joined;
    return 0;
  };
  for (let at = 0;;) {
    at = await fill(at, headerBytes);
    if (chunk.length - at < headerBytes) return;
    const view = new DataView(chunk.buffer, chunk.byteOffset + at, headerBytes);
    const [low, high] = [view.getUint32(0, true), view.getUint32(4, true)];
    if (low === 0 && high === 0) return;
    const paddingBytes = high >>> 31 === 1 ? high >>> 24 & 0x7 : 0;
    const recordBytes = (high & 0xffffff) * 2 ** 32 + low;
    if (recordBytes > recordBytesMax) throw damage(`a record of the log declares ${recordBytes} bytes`);
    at = await fill(at, headerBytes + recordBytes + paddingBytes);
    const record = chunk.subarray(at + headerBytes, at + headerBytes + recordBytes);
    const nextAt = at + headerBytes + recordBytes + paddingBytes;
    const complete = record.length === recordBytes;
    yield { record, offset: offset + at + headerBytes, nextOffset: offset + nextAt, complete };
    if (!complete) return;
    at = nextAt;
  }
}

export function encodeFrame(record: Uint8Array): Uint8Array<ArrayBuffer> {
  const paddingBytes = (8 - record.length % 8) % 8;
  const frame = new Uint8Array(headerBytes + record.length + paddingBytes);
  const view = new DataView(frame.buffer);
  view.setUint32(0, record.length, true);
  view.setUint32(4, paddingBytes === 0 ? 0 : (0x80 | paddingBytes) * 2 ** 24, true);
  frame.set(record, headerBytes);
  return frame;
}

/** True when the record was not written completely: the file ends within it, or it contains a sector of zeros. */
export function isTorn({ record, offset, complete }: WalFrame): boolean {
  if (!complete) return true;
  for (let start = 0; start < record.length;) {
    const end = start + sectorBytes - (offset + start) % sectorBytes;
    if (record.subarray(start, end).every((byte) => byte === 0)) return true;
    start = end;
  }
  return false;
}
