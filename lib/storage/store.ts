/** The interface of snapshot stores: objects under keys. tests/storage/contract.ts is its contract. */

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
  /**
   * Throws E2dError `store_exists` if the key has an object, also one that another writer completes meanwhile. A store
   * without conditional writes ignores it: the caller must look first.
   */
  readonly ifAbsent?: boolean | undefined;
}

/**
 * `undefined` and an empty listing mean "absent", and are returned only if the store itself answered so. Every other state
 * throws: E2dError `store_forbidden`, `store_missing` (the bucket or the folder), `store_unreachable`,
 * `store_timeout`, `store_broken` (an unexpected answer), `store_upload_gone`, `store_exists`, `store_region`, `store_clock`, `disk_full`, or the signal's
 * reason. A single answer may still be wrong: lib/snapshot/absence.ts verifies absence by several queries.
 */
export interface Store {
  /** For messages: "s3://bucket", without credentials. */
  readonly name: string;
  read(key: string, signal?: AbortSignal): Promise<StoredObject | undefined>;
  info(key: string, signal?: AbortSignal): Promise<StoredInfo | undefined>;
  /** All objects whose key begins with `prefix`, sorted by key. */
  list(prefix: string, signal?: AbortSignal): Promise<StoredInfo[]>;
  /** Atomic; replaces an existing object. The stream may have any length. */
  write(key: string, content: ReadableStream<Bytes>, options?: WriteOptions): Promise<{ size: number }>;
  /**
   * Copies an object without transferring its content through this machine. Atomic; replaces an existing object. False:
   * the source is absent, or this store cannot do it; then nothing has changed.
   */
  copy?(from: string, to: string, signal?: AbortSignal): Promise<boolean>;
  /** Succeeds if the object does not exist. */
  remove(key: string, signal?: AbortSignal): Promise<void>;
  /**
   * Removes the rest of interrupted writes to keys that begin with `prefix`, begun before `beforeMs` by the store's clock.
   * Returns their number. Undefined: this store keeps no rest of them.
   */
  removeCutWrites?(prefix: string, beforeMs: number, signal?: AbortSignal): Promise<number>;
}

/** A transfer without a byte for this time has failed. A slow transfer has no deadline. */
export const progressTimeoutMs = 60_000;
