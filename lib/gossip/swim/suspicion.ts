/** The time that a suspect has to refute a suspicion: each independent confirmation shortens it (Lifeguard). */
import type { SwimConfig } from "./config.ts";

export interface SuspicionTimes {
  minMs: number;
  maxMs: number;
  /** Number of confirmations that shorten the time to the minimum. */
  expected: number;
}

/** Lifeguard's bounds for `members` known members, including this node and the suspect. */
export function suspicionTimes(config: SwimConfig, members: number): SuspicionTimes {
  // Go truncates the logarithm to three decimals.
  const scale = Math.floor(Math.max(1, Math.log10(Math.max(1, members))) * 1000) / 1000;
  const minMs = config.suspicionMult * scale * config.probeIntervalMs;
  const wanted = config.suspicionMult - 2;
  // With too few other members no confirmation can arrive.
  const expected = members - 2 < wanted ? 0 : wanted;
  return { minMs, maxMs: minMs * config.suspicionMaxTimeoutMult, expected };
}

/** The total time of a suspicion with `confirmations` independent confirmations after the first accuser. */
export function suspicionTotalMs({ minMs, maxMs, expected }: SuspicionTimes, confirmations: number): number {
  if (expected < 1) return minMs;
  const share = Math.log(confirmations + 1) / Math.log(expected + 1);
  return Math.max(minMs, Math.floor(maxMs - (maxMs - minMs) * share));
}

/** One suspicion in progress. */
export class Suspicion {
  readonly #times: SuspicionTimes;
  readonly #accusers: Set<string>;
  #startedMs: number;

  constructor(times: SuspicionTimes, accuser: string, startedMs: number) {
    this.#times = times;
    this.#accusers = new Set([accuser]);
    this.#startedMs = startedMs;
  }

  get endsMs(): number {
    return this.#startedMs + suspicionTotalMs(this.#times, this.#accusers.size - 1);
  }

  /** Adds an accuser; true when it is a new one and shortens the time. */
  confirm(accuser: string): boolean {
    if (this.#accusers.size - 1 >= this.#times.expected || this.#accusers.has(accuser)) return false;
    this.#accusers.add(accuser);
    return true;
  }

  /** Extends the suspicion by `byMs`, in which this process did not run, and at least to `notBeforeMs`. */
  postpone(byMs: number, notBeforeMs: number): void {
    this.#startedMs += byMs;
    this.#startedMs += Math.max(0, notBeforeMs - this.endsMs);
  }
}
