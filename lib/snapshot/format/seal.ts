/** Converts a plain database to its stored form. The only module that chooses a format. */
import { E2dError } from "../../errors.ts";
import { compress } from "./compress.ts";
import { sealGoV1 } from "./go_v1.ts";
import type { MacName } from "./keys.ts";
import type { SnapshotKeys } from "./unseal.ts";
import { type Compression, sealV2, type SnapshotFacts } from "./v2.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface WrapOptions {
  readonly facts: SnapshotFacts;
  readonly format: "v2" | "go-v1";
  readonly compression: Compression;
  readonly sealed: boolean;
  readonly keys: SnapshotKeys;
  /** Of the chunks of v2, see fastestMac(). */
  readonly mac: MacName;
  readonly randomBytes: (length: number) => Bytes;
}

/** `facts.plainBytes` must be exact for a sealed go-v1, which stores the size in front. */
export function wrapSnapshot(plain: ReadableStream<Bytes>, options: WrapOptions): ReadableStream<Bytes> {
  const { facts, format, compression, sealed, keys, mac, randomBytes } = options;
  if (format === "v2") {
    const { recipients, publicRecipients } = sealed ? keys : { recipients: [], publicRecipients: [] };
    const v2 = { facts, compression, recipients, publicRecipients, mac, randomBytes };
    return sealV2(compress(plain, compression), v2);
  }
  // The original knows gzip alone, and seals without compressing.
  if (!sealed) return compress(plain, compression === "zstd" ? "gzip" : compression);
  if (keys.secret === undefined) {
    throw new E2dError("snapshot_unsealed", "Cannot seal a snapshot in the format go-v1: it needs the CA key", {
      hint: "pass --ca-key, or use --snapshot-format v2",
    });
  }
  return sealGoV1(plain, { key: keys.secret, plainBytes: facts.plainBytes, randomBytes });
}
