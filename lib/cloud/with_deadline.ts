import type { Clock } from "../ports.ts";

/**
 * Runs `work` with a signal that aborts after `ms` with what `late` makes, and rejects then even when `work` does not
 * listen. The outer signal's reason wins.
 */
export async function withDeadline<T>(
  { ms, clock, signal, late }: { ms: number; clock: Clock; signal: AbortSignal; late: () => Error },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const timer = new AbortController();
  const stop = new AbortController();
  const limited = AbortSignal.any([signal, stop.signal]);
  const given = Promise.withResolvers<never>();
  const giveUp = () => given.reject(limited.reason);
  limited.addEventListener("abort", giveUp, { once: true });
  clock.sleep(ms, timer.signal).then(() => stop.abort(late()), () => {});
  try {
    return await Promise.race([work(limited), given.promise]);
  } catch (error) {
    // What is thrown by work that was stopped says less than why it was stopped.
    limited.throwIfAborted();
    throw error;
  } finally {
    limited.removeEventListener("abort", giveUp);
    timer.abort();
  }
}
