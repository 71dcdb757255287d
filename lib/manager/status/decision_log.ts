/** The log of decisions in memory, for `e2d why` and the status page. */
import type { JournalEntry } from "../../core/facts/effect.ts";

/** An entry, and when it was first and last recorded. */
export interface LoggedDecision {
  readonly entry: JournalEntry;
  readonly atWallMs: number;
  lastAtWallMs: number;
  /** Number of consecutive occurrences. */
  times: number;
}

const linesMax = 500;

/** The last 500 entries of this process. Equal consecutive entries count as one. */
export class DecisionLog {
  readonly #lines: LoggedDecision[] = [];

  /** Returns true when the entry repeats the previous one, level included. */
  add(entry: JournalEntry, atWallMs: number): boolean {
    const last = this.#lines.at(-1);
    if (last !== undefined && sameText(last.entry, entry)) {
      last.lastAtWallMs = atWallMs;
      last.times++;
      return true;
    }
    this.#lines.push({ entry, atWallMs, lastAtWallMs: atWallMs, times: 1 });
    if (this.#lines.length > linesMax) this.#lines.shift();
    return false;
  }

  /** Oldest first. */
  lines(): readonly Readonly<LoggedDecision>[] {
    return this.#lines;
  }
}

function sameText(a: JournalEntry, b: JournalEntry): boolean {
  return a.level === b.level && a.what === b.what && a.outcome === b.outcome && a.phase === b.phase &&
    a.reason.code === b.reason.code &&
    a.reason.text === b.reason.text;
}
