/** Reads every snapshot form of e2d and the Go original, identified by its first bytes, as the plain database. */
import { E2dError } from "../../errors.ts";
import { ByteReader } from "../../streams/byte_reader.ts";
import { bounded, decompress } from "./compress.ts";
import { goPrefix, openGoV1 } from "./go_v1.ts";
import { equalInConstantTime } from "./keys.ts";
import { magic, openV2, readHeader, type V2Header } from "./v2.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface OpenedSnapshot {
  readonly kind: "v2" | "go-v1" | "plain";
  /** Of v2 alone. */
  readonly header?: V2Header;
  readonly gzip: boolean;
  /**
   * The database. For `go-v1` and `plain` it is unverified until the stream has ended without an error, and must not be
   * used or get its final name before.
   */
  readonly stream: ReadableStream<Bytes>;
}

export interface SnapshotKeys {
  /** v2 is sealed for each of these keys; each of them opens it. */
  readonly recipients: readonly Bytes[];
  /** "age1…": v2 is sealed for them, too. They open nothing. */
  readonly publicRecipients?: readonly string[] | undefined;
  /** "AGE-SECRET-KEY-1…": open v2, and prove nothing about its origin. */
  readonly identities?: readonly string[] | undefined;
  /** Open older files of both formats; never used to seal. */
  readonly former?: readonly Bytes[];
  /** For go-v1: derived from the CA key. */
  readonly secret?: Bytes | undefined;
}

export interface OpenOptions {
  /** Refuse unsealed files: anyone with write access to the store can create one. */
  readonly requireSealed?: boolean | undefined;
  /** Size of the plain database according to its manifest. */
  readonly maxBytes?: number | undefined;
}

/** Limit without a manifest, far above the databases of etcd. */
const plainMaxBytes = 1024 ** 4;
const gzipMagic = new Uint8Array([0x1f, 0x8b]);

/** Throws what openV2 and openGoV1 throw, and E2dError `snapshot_unsealed`; the stream errors with `snapshot_size`, too. */
export async function openSnapshot(
  source: ReadableStream<Uint8Array>,
  keys: SnapshotKeys,
  { requireSealed = false, maxBytes: limit = plainMaxBytes }: OpenOptions = {},
): Promise<OpenedSnapshot> {
  const outer = new ByteReader(source);
  const { former = [] } = keys;
  const start = await outer.peek(Math.max(magic.length, goPrefix.length));
  if (begins(start, magic)) {
    const { header, compressed } = await openV2(outer, [...keys.recipients, ...former], keys.identities);
    if (requireSealed && !header.sealed) throw unsealed();
    const maxBytes = Math.min(limit, header.plainBytes);
    return { kind: "v2", header, gzip: false, stream: decompress(compressed, header.compression, maxBytes) };
  }
  const gzip = begins(start, gzipMagic);
  const inner = gzip ? new ByteReader(decompress(outer.rest(), "gzip", gzipMaxBytes(limit))) : outer;
  const first = gzip ? await inner.peek(goPrefix.length) : start;
  if (!begins(first, goPrefix)) {
    if (requireSealed) throw unsealed();
    return { kind: "plain", gzip, stream: bounded(inner.rest(), limit) };
  }
  const opened = await openGoV1(inner, keys.secret === undefined ? former : [keys.secret, ...former]);
  return { kind: "go-v1", gzip, stream: bounded(opened, limit) };
}

/** Reads the start of a snapshot and cancels the rest. Throws E2dError `snapshot_unsealed`. */
export async function requireSealedStream(source: ReadableStream<Uint8Array>): Promise<void> {
  const outer = new ByteReader(source);
  try {
    const start = await outer.peek(Math.max(magic.length, goPrefix.length));
    if (begins(start, magic)) {
      if (!(await readHeader(outer)).sealed) throw unsealed();
      return;
    }
    if (begins(start, goPrefix)) return;
    if (!begins(start, gzipMagic)) throw unsealed();
    const inner = new ByteReader(decompress(outer.rest(), "gzip", plainMaxBytes));
    const first = await inner.peek(goPrefix.length);
    await inner.cancel();
    if (!begins(first, goPrefix)) throw unsealed();
  } finally {
    await outer.cancel().catch(() => {});
  }
}

/** The content may be sealed as go-v1, which is slightly longer than the database. */
const gzipMaxBytes = (plainBytes: number) => plainBytes + 128;

function unsealed(): E2dError {
  return new E2dError(
    "snapshot_unsealed",
    "Cannot open the snapshot: it is not sealed, and --snapshot-encryption is on",
    {
      hint: "anyone who can write to the store can have made it; to accept it nonetheless: --snapshot-allow-unsealed",
    },
  );
}

const begins = (bytes: Uint8Array, start: Uint8Array) => equalInConstantTime(bytes.subarray(0, start.length), start);
