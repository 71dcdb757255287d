/**
 * Locks with fencing. A lock is a key under a lease, in a queue: the key with the lowest creation revision holds the lock.
 * That revision is the fencing token, larger for each later holder, and a write that names the lock is applied only if
 * the same key still exists. A holder that was suspended for too long therefore cannot write.
 */
import { prefixEnd, utf8 } from "../schema/bytes.ts";
import { LockLostError, LockTimeoutError } from "../errors.ts";
import { type KeyValue, KvError } from "./kv.ts";
import { checkName } from "../schema/schema.ts";
import { type Store, toE2dbError } from "./store.ts";
import type { Fence } from "../transaction.ts";

export interface LockOptions {
  /** The lock expires this long after its holder has failed. etcd counts whole seconds, at least 2. Default 10,000. */
  ttlMs?: number;
  /** How long to wait for another holder; 0: one attempt. Default: until the signal is aborted. */
  waitMs?: number;
  signal?: AbortSignal;
}

export class Lock implements Fence, AsyncDisposable {
  readonly name: string;
  readonly key: Uint8Array;
  /** Larger for each later holder. Pass it to other systems that can compare it. */
  readonly token: number;
  /** Aborted with a LockLostError when the lock is or may be lost: the holder must stop its work. */
  readonly lost: AbortSignal;
  readonly #lease: KeptLease;

  constructor(name: string, key: Uint8Array, token: number, lease: KeptLease) {
    this.name = name;
    this.key = key;
    this.token = token;
    this.lost = lease.lost;
    this.#lease = lease;
  }

  /** Releases the lock to the next in the queue. Idempotent, also after a loss. */
  release(): Promise<void> {
    return this.#lease.end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

/** Throws LockTimeoutError, the signal's reason, or UnavailableError, and leaves no key behind then. */
export async function acquireLock(
  store: Store,
  namespace: string,
  name: string,
  { ttlMs = 10_000, waitMs, signal }: LockOptions,
): Promise<Lock> {
  checkName("lock", name);
  signal?.throwIfAborted();
  const lease = await KeptLease.grant(store, name, ttlMs);
  try {
    const prefix = utf8(`${namespace}!l/${name}/`);
    const key = utf8(`${namespace}!l/${name}/${lease.id}`);
    // Idempotent: the key contains this lease's id, so only this client creates it.
    const token = await store.withRetry(async () => {
      const response = await store.kv.txn({
        compares: [{ key, target: "create", result: "equal", revision: 0 }],
        success: [{ kind: "put", key, value: new Uint8Array(), lease: lease.id }],
        failure: [{ kind: "range", request: { key } }],
      });
      return response.succeeded ? response.revision : response.ranges[0]!.kvs[0]!.createRevision;
    });
    await waitForTurn(store, { name, prefix, token, waitMs, signal: signal ?? new AbortController().signal, lease });
    return new Lock(name, key, token, lease);
  } catch (error) {
    await lease.end();
    throw toE2dbError(error, {});
  }
}

interface Turn {
  name: string;
  prefix: Uint8Array;
  token: number;
  waitMs: number | undefined;
  signal: AbortSignal;
  lease: KeptLease;
}

async function waitForTurn(store: Store, { name, prefix, token, waitMs, signal, lease }: Turn): Promise<void> {
  const timeUp = new AbortController();
  const done = new AbortController();
  if (waitMs !== undefined && waitMs > 0) {
    store.platform.sleep(waitMs, done.signal).then(() => timeUp.abort(), () => {});
  }
  const ended = AbortSignal.any([signal, timeUp.signal, lease.lost]);
  try {
    while (true) {
      const { kvs, revision } = await store.range({ key: prefix, end: prefixEnd(prefix)!, keysOnly: true });
      const ahead = kvs.filter((kv) => kv.createRevision < token);
      if (ahead.length === 0) return;
      const last = ahead.reduce((a, b) => a.createRevision > b.createRevision ? a : b);
      if (waitMs !== 0) await waitForDeletion(store, last, revision, ended);
      signal.throwIfAborted();
      lease.lost.throwIfAborted();
      if (waitMs === 0 || timeUp.signal.aborted) {
        throw new LockTimeoutError(`Cannot take lock "${name}" within ${waitMs} ms: another holder has it`, {
          hint: "wait longer, or find out why the holder does not release it",
        });
      }
    }
  } finally {
    done.abort();
  }
}

/** Each waits for its predecessor only, so a release wakes one waiter. */
async function waitForDeletion(store: Store, kv: KeyValue, revision: number, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  try {
    const end = new Uint8Array([...kv.key, 0]);
    for await (const { events } of store.kv.watch({ key: kv.key, end, fromRevision: revision + 1, signal: either })) {
      if (events.some((event) => event.kind === "delete")) return;
    }
  } catch (error) {
    // After any failure of the watch, the caller reads the queue again.
    if (!(error instanceof KvError)) throw error;
    await store.platform.sleep(100, signal).catch(() => {});
  } finally {
    stop.abort();
  }
}

/** A lease that is renewed until it is revoked or lost. */
class KeptLease {
  readonly id: string;
  readonly #store: Store;
  readonly #lost = new AbortController();
  readonly #stop = new AbortController();
  #ended: Promise<void> | undefined;

  private constructor(store: Store, id: string) {
    this.#store = store;
    this.id = id;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  static async grant(store: Store, name: string, ttlMs: number): Promise<KeptLease> {
    if (!(ttlMs >= 1_000)) throw new RangeError(`Cannot take lock "${name}" for ${ttlMs} ms: at least 1,000`);
    const startMs = store.platform.nowMs();
    const { id, ttlSeconds } = await store.withRetry(() => store.kv.grantLease(Math.ceil(ttlMs / 1000)));
    const lease = new KeptLease(store, id);
    lease.#keep(name, ttlSeconds * 1000, startMs).catch(() => {});
    return lease;
  }

  end(): Promise<void> {
    this.#stop.abort();
    // A lease that cannot be revoked now expires.
    return this.#ended ??= this.#store.kv.revokeLease(this.id).catch(() => {});
  }

  /**
   * Renews three times per TTL. The TTL is counted from before the request, not from the answer, because etcd may have
   * started it at any time in between.
   */
  async #keep(name: string, ttlMs: number, startMs: number): Promise<void> {
    const { platform, kv } = this.#store;
    let goodUntilMs = startMs + ttlMs;
    while (!this.#stop.signal.aborted) {
      await platform.sleep(Math.max(Math.min(ttlMs / 3, goodUntilMs - platform.nowMs()), 0), this.#stop.signal);
      const askedMs = platform.nowMs();
      if (askedMs >= goodUntilMs) return this.#lose(name, "its lease could not be renewed in time", undefined);
      const late = new AbortController();
      try {
        const answer = await Promise.race([
          kv.keepLease(this.id),
          platform.sleep(goodUntilMs - askedMs, late.signal).then(() => undefined),
        ]);
        if (answer === undefined) return this.#lose(name, "its lease could not be renewed in time", undefined);
        goodUntilMs = askedMs + answer * 1000;
      } catch (error) {
        if (error instanceof KvError && (error.kind === "no_lease" || error.kind === "closed")) {
          return this.#lose(name, "its lease has ended", error);
        }
        await platform.sleep(Math.min(200, Math.max(goodUntilMs - platform.nowMs(), 0)), this.#stop.signal);
      } finally {
        late.abort();
      }
    }
  }

  #lose(name: string, why: string, cause: unknown): void {
    if (this.#stop.signal.aborted) return;
    this.#lost.abort(new LockLostError(`Lock "${name}" is lost: ${why}`, { cause }));
    void this.end();
  }
}
