/**
 * The key-value methods that e2db needs, with etcd's semantics. `etcd_kv.ts` implements them over etcd, `memory_kv.ts` in
 * memory; any other implementation must pass tests/e2db/suites/kv_suite.ts.
 */

/** One key at one revision. Revisions are numbers: etcd would need 285 years at a million writes a second to pass 2^53. */
export interface KeyValue {
  key: Uint8Array;
  value: Uint8Array;
  createRevision: number;
  modRevision: number;
  /** 1 at creation, incremented by each write. */
  version: number;
}

/** Reads `key`, or `[key, end)` when `end` is given. */
export interface RangeRequest {
  key: Uint8Array;
  end?: Uint8Array | undefined;
  /** Maximum number of keys; 0 or absent: all. */
  limit?: number | undefined;
  /** Read as of this revision; absent: a linearizable read. */
  revision?: number | undefined;
  keysOnly?: boolean | undefined;
  countOnly?: boolean | undefined;
}

export interface RangeResponse {
  /** The store's revision at the time of the answer. */
  revision: number;
  /** In ascending order of the key's bytes. */
  kvs: KeyValue[];
  /** True when `limit` cut the answer. */
  more: boolean;
  /** Keys in the range, ignoring `limit`. */
  count: number;
}

/**
 * One condition of a transaction. With `end` it must be true for every key in `[key, end)`, and is true for an empty
 * range. An absent key has mod and create revision 0.
 */
export interface Compare {
  key: Uint8Array;
  end?: Uint8Array | undefined;
  target: "mod" | "create";
  result: "equal" | "less" | "greater";
  revision: number;
}

export type Operation =
  | { kind: "put"; key: Uint8Array; value: Uint8Array; lease?: string | undefined }
  | { kind: "delete"; key: Uint8Array; end?: Uint8Array | undefined }
  | { kind: "range"; request: RangeRequest };

export interface TxnRequest {
  compares: Compare[];
  success: Operation[];
  failure: Operation[];
}

export interface TxnResponse {
  succeeded: boolean;
  revision: number;
  /** One for each operation of the executed branch; undefined for puts and deletes. */
  ranges: (RangeResponse | undefined)[];
}

export interface WatchRequest {
  key: Uint8Array;
  end: Uint8Array;
  /** The first revision to deliver; absent: from now on. */
  fromRevision?: number | undefined;
  signal: AbortSignal;
}

export type WatchEvent =
  | { kind: "put"; kv: KeyValue; before: KeyValue | undefined }
  | { kind: "delete"; key: Uint8Array; modRevision: number; before: KeyValue | undefined };

/** Events in order of revision; the events of one revision are never split. Empty: a progress report, or the start. */
export interface WatchBatch {
  /** Everything up to and including this revision has been delivered. */
  revision: number;
  events: WatchEvent[];
}

export interface Kv {
  range(request: RangeRequest): Promise<RangeResponse>;
  /** Sent at most once: only the caller knows whether repeating it is safe. */
  txn(request: TxnRequest): Promise<TxnResponse>;
  /** Ends without an error when the signal is aborted; throws KvError `unavailable` when the connection is lost. */
  watch(request: WatchRequest): AsyncIterable<WatchBatch>;
  /** The store may grant more than requested. */
  grantLease(ttlSeconds: number): Promise<{ id: string; ttlSeconds: number }>;
  /** Remaining seconds after the renewal. Throws KvError `no_lease` when the lease has expired. */
  keepLease(id: string): Promise<number>;
  /** Succeeds for a lease that has expired. */
  revokeLease(id: string): Promise<void>;
  close(): void;
}

/**
 * `unavailable`: no answer, a write may or may not have been applied. `refused`: certainly not applied, for a temporary
 * reason (no leader, too many requests). All others: certainly not applied, and repeating the call does not help.
 */
export type KvErrorKind =
  | "unavailable"
  | "refused"
  | "compacted"
  | "too_large"
  | "too_many_operations"
  | "no_lease"
  | "denied"
  | "closed"
  | "invalid";

export class KvError extends Error {
  override readonly name = "KvError";
  readonly kind: KvErrorKind;
  /** For `compacted`: the oldest revision that can still be read, 0 when unknown. */
  readonly compactRevision: number;

  constructor(kind: KvErrorKind, message: string, details: { cause?: unknown; compactRevision?: number } = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    this.compactRevision = details.compactRevision ?? 0;
  }
}

/** etcd's default `--max-txn-ops`, the limit of the conditions and of the operations of each branch. */
export const operationsMax = 128;

/** etcd's default `--max-request-bytes`, 1.5 MiB. */
export const requestBytesMax = 1_572_864;
