import { isE2dError } from "../errors.ts";
import type { Clock, Random } from "../ports.ts";
import { ThrottledError } from "./throttled_error.ts";

const triesMax = 4;
const pauseMinMs = 500;
const pauseMaxMs = 8_000;
/** Codes of transient failures. A timeout is not one: it has already taken its time. */
const transientCodes = ["cloud_throttled", "cloud_failed", "cloud_unreachable", "cloud_answer"];

/**
 * Tries again after a transient failure, at most four times in all. The pauses are up to 0.5, 1 and 2 seconds, each
 * random within its upper half, or the Retry-After of a throttling cloud up to eight seconds. Throws the last failure.
 */
export async function withRetries<T>(
  { clock, random, signal }: { clock: Clock; random: Random; signal: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  for (let tries = 1;; tries++) {
    try {
      return await work();
    } catch (error) {
      const isTransient = transientCodes.some((code) => isE2dError(error, code));
      const requestedMs = error instanceof ThrottledError ? error.retryAfterMs ?? 0 : 0;
      if (!isTransient || tries === triesMax || requestedMs > pauseMaxMs) throw error;
      const pauseMs = pauseMinMs * 2 ** (tries - 1) * (0.5 + random.float() / 2);
      await clock.sleep(Math.max(requestedMs, pauseMs), signal);
    }
  }
}
