import { isE2dError } from "../errors.ts";
import type { Clock, Random } from "../ports.ts";
import { ThrottledError } from "./throttled_error.ts";

const triesMax = 4;
const pauseMinMs = 500;
const pauseMaxMs = 8_000;
/** Failures that another try may well not meet again. A timeout is none of them: it has taken its time already. */
const passing = ["cloud_throttled", "cloud_failed", "cloud_unreachable", "cloud_answer"];

/**
 * Tries again after a passing failure, up to four times in all: pauses of up to half a second, one, then two seconds, each
 * spread over its upper half, or as long as a throttling cloud asks for up to eight. Throws the last failure.
 */
export async function withRetries<T>(
  { clock, random, signal }: { clock: Clock; random: Random; signal: AbortSignal },
  work: () => Promise<T>,
): Promise<T> {
  for (let tries = 1;; tries++) {
    try {
      return await work();
    } catch (error) {
      const again = passing.some((code) => isE2dError(error, code));
      const asked = error instanceof ThrottledError ? error.retryAfterMs ?? 0 : 0;
      if (!again || tries === triesMax || asked > pauseMaxMs) throw error;
      const pauseMs = pauseMinMs * 2 ** (tries - 1) * (0.5 + random.float() / 2);
      await clock.sleep(Math.max(asked, pauseMs), signal);
    }
  }
}
