import type { Clock } from "../ports.ts";

/**
 * Runs `work` with a signal that aborts after `ms` milliseconds with the error of `timeoutError`, and rejects then even when
 * `work` ignores the signal. The reason of the outer signal takes precedence.
 */
export async function withDeadline<T>(
  { ms, clock, signal, timeoutError }: {
    ms: number;
    clock: Clock;
    signal: AbortSignal;
    timeoutError: () => Error;
  },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const timer = new AbortController();
  const stop = new AbortController();
  const limited = AbortSignal.any([signal, stop.signal]);
  const aborted = Promise.withResolvers<never>();
  const onAbort = () => aborted.reject(limited.reason);
  limited.addEventListener("abort", onAbort, { once: true });
  clock.sleep(ms, timer.signal).then(() => stop.abort(timeoutError()), () => {});
  try {
    return await Promise.race([work(limited), aborted.promise]);
  } catch (error) {
    // The reason of the abort is more useful than the error that the aborted work throws.
    limited.throwIfAborted();
    throw error;
  } finally {
    limited.removeEventListener("abort", onAbort);
    timer.abort();
  }
}
