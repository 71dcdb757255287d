/**
 * Lifeguard's local health score: it grows with failed probe rounds and with suspicions of this node, and shrinks with
 * successful rounds. The higher the score, the longer this node waits before it suspects others.
 */
export class Awareness {
  readonly #max: number;
  #score = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** 0 is healthy; the maximum is one below the constructor's `max`. */
  get score(): number {
    return this.#score;
  }

  change(by: number): void {
    this.#score = Math.min(this.#max - 1, Math.max(0, this.#score + by));
  }

  scaleMs(timeMs: number): number {
    return timeMs * (this.#score + 1);
  }
}
