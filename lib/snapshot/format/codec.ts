/**
 * Seals and opens databases together with all of their checksums. Owns what is computed over each byte of a snapshot; must
 * do no input or output of its own.
 */
import { createHash } from "node:crypto";
import { observe } from "../../streams/observe.ts";
import { checkEtcdSum, type EtcdSum } from "./etcd_sum.ts";
import { type WrapOptions, wrapSnapshot } from "./seal.ts";
import { type OpenedSnapshot, type OpenOptions, openSnapshot, type SnapshotKeys } from "./unseal.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SealedDatabase {
  /** Must be read to its end or cancelled: it may hold a Worker. Its chunks belong to the reader. */
  readonly stream: ReadableStream<Bytes>;
  /** Of the plain database. Resolves after the end of the stream, and rejects if that fails; handled already. */
  readonly etcdSum: Promise<EtcdSum>;
}

export interface OpenedSums {
  /** Of the plain database. */
  readonly etcdSum: EtcdSum;
  /** SHA-256 of the whole source. */
  readonly storedSha256: string;
}

export interface OpenedDatabase extends OpenedSnapshot {
  /** As for a sealed database. */
  readonly sums: Promise<OpenedSums>;
}

export interface Codec {
  /** Takes the chunks of `plain` over. The stream errors as those of wrapSnapshot and checkEtcdSum. */
  seal(plain: ReadableStream<Bytes>, options: WrapOptions): SealedDatabase;
  /** Takes the chunks of `source` over. Errors as openSnapshot and checkEtcdSum. */
  open(source: ReadableStream<Uint8Array>, keys: SnapshotKeys, options: OpenOptions): Promise<OpenedDatabase>;
}

/**
 * On the caller's thread: blocks it for about two milliseconds per MiB, and much longer with compression. Commands and
 * nodes use it, not `worker_codec.ts`: on Deno 2.6.10 three Workers of fifty hung in native code, with its thread at
 * full load, while it verified a snapshot of 309 MiB. No signal of JavaScript ends such a thread.
 */
export const sameThreadCodec: Codec = {
  seal(plain, options) {
    const { stream, done } = checkEtcdSum(plain);
    return { stream: wrapSnapshot(stream, options), etcdSum: done };
  },

  async open(source, keys, options) {
    const stored = createHash("sha256");
    const counted = observe(source as ReadableStream<Bytes>, (chunk) => stored.update(chunk));
    const opened = await openSnapshot(counted, keys, options);
    const { stream, done } = checkEtcdSum(opened.stream);
    const sums = done.then((etcdSum) => ({ etcdSum, storedSha256: stored.digest("hex") }));
    sums.catch(() => {});
    return { ...opened, stream, sums };
  },
};
