/** Keeps what others can make this node say from flooding its log: one note about one thing a minute. */
const quietMs = 60_000;
/** Different things that are spoken of within one minute. */
const notesMax = 256;

export class NoteLimit {
  readonly #saidMs = new Map<string, number>();

  /** True when this may be said now. */
  admits(key: string, nowMs: number): boolean {
    const said = this.#saidMs.get(key);
    if (said !== undefined && nowMs - said < quietMs) return false;
    if (said === undefined && this.#saidMs.size >= notesMax) {
      for (const [old, saidMs] of this.#saidMs) if (nowMs - saidMs >= quietMs) this.#saidMs.delete(old);
      if (this.#saidMs.size >= notesMax) return false;
    }
    this.#saidMs.set(key, nowMs);
    return true;
  }
}
