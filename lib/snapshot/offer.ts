/**
 * How long a survivor offers its data to the other initial members. The offer is an unencrypted copy of the database: it
 * ends once no member needs it, and never before that is certain.
 */
import type { Clock } from "../ports.ts";

const everyMs = 5_000;
/** Longer than it takes lib/core to see the same, and to give up a plan for it. */
export const servedMs = 60_000;

/**
 * Resolves when the own etcd has served each read for a minute; rejects with the signal's reason. Then either the new
 * cluster serves, and every initial member had verified and pledged its own copy before the first of them started; or the lost
 * majority is back, and no cluster is bootstrapped at all.
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
