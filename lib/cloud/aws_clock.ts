/**
 * The time that requests are signed with. Services refuse signatures of another time than theirs; a wrong clock on this
 * machine is no reason to be without peers or snapshots, so their time is taken over from what they answer.
 */
import type { Clock } from "../ports.ts";

export class AwsClock {
  readonly #clock: Pick<Clock, "wallMs">;
  readonly #minMs: number;
  readonly #maxMs: number;
  /** What is added to the own clock to get the service's. */
  #skewMs = 0;

  /** `minMs`: less apart than this, the clock is not why a request is refused. Further apart than `maxMs` is no time. */
  constructor(clock: Pick<Clock, "wallMs">, { minMs, maxMs = Infinity }: { minMs: number; maxMs?: number }) {
    this.#clock = clock;
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  /** `20261127T051334Z` */
  signingTime(): string {
    return new Date(this.#clock.wallMs() + this.#skewMs).toISOString().replace(/[:-]|\.\d{3}/g, "");
  }

  /**
   * Takes over the time of an answer, from its header `date`. By how many milliseconds this machine is behind; undefined
   * when its time is right, or was taken over before, so that nothing is changed.
   */
  takeOver(date: string | null): number | undefined {
    const skewMs = Date.parse(date ?? "") - this.#clock.wallMs();
    if (!(Math.abs(skewMs - this.#skewMs) >= this.#minMs && Math.abs(skewMs) <= this.#maxMs)) return undefined;
    return this.#skewMs = skewMs;
  }
}
