/** Any snapshot that e2d or the original ever wrote, told by its first bytes, as the plain database. */
import { ByteReader } from "../streams/byte_reader.ts";
import { decompress } from "./compress.ts";
import { goPrefix, openGoV1 } from "./go_v1.ts";
import { sameBytes } from "./keys.ts";
import { magic, openV2, type V2Header } from "./v2.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface OpenedSnapshot {
  readonly kind: "v2" | "go-v1" | "plain";
  /** Of v2 alone. */
  readonly header?: V2Header;
  readonly gzip: boolean;
  /**
   * The database. For `go-v1` and `plain` nothing of it is proven before the stream has ended without an error: it must
   * not be used, nor get its name, before.
   */
  readonly stream: ReadableStream<Bytes>;
}

export interface SnapshotKeys {
  /** v2 is sealed for each of these; any of them may open it. */
  readonly recipients: readonly Bytes[];
  /** Open older files, of either format, and seal nothing. */
  readonly former?: readonly Bytes[];
  /** For go-v1: what derives from the CA key. */
  readonly secret?: Bytes | undefined;
}

/** etcd's own databases stay far below. */
const plainMaxBytes = 1024 ** 4;
const gzipMagic = new Uint8Array([0x1f, 0x8b]);

/** Throws what openV2 and openGoV1 throw. */
export async function openSnapshot(source: ReadableStream<Uint8Array>, keys: SnapshotKeys): Promise<OpenedSnapshot> {
  const outer = new ByteReader(source);
  const { former = [] } = keys;
  const start = await outer.peek(Math.max(magic.length, goPrefix.length));
  if (begins(start, magic)) {
    const { header, compressed } = await openV2(outer, [...keys.recipients, ...former]);
    const maxBytes = Math.min(plainMaxBytes, header.plainBytes);
    return { kind: "v2", header, gzip: false, stream: decompress(compressed, header.compression, maxBytes) };
  }
  const gzip = begins(start, gzipMagic);
  const inner = gzip ? new ByteReader(decompress(outer.rest(), "gzip", plainMaxBytes)) : outer;
  const first = gzip ? await inner.peek(goPrefix.length) : start;
  if (!begins(first, goPrefix)) return { kind: "plain", gzip, stream: inner.rest() };
  return {
    kind: "go-v1",
    gzip,
    stream: await openGoV1(inner, keys.secret === undefined ? former : [keys.secret, ...former]),
  };
}

const begins = (bytes: Uint8Array, start: Uint8Array) => sameBytes(bytes.subarray(0, start.length), start);
