/** Limits log lines that other nodes can cause: one line per key and minute, and a bounded number of keys. */
const intervalMs = 60_000;
/** Keys that are logged within one interval. */
const keysMax = 256;

export class LogLimit {
  readonly #lastLoggedMs = new Map<string, number>();

  /** True when a line with this key may be logged now; counts as logged. */
  allows(key: string, nowMs: number): boolean {
    const lastMs = this.#lastLoggedMs.get(key);
    if (lastMs !== undefined && nowMs - lastMs < intervalMs) return false;
    if (lastMs === undefined && this.#lastLoggedMs.size >= keysMax) {
      for (const [old, loggedMs] of this.#lastLoggedMs) {
        if (nowMs - loggedMs >= intervalMs) this.#lastLoggedMs.delete(old);
      }
      if (this.#lastLoggedMs.size >= keysMax) return false;
    }
    this.#lastLoggedMs.set(key, nowMs);
    return true;
  }
}
