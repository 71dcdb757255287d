/** Where snapshots are kept: objects under keys. One interface, one contract (tests/storage/contract.ts). */

type Bytes = Uint8Array<ArrayBuffer>;

export interface StoredInfo {
  readonly key: string;
  /** Bytes. */
  readonly size: number;
  /** Milliseconds since the Unix epoch, by the store's clock. */
  readonly modifiedMs: number;
}

export interface StoredObject {
  readonly size: number;
  /** Errors with E2dError; cancelling it frees the connection. */
  readonly stream: ReadableStream<Bytes>;
}

export interface WriteOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (writtenBytes: number) => void;
}

/**
 * «Not there» is `undefined`, and is only said when the store itself said so. Everything else that keeps one from
 * knowing throws: E2dError `store_forbidden`, `store_missing` (the bucket or the folder), `store_unreachable`,
 * `store_timeout`, `store_broken`, `disk_full`, or the signal's reason.
 */
export interface Store {
  /** For people: "s3://bucket", without credentials. */
  readonly name: string;
  read(key: string, signal?: AbortSignal): Promise<StoredObject | undefined>;
  info(key: string, signal?: AbortSignal): Promise<StoredInfo | undefined>;
  /** All keys that begin so, sorted. */
  list(prefix: string, signal?: AbortSignal): Promise<StoredInfo[]>;
  /** Whole or not at all; takes the place of what was there. The stream may be of any length. */
  write(key: string, content: ReadableStream<Bytes>, options?: WriteOptions): Promise<{ size: number }>;
  /** Succeeds when nothing is there. */
  remove(key: string, signal?: AbortSignal): Promise<void>;
}

/** No byte for this long means that the other side is gone; a slow one may take as long as it likes. */
export const progressTimeoutMs = 60_000;
