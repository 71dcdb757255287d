/**
 * Detects names that two live addresses claim. A record with a new address for a known name may be an old record of a
 * node that has moved, or the first record of its new address. So both addresses get a ping for that name over a stream,
 * which only a live node of that name answers. Owns the claims and their deadlines; decides nothing about members. Pure.
 */
import { sameEndpoint } from "../address.ts";
import type { Endpoint } from "./types.ts";

/** A name and the two addresses at which a live node of that name has answered. */
export interface NameConflict {
  readonly name: string;
  /** The address in this node's list of members (this node's own for its own name), and the other address. */
  readonly holder: Endpoint;
  readonly claimer: Endpoint;
}

/** Claims checked at a time: more indicate a mistake of the whole cluster or an attack, which a few show as well. */
const claimsMax = 16;
const pingIntervalMs = 2_000;
export const claimPingTimeoutMs = 2_000;
/** An address that has not answered for this long does not count as live. */
const silenceTimeoutMs = 10_000;

/** One of the two addresses. */
interface Claimant {
  /** Sequence numbers of the last pings: an answer may arrive after the next ping. */
  sequences: number[];
  answeredMs: number;
}

interface Claim {
  readonly name: string;
  readonly claimer: Endpoint;
  sinceMs: number;
  nextMs: number;
  readonly claimants: { readonly claimer: Claimant; readonly holder: Claimant };
  /** Both addresses answered at the last evaluation. */
  live: boolean;
}

/** A ping that is due. */
export interface ClaimPing {
  readonly name: string;
  readonly to: Endpoint;
  readonly sequence: number;
}

export interface NameClaimsContext {
  readonly self: string;
  /** The address of the live member with that name, this node included; undefined: there is none. */
  readonly holder: (name: string) => Endpoint | undefined;
  readonly nextSequence: () => number;
}

export class NameClaims {
  readonly #claims = new Map<string, Claim>();
  readonly #context: NameClaimsContext;

  constructor(context: NameClaimsContext) {
    this.#context = context;
  }

  /** Adds a claim: a record arrived with a known name and another address. */
  add(name: string, claimer: Endpoint, nowMs: number): void {
    const key = keyOf(name, claimer);
    if (this.#claims.has(key) || this.#claims.size >= claimsMax) return;
    const side = (): Claimant => ({ sequences: [], answeredMs: -Infinity });
    const sides = { claimer: side(), holder: side() };
    this.#claims.set(key, { name, claimer, sinceMs: nowMs, nextMs: nowMs, claimants: sides, live: false });
  }

  wakeAtMs(): number {
    let wake = Infinity;
    for (const { nextMs } of this.#claims.values()) wake = Math.min(wake, nextMs);
    return wake;
  }

  /** Returns the pings that are due. `changed`: the list of conflicts has changed. */
  step(nowMs: number): { pings: ClaimPing[]; changed: boolean } {
    const pings: ClaimPing[] = [];
    let changed = false;
    for (const [key, claim] of this.#claims) {
      const { name, claimer, claimants: sides, sinceMs } = claim;
      const holder = this.#context.holder(name);
      const silent = nowMs - Math.max(sinceMs, sides.claimer.answeredMs) >= silenceTimeoutMs;
      if (holder === undefined || sameEndpoint(holder, claimer) || silent) {
        this.#claims.delete(key);
        changed ||= claim.live;
        continue;
      }
      if (nowMs < claim.nextMs) continue;
      claim.nextMs = nowMs + pingIntervalMs;
      pings.push(this.#ping(name, claimer, sides.claimer));
      if (name !== this.#context.self) pings.push(this.#ping(name, holder, sides.holder));
      changed = this.#updateLive(claim, nowMs) || changed;
    }
    return { pings, changed };
  }

  /** Records a ping's answer; returns the claim when this answer turns it into a conflict. */
  recordAnswer(sequence: number, nowMs: number): { name: string; claimer: Endpoint } | undefined {
    for (const claim of this.#claims.values()) {
      const side = Object.values(claim.claimants).find(({ sequences }) => sequences.includes(sequence));
      if (side === undefined) continue;
      side.answeredMs = nowMs;
      return this.#updateLive(claim, nowMs) ? claim : undefined;
    }
    return undefined;
  }

  postpone(byMs: number): void {
    for (const claim of this.#claims.values()) {
      claim.nextMs += byMs;
      claim.sinceMs += byMs;
      for (const side of Object.values(claim.claimants)) side.answeredMs += byMs;
    }
  }

  /** Names that two live addresses claim. */
  conflicts(): NameConflict[] {
    return [...this.#claims.values()].flatMap(({ name, claimer, live }) => {
      const holder = live ? this.#context.holder(name) : undefined;
      return holder === undefined || sameEndpoint(holder, claimer) ? [] : [{ name, holder, claimer }];
    });
  }

  #ping(name: string, to: Endpoint, side: Claimant): ClaimPing {
    const sequence = this.#context.nextSequence();
    side.sequences = [...side.sequences.slice(-3), sequence];
    return { name, to, sequence };
  }

  /** Evaluates `live`; true when it has changed. */
  #updateLive(claim: Claim, nowMs: number): boolean {
    const answers = ({ answeredMs }: Claimant) => nowMs - answeredMs < silenceTimeoutMs;
    const { claimer, holder } = claim.claimants;
    const live = answers(claimer) && (claim.name === this.#context.self || answers(holder));
    if (live === claim.live) return false;
    claim.live = live;
    return true;
  }
}

const keyOf = (name: string, { address, port }: Endpoint) => `${name} ${address.join(".")} ${port}`;
