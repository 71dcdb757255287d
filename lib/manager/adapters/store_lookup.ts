/**
 * Runs lookups in the snapshot store, one at a time, and aborts a lookup that makes no progress. An aborted lookup whose
 * store ignores its signal (a hanging network volume) blocks the next one until it ends: hanging reads would occupy all
 * threads of this process that read files.
 */
import { E2dError, isE2dError } from "../../errors.ts";
import type { Clock, Logger } from "../../ports.ts";
import type { SnapshotPlace } from "../../snapshot/lookup.ts";
import { Progress, watchedStore, watchProgress } from "../../snapshot/progress.ts";

/** A lookup reads lists and small files. Each chunk of a large copy counts as progress. */
const limits = { warnAfterMs: 30_000, giveUpAfterMs: 60_000 };

/** Forwards to the running lookup: caches are keyed by store, so all lookups share one store object. */
class RelayedProgress extends Progress {
  to: Progress | undefined;

  override made(bytes?: number): void {
    this.to?.made(bytes);
  }
}

export class StoreLookup<T> {
  readonly #place: SnapshotPlace;
  readonly #ports: { readonly clock: Clock; readonly log: Logger };
  readonly #progress: RelayedProgress;
  /** The running lookup, unless it was aborted. */
  #answer: Promise<T> | undefined;
  /** Start of the lookup that has not ended yet, aborted or not. */
  #begunAtMs: number | undefined;

  constructor(place: SnapshotPlace, ports: { readonly clock: Clock; readonly log: Logger }) {
    this.#ports = ports;
    this.#progress = new RelayedProgress(ports.clock);
    this.#place = { ...place, store: watchedStore(place.store, this.#progress) };
  }

  /** Runs `lookup`, or joins the running one. Throws what `lookup` throws, and E2dError `snapshot_stalled`. */
  run(lookup: (place: SnapshotPlace, signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    return this.#answer ??= this.#watch(lookup, signal).finally(() => this.#answer = undefined);
  }

  async #watch(lookup: (place: SnapshotPlace, signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T> {
    const { clock, log } = this.#ports;
    const { name } = this.#place.store;
    if (this.#begunAtMs !== undefined) throw hangs(name, clock.monotonicMs() - this.#begunAtMs);
    try {
      return await watchProgress((progress, inner) => this.#begin(lookup, progress, inner), {
        ...limits,
        action: `look up snapshots in ${name}`,
        clock,
        log,
        signal,
      });
    } catch (error) {
      if (!isE2dError(error, "snapshot_stalled")) throw error;
      throw new E2dError(error.code, error.message, { hint });
    }
  }

  async #begin(
    lookup: (place: SnapshotPlace, signal: AbortSignal) => Promise<T>,
    progress: Progress,
    signal: AbortSignal,
  ): Promise<T> {
    this.#begunAtMs = this.#ports.clock.monotonicMs();
    this.#progress.to = progress;
    try {
      return await lookup(this.#place, signal);
    } finally {
      this.#begunAtMs = undefined;
    }
  }
}

const hint =
  "check the store and the network, or the volume; this node retries automatically; e2d snapshot list tries now";

const hangs = (name: string, forMs: number) =>
  new E2dError(
    "snapshot_stalled",
    `Cannot look up snapshots in ${name}: a lookup that began ${
      Math.round(forMs / 1_000)
    } s ago was aborted and has not ended`,
    { hint: "check the store, or the volume that it is on; this node retries once that lookup ends" },
  );
