import type { Clock } from "../ports.ts";

export interface FreshToken {
  token: string;
  /** How long it is good for from now: a span, since the clock of the machine may be wrong. */
  lifeMs: number;
}

/** So long before its end a token is fetched anew; the clouds hand out the next one by then. */
const marginMs = 120_000;

/** One token, fetched when it is needed and again before it ends. */
export class CachedToken {
  readonly #clock: Clock;
  readonly #fetch: (signal: AbortSignal) => Promise<FreshToken>;
  #kept: { token: string; untilMs: number } | undefined;

  constructor(clock: Clock, fetch: (signal: AbortSignal) => Promise<FreshToken>) {
    this.#clock = clock;
    this.#fetch = fetch;
  }

  async get(signal: AbortSignal): Promise<string> {
    if (this.#kept !== undefined && this.#clock.monotonicMs() < this.#kept.untilMs) return this.#kept.token;
    const askedMs = this.#clock.monotonicMs();
    const { token, lifeMs } = await this.#fetch(signal);
    this.#kept = { token, untilMs: askedMs + lifeMs - marginMs };
    return token;
  }

  /** After a refusal: what is kept may have been withdrawn. */
  forget(): void {
    this.#kept = undefined;
  }
}
