/**
 * A node's doubt in itself (Lifeguard): a score that grows with failed rounds and accusations and shrinks with good ones.
 * The more doubt, the longer it waits before it accuses others.
 */
export class Awareness {
  readonly #max: number;
  #score = 0;

  constructor(max: number) {
    this.#max = max;
  }

  /** 0 is good health. */
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
