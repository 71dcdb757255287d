/**
 * How long a survivor's data is offered to the other founders. It is a plain copy of the database: it goes when nobody
 * needs it any more, and never before that is certain.
 */
import type { Clock } from "../ports.ts";

const everyMs = 5_000;
/** Longer than it takes lib/core to see the same, and to give up a founding for it. */
export const servedMs = 60_000;

/**
 * Resolves when the own etcd has served each read for a minute; rejects with the signal's reason. Then either the new
 * cluster serves, and every founder had proven and pledged its own copy before the first of them started; or the lost
 * majority is back, and nothing is founded at all.
 */
export async function untilServed(
  /** True when the own etcd has answered with a majority behind it. Never rejects. */
  serves: () => Promise<boolean>,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  let sinceMs: number | undefined;
  for (;;) {
    if (!await serves()) sinceMs = undefined;
    else if (clock.monotonicMs() - (sinceMs ??= clock.monotonicMs()) >= servedMs) return;
    await clock.sleep(everyMs, signal);
  }
}
