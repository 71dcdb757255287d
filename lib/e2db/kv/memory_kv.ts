/**
 * etcd's key-value semantics in memory: revisions, history until compaction, transactions with range compares, leases and
 * watches. For tests, and for programs that use tables without a server. The same contract suite runs against this
 * implementation and real etcd.
 */
import { binaryString, compareBytes } from "../schema/bytes.ts";
import {
  type Compare,
  type KeyValue,
  type Kv,
  KvError,
  type Operation,
  operationsMax,
  type RangeRequest,
  type RangeResponse,
  requestBytesMax,
  type TxnRequest,
  type TxnResponse,
  type WatchBatch,
  type WatchEvent,
  type WatchRequest,
} from "./kv.ts";
import { defaultPlatform, type Platform } from "../platform.ts";

/** One state of one key; `kv` is undefined from a deletion on. */
interface Version {
  revision: number;
  kv: KeyValue | undefined;
  lease: string | undefined;
}

interface Slot {
  key: Uint8Array;
  /** Ascending by revision, never empty. */
  versions: Version[];
}

interface Lease {
  ttlSeconds: number;
  expiresAtMs: number;
  keys: Set<string>;
  ended: AbortController;
}

export class MemoryKv implements Kv {
  #revision = 1;
  #compacted = 0;
  #slots = new Map<string, Slot>();
  /** The names of all slots in byte order; latin-1 strings compare as their bytes do. */
  #order: string[] = [];
  #history: { revision: number; events: WatchEvent[] }[] = [];
  #leases = new Map<string, Lease>();
  #nextLease = 1;
  #wake = Promise.withResolvers<void>();
  #closed = new AbortController();
  readonly #platform: Platform;

  constructor(platform: Platform = defaultPlatform) {
    this.#platform = platform;
  }

  /** The current revision; an empty store is at 1, like etcd's. */
  get revision(): number {
    return this.#revision;
  }

  // deno-lint-ignore require-await -- a call that throws must reject, as a remote one would
  async range(request: RangeRequest): Promise<RangeResponse> {
    this.#enter();
    return this.#range(request);
  }

  // deno-lint-ignore require-await -- as above
  async txn(request: TxnRequest): Promise<TxnResponse> {
    this.#enter();
    checkShape(request);
    const succeeded = request.compares.every((compare) => this.#holds(compare));
    const operations = succeeded ? request.success : request.failure;
    for (const operation of operations) {
      if (operation.kind === "range") this.#checkRevision(operation.request.revision);
      else if (operation.kind === "put" && operation.lease !== undefined && !this.#leases.has(operation.lease)) {
        throw new KvError("no_lease", "etcdserver: requested lease not found");
      }
    }
    return { succeeded, ...this.#apply(operations) };
  }

  async *watch(request: WatchRequest): AsyncIterable<WatchBatch> {
    this.#enter();
    let next = request.fromRevision ?? this.#revision + 1;
    const ended = AbortSignal.any([request.signal, this.#closed.signal]);
    if (ended.aborted) return;
    const aborted = Promise.withResolvers<void>();
    const onAbort = () => aborted.resolve();
    ended.addEventListener("abort", onAbort, { once: true });
    try {
      this.#checkNotCompacted(next);
      yield { revision: next - 1, events: [] };
      while (!ended.aborted) {
        this.#checkNotCompacted(next);
        const wake = this.#wake.promise;
        for (const { revision, events } of this.#history.slice(this.#historyAt(next))) {
          next = revision + 1;
          const mine = events.filter((event) => {
            const key = event.kind === "put" ? event.kv.key : event.key;
            return compareBytes(key, request.key) >= 0 && compareBytes(key, request.end) < 0;
          });
          if (mine.length > 0) yield { revision, events: mine };
          if (ended.aborted) return;
        }
        await Promise.race([wake, aborted.promise]);
      }
    } finally {
      ended.removeEventListener("abort", onAbort);
    }
  }

  // deno-lint-ignore require-await -- as above
  async grantLease(ttlSeconds: number): Promise<{ id: string; ttlSeconds: number }> {
    this.#enter();
    const id = String(this.#nextLease++);
    const expiresAtMs = this.#platform.nowMs() + ttlSeconds * 1000;
    const lease = { ttlSeconds, expiresAtMs, keys: new Set<string>(), ended: new AbortController() };
    this.#leases.set(id, lease);
    this.#expireLater(id, lease);
    return { id, ttlSeconds };
  }

  // deno-lint-ignore require-await -- as above
  async keepLease(id: string): Promise<number> {
    this.#enter();
    const lease = this.#leases.get(id);
    if (lease === undefined) throw new KvError("no_lease", "etcdserver: requested lease not found");
    lease.expiresAtMs = this.#platform.nowMs() + lease.ttlSeconds * 1000;
    return lease.ttlSeconds;
  }

  // deno-lint-ignore require-await -- as above
  async revokeLease(id: string): Promise<void> {
    this.#enter();
    this.#endLease(id);
  }

  /** Discards history before `revision`, as `etcdctl compact` does. Throws KvError `compacted` or `invalid`. */
  compact(revision: number): void {
    if (revision > this.#revision) throw new KvError("invalid", "mvcc: required revision is a future revision");
    this.#checkNotCompacted(revision + 1);
    this.#compacted = revision;
    this.#history = this.#history.filter((entry) => entry.revision >= revision);
    for (const [name, slot] of this.#slots) {
      const keep = slot.versions.findLastIndex((version) => version.revision <= revision);
      if (keep > 0) slot.versions.splice(0, keep);
      if (slot.versions.length === 1 && slot.versions[0]!.kv === undefined && slot.versions[0]!.revision <= revision) {
        this.#slots.delete(name);
        this.#order.splice(this.#position(name), 1);
      }
    }
    this.#notify();
  }

  close(): void {
    this.#closed.abort();
    for (const lease of this.#leases.values()) lease.ended.abort();
  }

  #enter(): void {
    if (this.#closed.signal.aborted) throw new KvError("closed", "the store is closed");
    const now = this.#platform.nowMs();
    for (const [id, lease] of this.#leases) if (lease.expiresAtMs <= now) this.#endLease(id);
  }

  #expireLater(id: string, lease: Lease): void {
    const wait = async () => {
      while (this.#leases.get(id) === lease) {
        const leftMs = lease.expiresAtMs - this.#platform.nowMs();
        if (leftMs <= 0) return this.#endLease(id);
        await this.#platform.sleep(leftMs, lease.ended.signal);
      }
    };
    // The sleep is aborted only by the end of the lease.
    wait().catch(() => {});
  }

  #endLease(id: string): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    this.#leases.delete(id);
    lease.ended.abort();
    const keys = [...lease.keys].map((name) => this.#slots.get(name)!.key);
    if (keys.length > 0) this.#apply(keys.map((key) => ({ kind: "delete", key })));
  }

  #notify(): void {
    const { resolve } = this.#wake;
    this.#wake = Promise.withResolvers();
    resolve();
  }

  #checkNotCompacted(revision: number): void {
    if (revision <= this.#compacted) {
      throw new KvError("compacted", "mvcc: required revision has been compacted", {
        compactRevision: this.#compacted,
      });
    }
  }

  #checkRevision(revision: number | undefined): void {
    if (revision === undefined || revision <= 0) return;
    if (revision > this.#revision) throw new KvError("invalid", "mvcc: required revision is a future revision");
    if (revision < this.#compacted) this.#checkNotCompacted(revision);
  }

  #historyAt(revision: number): number {
    let low = 0;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#history[middle]!.revision < revision) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The position of `name` in the order, or where it would be inserted. */
  #position(name: string): number {
    let low = 0;
    let high = this.#order.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#order[middle]! < name) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  *#slotsIn(key: Uint8Array, end: Uint8Array | undefined): Iterable<Slot> {
    const from = binaryString(key);
    if (end === undefined) {
      const slot = this.#slots.get(from);
      if (slot !== undefined) yield slot;
      return;
    }
    // An end of one zero byte means "to the last key", as in etcd.
    const to = end.length === 1 && end[0] === 0 ? undefined : binaryString(end);
    for (let at = this.#position(from); at < this.#order.length; at++) {
      const name = this.#order[at]!;
      if (to !== undefined && name >= to) return;
      yield this.#slots.get(name)!;
    }
  }

  #range(request: RangeRequest): RangeResponse {
    this.#checkRevision(request.revision);
    const at = request.revision && request.revision > 0 ? request.revision : this.#revision;
    const limit = request.limit || Infinity;
    const kvs: KeyValue[] = [];
    let count = 0;
    for (const slot of this.#slotsIn(request.key, request.end)) {
      const kv = slot.versions.findLast((version) => version.revision <= at)?.kv;
      if (kv === undefined) continue;
      count++;
      if (request.countOnly || kvs.length >= limit) continue;
      kvs.push({ ...kv, value: request.keysOnly ? new Uint8Array() : kv.value });
    }
    return { revision: this.#revision, kvs, more: !request.countOnly && count > kvs.length, count };
  }

  #holds(compare: Compare): boolean {
    const kvs = this.#range({ key: compare.key, end: compare.end }).kvs;
    const revisions = kvs.map((kv) => compare.target === "mod" ? kv.modRevision : kv.createRevision);
    if (revisions.length === 0) revisions.push(0);
    return revisions.every((revision) => {
      switch (compare.result) {
        case "equal":
          return revision === compare.revision;
        case "less":
          return revision < compare.revision;
        case "greater":
          return revision > compare.revision;
        default:
          return compare.result satisfies never;
      }
    });
  }

  #apply(operations: readonly Operation[]): { revision: number; ranges: (RangeResponse | undefined)[] } {
    const revision = this.#revision + 1;
    const events: WatchEvent[] = [];
    const ranges = operations.map((operation) => {
      switch (operation.kind) {
        case "range":
          return this.#range(operation.request);
        case "put":
          events.push(this.#put(operation.key, operation.value, operation.lease, revision));
          break;
        case "delete":
          for (const slot of [...this.#slotsIn(operation.key, operation.end)]) {
            const event = this.#delete(slot, revision);
            if (event !== undefined) events.push(event);
          }
          break;
        default:
          operation satisfies never;
      }
      // Later operations of the same transaction see earlier ones, as in etcd.
      if (events.length > 0) this.#revision = revision;
      return undefined;
    });
    if (events.length > 0) {
      this.#history.push({ revision, events });
      this.#notify();
    }
    return { revision: this.#revision, ranges };
  }

  #put(key: Uint8Array, value: Uint8Array, lease: string | undefined, revision: number): WatchEvent {
    const name = binaryString(key);
    let slot = this.#slots.get(name);
    if (slot === undefined) {
      slot = { key: key.slice(), versions: [] };
      this.#slots.set(name, slot);
      this.#order.splice(this.#position(name), 0, name);
    }
    const last = slot.versions.at(-1);
    if (last?.lease !== undefined) this.#leases.get(last.lease)?.keys.delete(name);
    if (lease !== undefined) this.#leases.get(lease)!.keys.add(name);
    const kv: KeyValue = {
      key: slot.key,
      value: value.slice(),
      createRevision: last?.kv?.createRevision ?? revision,
      modRevision: revision,
      version: (last?.kv?.version ?? 0) + 1,
    };
    slot.versions.push({ revision, kv, lease });
    return { kind: "put", kv, before: last?.kv };
  }

  #delete(slot: Slot, revision: number): WatchEvent | undefined {
    const last = slot.versions.at(-1)!;
    if (last.kv === undefined) return undefined;
    if (last.lease !== undefined) this.#leases.get(last.lease)?.keys.delete(binaryString(slot.key));
    slot.versions.push({ revision, kv: undefined, lease: undefined });
    return { kind: "delete", key: slot.key, modRevision: revision, before: last.kv };
  }
}

/** Throws for requests that etcd rejects before it reads any key. */
function checkShape(request: TxnRequest): void {
  if (Math.max(request.compares.length, request.success.length, request.failure.length) > operationsMax) {
    throw new KvError("too_many_operations", "etcdserver: too many operations in txn request");
  }
  let bytes = request.compares.reduce((sum, compare) => sum + compare.key.length, 0);
  for (const branch of [request.success, request.failure]) {
    const puts = new Set<string>();
    for (const operation of branch) {
      if (operation.kind !== "put") continue;
      bytes += operation.key.length + operation.value.length;
      const name = binaryString(operation.key);
      if (puts.has(name)) throw new KvError("invalid", "etcdserver: duplicate key given in txn request");
      puts.add(name);
    }
    for (const operation of branch) {
      if (operation.kind !== "delete") continue;
      const from = binaryString(operation.key);
      const to = operation.end === undefined ? from + "\0" : binaryString(operation.end);
      for (const name of puts) {
        if (name >= from && name < to) {
          throw new KvError("invalid", "etcdserver: duplicate key given in txn request");
        }
      }
    }
  }
  if (bytes > requestBytesMax) throw new KvError("too_large", "etcdserver: request is too large");
}
