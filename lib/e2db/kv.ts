/**
 * The few key-value methods e2db needs: etcd's own semantics, without its client. `etcd_kv.ts` gives them over etcd,
 * `memory_kv.ts` in memory; anything else that passes tests/e2db/suites/kv_suite.ts will do as well.
 */

/** One key at one revision. Revisions are numbers: etcd would need 285 years at a million writes a second to pass 2^53. */
export interface KeyValue {
  key: Uint8Array;
  value: Uint8Array;
  createRevision: number;
  modRevision: number;
  /** 1 at creation, one more for each write since. */
  version: number;
}

/** Reads `key`, or `[key, end)` where end is given. */
export interface RangeRequest {
  key: Uint8Array;
  end?: Uint8Array | undefined;
  /** At most so many keys; 0 or absent means all. */
  limit?: number | undefined;
  /** Read as of this revision; absent means now, linearizable. */
  revision?: number | undefined;
  keysOnly?: boolean | undefined;
  countOnly?: boolean | undefined;
}

export interface RangeResponse {
  /** The store's revision when it answered. */
  revision: number;
  /** In ascending order of the key's bytes. */
  kvs: KeyValue[];
  /** True when `limit` cut the answer short. */
  more: boolean;
  /** Keys in the range, whatever the limit. */
  count: number;
}

/**
 * One condition of a transaction. With `end` it must hold for every key in `[key, end)`, and holds when there is none.
 * An absent key has mod and create revision 0.
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
  /** One for each operation of the branch taken; undefined for puts and deletes. */
  ranges: (RangeResponse | undefined)[];
}

export interface WatchRequest {
  key: Uint8Array;
  end: Uint8Array;
  /** The first revision to hear of; absent means from now on. */
  fromRevision?: number | undefined;
  signal: AbortSignal;
}

export type WatchEvent =
  | { kind: "put"; kv: KeyValue; before: KeyValue | undefined }
  | { kind: "delete"; key: Uint8Array; modRevision: number; before: KeyValue | undefined };

/** Events in order of revision; one revision is never cut in two. No events: a sign of life, or the watch's start. */
export interface WatchBatch {
  /** Everything up to and including this revision has been delivered. */
  revision: number;
  events: WatchEvent[];
}

export interface Kv {
  range(request: RangeRequest): Promise<RangeResponse>;
  /** Sent once: never repeated by the implementation, because only the caller can tell whether that is safe. */
  txn(request: TxnRequest): Promise<TxnResponse>;
  /** Ends quietly when the signal is aborted; throws KvError `unavailable` when the connection breaks. */
  watch(request: WatchRequest): AsyncIterable<WatchBatch>;
  /** The store may grant more than was asked for. */
  grantLease(ttlSeconds: number): Promise<{ id: string; ttlSeconds: number }>;
  /** Seconds left after the renewal. Throws KvError `no_lease` when it has ended. */
  keepLease(id: string): Promise<number>;
  /** A lease that has ended already counts as revoked. */
  revokeLease(id: string): Promise<void>;
  close(): void;
}

/**
 * `unavailable`: no answer, and a write may or may not have been applied. `refused`: certainly not applied, for a reason
 * that may pass (no leader, too many requests). All others: certainly not applied, and asking again will not help.
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

/** etcd's default `--max-txn-ops`: conditions, and operations of either branch, each at most so many. */
export const operationsMax = 128;

/** etcd's default `--max-request-bytes`, 1.5 MiB. */
export const requestBytesMax = 1_572_864;
