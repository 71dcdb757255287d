/**
 * The Go original's sealed form: "ENCRYPTED:", the size as a zig-zag varint, a 16-byte IV, AES-256-CTR, HMAC-SHA-512/256
 * over the plaintext, one 32-byte key for both. The tag comes last, so the output of `open` must not be used before its
 * stream has ended without an error: readers write it to a file that gets its name only then. The original does not
 * require the tag, the length or the end; this reader does.
 */
import { createHmac } from "node:crypto";
import { E2dError } from "../../errors.ts";
import { ByteReader } from "../../streams/byte_reader.ts";
import { Ctr } from "./ctr.ts";
import { equalInConstantTime, tagBytes } from "./keys.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const goPrefix = new TextEncoder().encode("ENCRYPTED:");
const ivBytes = 16;
const pieceBytes = 1_048_576;
/** The header of bbolt's first page, and the number that follows it. */
const firstPageBytes = 20;
const boltMagic = 0xed0cdaed;

export interface GoSealOptions {
  readonly key: Bytes;
  /** Exact size of the stream: the format stores it in front. */
  readonly plainBytes: number;
  readonly randomBytes: (length: number) => Bytes;
}

/** Errors with E2dError `snapshot_size` if the stream has another size than `plainBytes`. */
export function sealGoV1(plain: ReadableStream<Uint8Array>, options: GoSealOptions): ReadableStream<Bytes> {
  return ReadableStream.from(seal(plain, options));
}

async function* seal(plain: ReadableStream<Uint8Array>, { key, plainBytes, randomBytes }: GoSealOptions) {
  const iv = randomBytes(ivBytes);
  yield new Uint8Array([...goPrefix, ...zigZagVarint(plainBytes), ...iv]);
  const ctr = await Ctr.of(key, iv);
  const hmac = createHmac("sha512-256", key);
  const reader = new ByteReader(plain);
  let offset = 0;
  for (;;) {
    const piece = await reader.read(pieceBytes);
    if (piece.length === 0) break;
    // WebCrypto encrypts in parallel while the hash blocks the event loop.
    const sealed = ctr.at(offset, piece);
    hmac.update(piece);
    yield await sealed;
    offset += piece.length;
  }
  if (offset !== plainBytes) {
    throw new E2dError(
      "snapshot_size",
      `Cannot seal the snapshot: it has ${offset} bytes, and ${plainBytes} were announced`,
    );
  }
  yield new Uint8Array(hmac.digest());
}

/** Errors with E2dError `snapshot_truncated`, `snapshot_trailing`, `snapshot_corrupt` or `snapshot_wrong_key`. */
export async function openGoV1(reader: ByteReader, keys: readonly Bytes[]): Promise<ReadableStream<Bytes>> {
  await exactly(reader, goPrefix.length);
  const [first] = keys;
  if (first === undefined) {
    throw new E2dError("snapshot_wrong_key", "Cannot open the snapshot: it is sealed, and no key was given", {
      hint: "pass --ca-key of the cluster that made it",
    });
  }
  const size = await readVarint(reader);
  const iv = await exactly(reader, ivBytes);
  const start = await reader.peek(Math.min(size, firstPageBytes));
  return ReadableStream.from(open(reader, size, iv, await keyThatFits(start, iv, keys) ?? first));
}

/** The tag comes last, so the right key is the one under which the file begins like a database. */
async function keyThatFits(start: Bytes, iv: Bytes, keys: readonly Bytes[]): Promise<Bytes | undefined> {
  for (const key of keys) {
    const page = await (await Ctr.of(key, iv)).at(0, start);
    if (page.length === firstPageBytes && new DataView(page.buffer).getUint32(16, true) === boltMagic) return key;
  }
  return undefined;
}

async function* open(reader: ByteReader, size: number, iv: Bytes, key: Bytes): AsyncGenerator<Bytes> {
  const ctr = await Ctr.of(key, iv);
  const hmac = createHmac("sha512-256", key);
  let before: Bytes | undefined;
  for (let offset = 0; offset < size;) {
    const sealed = await exactly(reader, Math.min(pieceBytes, size - offset));
    // WebCrypto decrypts this piece in parallel while the hash of the previous one blocks the event loop.
    const opening = ctr.at(offset, sealed);
    offset += sealed.length;
    if (before !== undefined) {
      hmac.update(before);
      // The reader owns what it is given: it is hashed before.
      yield before;
    }
    before = await opening;
  }
  if (before !== undefined) {
    hmac.update(before);
    yield before;
  }
  const tag = await exactly(reader, tagBytes);
  if (!equalInConstantTime(new Uint8Array(hmac.digest()), tag)) {
    throw new E2dError("snapshot_corrupt", "Cannot open the snapshot: it fails authentication", {
      hint: "it was sealed with another CA key, or it is damaged: try the former CA key, or an older snapshot",
    });
  }
  if (!await reader.atEnd()) {
    throw new E2dError("snapshot_trailing", "Cannot open the snapshot: there are bytes after its end", {
      hint: "the Go original leaves some when it overwrites a longer file: cut them off, and keep a copy",
    });
  }
}

async function exactly(reader: ByteReader, length: number): Promise<Bytes> {
  const bytes = await reader.read(length);
  if (bytes.length === length) return bytes;
  throw new E2dError("snapshot_truncated", "Cannot open the snapshot: it ends too early", {
    hint: "take another copy of it, or an older one",
  });
}

/** Go's binary.PutVarint. */
function zigZagVarint(value: number): number[] {
  let rest = BigInt(value) * 2n;
  const bytes: number[] = [];
  for (; rest >= 128n; rest >>= 7n) bytes.push(Number(rest & 127n) | 128);
  return [...bytes, Number(rest)];
}

async function readVarint(reader: ByteReader): Promise<number> {
  let value = 0n;
  for (let shift = 0n; shift < 63n; shift += 7n) {
    const byte = (await exactly(reader, 1))[0]!;
    value |= BigInt(byte & 127) << shift;
    if (byte >= 128) continue;
    const size = Number(value >> 1n);
    // Odd numbers are negative ones.
    if ((value & 1n) === 0n && Number.isSafeInteger(size)) return size;
    break;
  }
  throw new E2dError("snapshot_corrupt", "Cannot open the snapshot: its size makes no sense");
}
