import type { Clock } from "../ports.ts";

export interface FreshToken {
  token: string;
  /** Validity from now in milliseconds: a duration, because the clock of this machine may be wrong. */
  lifetimeMs: number;
}

/** A token is replaced this long before it expires; the clouds issue the next one by then. */
const marginMs = 120_000;

/** One token, fetched when it is first needed and again before it expires. */
export class CachedToken {
  readonly #clock: Clock;
  readonly #fetch: (signal: AbortSignal) => Promise<FreshToken>;
  #cached: { token: string; untilMs: number } | undefined;

  constructor(clock: Clock, fetch: (signal: AbortSignal) => Promise<FreshToken>) {
    this.#clock = clock;
    this.#fetch = fetch;
  }

  async get(signal: AbortSignal): Promise<string> {
    if (this.#cached !== undefined && this.#clock.monotonicMs() < this.#cached.untilMs) return this.#cached.token;
    const requestedAtMs = this.#clock.monotonicMs();
    const { token, lifetimeMs: lifeMs } = await this.#fetch(signal);
    this.#cached = { token, untilMs: requestedAtMs + lifeMs - marginMs };
    return token;
  }

  /** Drops the token after a refusal: it may have been revoked. */
  invalidate(): void {
    this.#cached = undefined;
  }
}
