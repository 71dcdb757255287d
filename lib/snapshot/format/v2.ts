/** Writes and reads snapshot format v2 as streams. DESIGN.md defines the layout. */
import { E2dError } from "../../errors.ts";
import { ByteReader } from "../../streams/byte_reader.ts";
import { concat } from "../../bytes.ts";
import { ageId, unwrapByAge, wrapForAge } from "./age_keys.ts";
import { Ctr } from "./ctr.ts";
import {
  derive,
  equalInConstantTime,
  headerMac,
  isMacName,
  keyBytes,
  mac,
  type MacName,
  tagBytes,
  unwrapKey,
  wrapKey,
  type WrappedKey,
} from "./keys.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const magic = new TextEncoder().encode("E2DSNAP2");
const headerMaxBytes = 65_536;
export const defaultChunkBytes = 1_048_576;
const chunkMaxBytes = 16 * 1_048_576;
const lastMark = 0x8000_0000;
/** WebCrypto encrypts so many chunks in parallel, while this thread computes the tag of another one. */
const sealedAhead = 3;

export interface SnapshotFacts {
  readonly clusterId: string;
  readonly lineage: { readonly id: string; readonly epoch: number; readonly token: string };
  readonly revision: number;
  readonly etcdVersion: string;
  /** ISO 8601. */
  readonly takenAt: string;
  /** Size of the database as etcd sent it. */
  readonly plainBytes: number;
}

export type Compression = "none" | "gzip" | "zstd";

export interface V2Header extends SnapshotFacts {
  readonly version: 2;
  readonly sealed: boolean;
  readonly compression: Compression;
  /** Of the chunks. Files of an e2d before 1.0.0 name none: HMAC-SHA-512/256. */
  readonly mac?: MacName;
  readonly chunkBytes: number;
  readonly salt: string;
  readonly recipients: readonly WrappedKey[];
}

export interface SealOptions {
  readonly facts: SnapshotFacts;
  readonly compression: Compression;
  /** 32 bytes each. Without any key, here and in `publicRecipients`, the file is not sealed. */
  readonly recipients: readonly Bytes[];
  /** "age1…": what they open proves nothing about its origin, because these keys are public. */
  readonly publicRecipients?: readonly string[] | undefined;
  /** See fastestMac(). */
  readonly mac: MacName;
  readonly randomBytes: (length: number) => Bytes;
  readonly chunkBytes?: number;
}

/** `compressed` is the database after `options.compression`. */
export function sealV2(compressed: ReadableStream<Uint8Array>, options: SealOptions): ReadableStream<Bytes> {
  return ReadableStream.from(seal(compressed, options));
}

async function* seal(compressed: ReadableStream<Uint8Array>, options: SealOptions): AsyncGenerator<Bytes> {
  const { facts, compression, recipients, publicRecipients = [] } = options;
  const { randomBytes, mac: macName, chunkBytes = defaultChunkBytes } = options;
  const sealed = recipients.length + publicRecipients.length > 0;
  const salt = randomBytes(keyBytes);
  const fileKey = sealed ? randomBytes(keyBytes) : new Uint8Array(keyBytes);
  const header: V2Header = {
    version: 2,
    sealed,
    compression,
    mac: macName,
    chunkBytes,
    salt: salt.toHex(),
    recipients: await Promise.all([
      ...recipients.map((recipient) => wrapKey(fileKey, recipient, salt)),
      ...publicRecipients.map((recipient) => wrapForAge(fileKey, recipient)),
    ]),
    ...facts,
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  const keys = keysOf(fileKey, salt);
  const head = concat(magic, uint32(text.length), text);
  const headTag = mac(headerMac, keys.header, head);
  // The small parts between two chunks.
  let between = concat(head, headTag);
  const reader = new ByteReader(compressed);
  const ctr = await Ctr.of(keys.encrypt);
  const ahead: { last: boolean; sealing: Bytes | Promise<Bytes> }[] = [];
  try {
    for (let index = 0, read = 0, ended = false; !ended || ahead.length > 0; index++) {
      for (; !ended && ahead.length < sealedAhead; read++) {
        const plain = await reader.read(chunkBytes);
        ended = await reader.atEnd();
        const sealing = sealed ? ctr.at(read * chunkBytes, plain) : plain;
        if (sealing instanceof Promise) sealing.catch(() => {});
        ahead.push({ last: ended, sealing });
      }
      const { last, sealing } = ahead.shift()!;
      const body = await sealing;
      const length = uint32(body.length + (last ? lastMark : 0));
      const tag = chunkTag(macName, keys.chunk, headTag, index, length, body);
      // Not copied to one part with its tag. The reader owns what it is given: `body` is used no more.
      yield concat(between, length);
      if (body.length > 0) yield body;
      between = tag;
    }
    yield between;
  } finally {
    await Promise.allSettled(ahead.map(({ sealing }) => sealing));
    await reader.cancel().catch(() => {});
  }
}

export interface OpenedV2 {
  readonly header: V2Header;
  /** Still compressed. Each chunk is authenticated before it is emitted. */
  readonly compressed: ReadableStream<Bytes>;
}

/**
 * Throws E2dError `snapshot_corrupt`, `snapshot_truncated`, `snapshot_trailing`, `snapshot_wrong_key` or
 * `snapshot_newer_format`; the stream errors with them, too.
 */
export async function openV2(
  reader: ByteReader,
  recipients: readonly Bytes[],
  identities: readonly string[] = [],
): Promise<OpenedV2> {
  const { start, text, header } = await readHead(reader);
  const headTag = await exactly(reader, tagBytes, "its header");
  const salt = Uint8Array.fromHex(header.salt);
  const fileKey = header.sealed ? await fileKeyOf(header, recipients, identities) : new Uint8Array(keyBytes);
  const keys = keysOf(fileKey, salt);
  if (!equalInConstantTime(mac(headerMac, keys.header, start, text), headTag)) throw corrupt("its header");
  const macName = macOf(header);
  return { header, compressed: ReadableStream.from(openChunks({ reader, header, macName, keys, headTag })) };
}

async function fileKeyOf(
  header: V2Header,
  recipients: readonly Bytes[],
  identities: readonly string[],
): Promise<Bytes> {
  const forAge = header.recipients.filter(({ id }) => id === ageId).map(({ key }) => key);
  const fileKey = await unwrapKey(header.recipients, recipients, Uint8Array.fromHex(header.salt)) ??
    await unwrapByAge(forAge, identities);
  if (fileKey !== undefined) return fileKey;
  const why = recipients.length + identities.length === 0
    ? "it is sealed, and no key was given"
    : "it is sealed for other keys";
  throw new E2dError("snapshot_wrong_key", `Cannot open the snapshot: ${why}`, {
    hint: "pass --ca-key of the cluster that made it, --snapshot-recipient with a key file it was sealed for, or " +
      "--snapshot-identity",
  });
}

async function readHead(reader: ByteReader) {
  const start = await exactly(reader, magic.length + 4, "its header");
  const length = new DataView(start.buffer).getUint32(magic.length);
  if (!equalInConstantTime(start.subarray(0, magic.length), magic) || length > headerMaxBytes) {
    throw corrupt("its header");
  }
  const text = await exactly(reader, length, "its header");
  return { start, text, header: parseHeader(text) };
}

/** The header without authentication: only for decisions to refuse a file. */
export const readHeader = async (reader: ByteReader): Promise<V2Header> => (await readHead(reader)).header;

/** The header must be authentic: its MAC never depends on what it names. */
function macOf({ mac: name = headerMac }: { readonly mac?: string }): MacName {
  if (isMacName(name)) return name;
  throw new E2dError("snapshot_newer_format", `Cannot open the snapshot: its chunks have the MAC "${name}"`, {
    hint: "a newer e2d made it: use that one",
  });
}

interface Chunks {
  readonly reader: ByteReader;
  readonly header: V2Header;
  readonly macName: MacName;
  readonly keys: ReturnType<typeof keysOf>;
  readonly headTag: Bytes;
}

async function* openChunks(chunks: Chunks): AsyncGenerator<Bytes> {
  const { reader, macName, keys, headTag } = chunks;
  const ctr = await Ctr.of(keys.encrypt);
  let next: Awaited<ReturnType<typeof readChunk>> | E2dError = await readChunk(chunks, ctr, 0);
  try {
    for (let index = 0;; index++) {
      // An error of the next chunk counts after the chunks before it.
      if (next instanceof Error) throw next;
      const { last, field, body, tag, opening } = next;
      // WebCrypto decrypts both chunks in parallel. The plaintext is emitted only after its tag is verified.
      if (!last) next = await readChunk(chunks, ctr, index + 1).catch((error) => error as E2dError);
      const fits = equalInConstantTime(chunkTag(macName, keys.chunk, headTag, index, field, body), tag);
      const plain = await opening;
      if (!fits) throw corrupt(`chunk ${index}`);
      if (plain.length > 0) yield plain;
      if (!last) continue;
      if (await reader.atEnd()) return;
      throw new E2dError("snapshot_trailing", "Cannot open the snapshot: there are bytes after its end", { hint });
    }
  } finally {
    if (!(next instanceof Error)) await next.opening.catch(() => {});
  }
}

/** Begins to decrypt the chunk; its tag is not verified. */
async function readChunk({ reader, header: { chunkBytes, sealed } }: Chunks, ctr: Ctr, index: number) {
  const name = `chunk ${index}`;
  const field = await exactly(reader, 4, name);
  const value = new DataView(field.buffer).getUint32(0);
  const last = value >= lastMark;
  const length = last ? value - lastMark : value;
  if (length > chunkBytes || (!last && length !== chunkBytes)) throw corrupt(name);
  const body = await exactly(reader, length, name);
  const tag = await exactly(reader, tagBytes, name);
  const opening = sealed ? ctr.at(index * chunkBytes, body) : Promise.resolve(body);
  opening.catch(() => {});
  return { last, field, body, tag, opening };
}

const hint = "take another copy of it, or an older one: e2d snapshot list shows them";

function corrupt(part: string): E2dError {
  return new E2dError("snapshot_corrupt", `Cannot open the snapshot: ${part} fails authentication`, { hint });
}

async function exactly(reader: ByteReader, length: number, part: string): Promise<Bytes> {
  const bytes = await reader.read(length);
  if (bytes.length === length) return bytes;
  throw new E2dError("snapshot_truncated", `Cannot open the snapshot: it ends within ${part}`, { hint });
}

function parseHeader(bytes: Bytes): V2Header {
  let value: Partial<V2Header>;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as Partial<V2Header>;
  } catch {
    throw corrupt("its header");
  }
  if (value?.version !== 2 && typeof value?.version === "number") {
    throw new E2dError("snapshot_newer_format", `Cannot open the snapshot: its format is version ${value.version}`, {
      hint: "a newer e2d made it: use that one",
    });
  }
  // The tag is verified afterwards; these fields are needed to do so.
  const { salt, chunkBytes, recipients, compression, sealed, mac = headerMac } = value;
  const fits = typeof salt === "string" && /^[0-9a-f]{64}$/.test(salt) && typeof sealed === "boolean" &&
    typeof mac === "string" &&
    typeof chunkBytes === "number" && Number.isInteger(chunkBytes) && chunkBytes >= 16 && chunkBytes % 16 === 0 &&
    chunkBytes <= chunkMaxBytes && Array.isArray(recipients) && recipients.length <= 64 &&
    recipients.every((each) => typeof each?.id === "string" && typeof each.key === "string") &&
    (compression === "none" || compression === "gzip" || compression === "zstd");
  if (!fits) throw corrupt("its header");
  return value as V2Header;
}

function keysOf(fileKey: Bytes, salt: Bytes) {
  return {
    header: derive(fileKey, salt, "e2d v2 header"),
    encrypt: derive(fileKey, salt, "e2d v2 encrypt"),
    chunk: derive(fileKey, salt, "e2d v2 chunk"),
  };
}

function chunkTag(name: MacName, key: Bytes, headTag: Bytes, index: number, length: Bytes, body: Bytes): Bytes {
  const place = new DataView(new ArrayBuffer(8));
  place.setBigUint64(0, BigInt(index));
  return mac(name, key, headTag, new Uint8Array(place.buffer), length, body);
}

function uint32(value: number): Bytes {
  const view = new DataView(new ArrayBuffer(4));
  view.setUint32(0, value);
  return new Uint8Array(view.buffer);
}
