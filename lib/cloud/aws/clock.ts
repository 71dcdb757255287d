/**
 * The time for signing requests. AWS refuses signatures with a wrong time. A wrong clock on this machine must not stop
 * discovery or snapshots, so the time is taken from the service's responses.
 */
import type { Clock } from "../../ports.ts";

export class AwsClock {
  readonly #clock: Pick<Clock, "wallMs">;
  readonly #minMs: number;
  readonly #maxMs: number;
  /** The service's clock minus this machine's. */
  #skewMs = 0;

  /** A difference below `minMs` is not the cause of a refusal; one above `maxMs` is an invalid time and is ignored. */
  constructor(clock: Pick<Clock, "wallMs">, { minMs, maxMs = Infinity }: { minMs: number; maxMs?: number }) {
    this.#clock = clock;
    this.#minMs = minMs;
    this.#maxMs = maxMs;
  }

  /** Milliseconds since the Unix epoch by the service's clock. */
  nowMs(): number {
    return this.#clock.wallMs() + this.#skewMs;
  }

  /** `20261127T051334Z` */
  signingTime(): string {
    return new Date(this.nowMs()).toISOString().replace(/[:-]|\.\d{3}/g, "");
  }

  /**
   * Adopts the time of a response, from its header `date`. Returns the milliseconds by which this machine's clock is
   * behind; undefined when nothing changes, because the clock is right or the time was adopted before.
   */
  adopt(date: string | null): number | undefined {
    const skewMs = Date.parse(date ?? "") - this.#clock.wallMs();
    if (!(Math.abs(skewMs - this.#skewMs) >= this.#minMs && Math.abs(skewMs) <= this.#maxMs)) return undefined;
    return this.#skewMs = skewMs;
  }
}
