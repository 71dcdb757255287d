/**
 * Actions without a total deadline, aborted after a time without progress. Owns the watch over one such action: what it
 * logs, and when it aborts, even if the action ignores its signal.
 */
import { E2dError } from "../errors.ts";
import type { Clock, Logger } from "../ports.ts";
import type { Store } from "../storage/store.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface ProgressLimits {
  /** Logs a warning after this time without progress, once per stall. */
  readonly warnAfterMs: number;
  /** Aborts after this time without progress. */
  readonly giveUpAfterMs: number;
}

export interface WatchOptions extends ProgressLimits {
  /** "copy the database", for messages. */
  readonly action: string;
  readonly clock: Clock;
  readonly log: Pick<Logger, "warn">;
  readonly signal?: AbortSignal | undefined;
}

export class Progress {
  #bytes = 0;
  #atMs: number;

  constructor(readonly clock: Clock) {
    this.#atMs = clock.monotonicMs();
  }

  get bytes(): number {
    return this.#bytes;
  }

  get atMs(): number {
    return this.#atMs;
  }

  /** Records progress of so many bytes. */
  made(bytes = 0): void {
    this.#bytes += bytes;
    this.#atMs = this.clock.monotonicMs();
  }
}

/**
 * Resolves or rejects as `work` does; rejects with E2dError `snapshot_stalled` after `giveUpAfterMs` without progress, or
 * with the signal's reason. In both cases the signal that `work` was given is aborted.
 */
export async function watchProgress<T>(
  work: (progress: Progress, signal: AbortSignal) => Promise<T>,
  options: WatchOptions,
): Promise<T> {
  const { clock, signal } = options;
  const progress = new Progress(clock);
  const stop = new AbortController();
  const over = new AbortController();
  const inner = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  inner.throwIfAborted();
  const aborted = new Promise<never>((_, reject) => {
    inner.addEventListener("abort", () => reject(inner.reason), { once: true, signal: over.signal });
  });
  aborted.catch(() => {});
  const working = work(progress, inner);
  working.catch(() => {});
  void untilStalled(progress, options, over.signal).then((error) => stop.abort(error), () => {});
  try {
    return await Promise.race([working, aborted]);
  } finally {
    over.abort();
  }
}

/** Resolves with the error after a time without progress. Rejects when `over` is aborted: the work has ended. */
async function untilStalled(progress: Progress, options: WatchOptions, over: AbortSignal): Promise<E2dError> {
  const { clock, log, action, warnAfterMs, giveUpAfterMs } = options;
  let warnedAtMs: number | undefined;
  for (;;) {
    const silentMs = clock.monotonicMs() - progress.atMs;
    const fields = { reason: "snapshot_stalled", bytesDone: progress.bytes, silentMs: Math.round(silentMs) };
    if (silentMs >= giveUpAfterMs) {
      return new E2dError(
        "snapshot_stalled",
        `Cannot ${action}: no progress for ${Math.round(silentMs / 1_000)} s, after ${progress.bytes} bytes`,
        { hint: "check the snapshot store and the network; the next attempt follows after --snapshot-interval" },
      );
    }
    if (silentMs >= warnAfterMs && warnedAtMs !== progress.atMs) {
      warnedAtMs = progress.atMs;
      log.warn(`no progress: ${action}`, fields);
    }
    const untilMs = warnedAtMs === progress.atMs ? giveUpAfterMs : warnAfterMs;
    await clock.sleep(Math.max(1, untilMs - silentMs), over);
  }
}

/** The same store. Each answer and each chunk counts as progress. */
export function watchedStore(store: Store, progress: Progress): Store {
  const counted = async <T>(operation: Promise<T>): Promise<T> => {
    const value = await operation;
    progress.made();
    return value;
  };
  return {
    name: store.name,
    info: (key, signal) => counted(store.info(key, signal)),
    list: (prefix, signal) => counted(store.list(prefix, signal)),
    remove: (key, signal) => counted(store.remove(key, signal)),
    ...(store.copy === undefined ? {} : {
      copy: (from, to, signal) => counted(store.copy!(from, to, signal)),
    }),
    ...(store.removeCutWrites === undefined ? {} : {
      removeCutWrites: (prefix, beforeMs, signal) => counted(store.removeCutWrites!(prefix, beforeMs, signal)),
    }),
    async read(key, signal) {
      const object = await counted(store.read(key, signal));
      return object && { ...object, stream: observeProgress(object.stream, progress, signal) };
    },
    write: (key, content, options) => {
      let before = 0;
      return counted(store.write(key, observeProgress(content, progress, options?.signal), {
        ...options,
        onProgress(writtenBytes) {
          if (writtenBytes > before) progress.made();
          before = writtenBytes;
          options?.onProgress?.(writtenBytes);
        },
      }));
    },
  };
}

/**
 * Counts a chunk when its reader asks for the next one: a chunk that waits in a queue is no progress. Errors with the
 * signal's reason, so that no transfer continues after the attempt was aborted.
 */
export function observeProgress(
  stream: ReadableStream<Bytes>,
  progress: Progress,
  signal?: AbortSignal,
): ReadableStream<Bytes> {
  const reader = stream.getReader();
  let taken = 0;
  // A promise of its own for each read: a race keeps its result as long as the promise that lost it.
  let abortRead = (_reason: unknown) => {};
  const onAbort = () => {
    abortRead(signal?.reason);
    reader.cancel(signal?.reason).catch(() => {});
  };
  if (signal?.aborted) onAbort();
  else signal?.addEventListener("abort", onAbort, { once: true });
  return new ReadableStream({
    async pull(controller) {
      if (taken > 0) progress.made(taken);
      signal?.throwIfAborted();
      const aborted = Promise.withResolvers<never>();
      abortRead = aborted.reject;
      const { done, value } = await Promise.race([reader.read(), aborted.promise]);
      signal?.throwIfAborted();
      taken = value?.length ?? 0;
      if (!done) return controller.enqueue(value);
      signal?.removeEventListener("abort", onAbort);
      controller.close();
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
}
