/** A minute of probes without a suspicion. */
import { assertEquals } from "../support/assert.ts";

const minuteMs = 60_000;

/**
 * Waits for a minute in which `doubts` does not change. Peers that misread each other suspect each other in every minute;
 * a stalled machine causes suspicions only once. Therefore one of four minutes must be quiet, and the last one fails with
 * its suspicions.
 */
export async function quietMinute(doubts: () => unknown): Promise<void> {
  for (let left = 4;; left--) {
    const before = structuredClone(doubts());
    await new Promise((resolve) => setTimeout(resolve, minuteMs));
    try {
      return assertEquals(doubts(), before);
    } catch (error) {
      if (left === 1) throw error;
    }
  }
}
