/** How long a suspect has to defend itself: the more members suspect it independently, the shorter. */
import type { SwimConfig } from "./swim_config.ts";

export interface SuspicionTimes {
  minMs: number;
  maxMs: number;
  /** Confirmations by others that bring the time down to the minimum. */
  expected: number;
}

/** Lifeguard's bounds for a cluster of `members` known ones, this node and the suspect among them. */
export function suspicionTimes(config: SwimConfig, members: number): SuspicionTimes {
  // Go cuts the logarithm to three decimals.
  const scale = Math.floor(Math.max(1, Math.log10(Math.max(1, members))) * 1000) / 1000;
  const minMs = config.suspicionMult * scale * config.probeIntervalMs;
  const wanted = config.suspicionMult - 2;
  // With too few others there is nobody to wait for.
  const expected = members - 2 < wanted ? 0 : wanted;
  return { minMs, maxMs: minMs * config.suspicionMaxTimeoutMult, expected };
}

/** The whole time of a suspicion with `confirmations` independent ones beside the first accuser. */
export function suspicionTotalMs({ minMs, maxMs, expected }: SuspicionTimes, confirmations: number): number {
  if (expected < 1) return minMs;
  const share = Math.log(confirmations + 1) / Math.log(expected + 1);
  return Math.max(minMs, Math.floor(maxMs - (maxMs - minMs) * share));
}

/** One suspicion under way. */
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

  /** True when this is a further independent accuser and still counts. */
  confirm(accuser: string): boolean {
    if (this.#accusers.size - 1 >= this.#times.expected || this.#accusers.has(accuser)) return false;
    this.#accusers.add(accuser);
    return true;
  }

  /** Time in which this process did not run is nobody's fault: the end comes `byMs` later, at `notBeforeMs` at least. */
  postpone(byMs: number, notBeforeMs: number): void {
    this.#startedMs += byMs;
    this.#startedMs += Math.max(0, notBeforeMs - this.endsMs);
  }
}
