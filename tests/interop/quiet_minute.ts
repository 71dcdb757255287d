/** A minute of probes, in which nobody is to be doubted. */
import { assertEquals } from "../support/assert.ts";

const minuteMs = 60_000;

/**
 * Waits for a minute at whose end `doubts` is what it was at its beginning. Peers that misread each other doubt each other
 * in every minute; a machine that stands still for a second makes them do so in one. So there are four to choose from,
 * and the last one fails with what was doubted in it.
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
