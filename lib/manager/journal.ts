import type { JournalEntry } from "../core/effect.ts";

/** A line of the diary and when it was written first and last. */
export interface JournalLine {
  readonly entry: JournalEntry;
  readonly atWallMs: number;
  lastAtWallMs: number;
  /** How often it came in a row. */
  times: number;
}

const linesMax = 500;

/** The last decisions of this process, for `e2d why` and the status page. The same line in a row is one line. */
export class Journal {
  readonly #lines: JournalLine[] = [];

  /** True when the line before said the same. */
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
  lines(): readonly Readonly<JournalLine>[] {
    return this.#lines;
  }
}

function sameText(a: JournalEntry, b: JournalEntry): boolean {
  return a.what === b.what && a.outcome === b.outcome && a.phase === b.phase && a.reason.code === b.reason.code &&
    a.reason.text === b.reason.text;
}
