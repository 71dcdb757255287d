/**
 * Whom to ask for the cluster, and when: until somebody has answered, all seeds again and again; afterwards, for ever,
 * those that are not among the living members, and now and then any. So the two halves of a partition that lasted
 * hours, and have forgotten each other, find together again without a human. Pure.
 */
import type { HostPort } from "../ports.ts";
import { addressFromText, addressToText } from "./address.ts";
import { shuffle } from "./probe_round.ts";
import { pushPullScaledMs, type SwimConfig } from "./swim_config.ts";
import type { Member } from "./swim_types.ts";

/** Seeds that are asked in one turn, so that a long list does not become a burst of connections. */
const turnMax = 5;
/** Members that were lost are asked like seeds: their addresses may be the only way back. */
const formerMax = 64;
const formerKeptMs = 24 * 3_600_000;

const textOf = ({ host, port }: HostPort) => `${host}:${port}`;

export class Seeds {
  readonly #config: SwimConfig;
  readonly #random: () => number;
  #seeds: HostPort[] = [];
  readonly #former = new Map<string, { at: HostPort; untilMs: number }>();
  /** Exchanges that are under way. */
  readonly #asked = new Set<string>();
  /** Somebody else has been heard of, through a seed or by coming to us. */
  #joined = false;
  /** Turns since something changed: each doubles the time to the next. */
  #fruitless = 0;
  #seedTurn = 0;
  #formerTurn = 0;
  #nextMs: number;
  #anyMs: number;

  constructor(config: SwimConfig, random: () => number, nowMs: number) {
    this.#config = config;
    this.#random = random;
    this.#nextMs = nowMs;
    this.#anyMs = nowMs + config.seedIntervalMs * random();
  }

  set(seeds: readonly HostPort[], nowMs: number): void {
    const known = new Set(this.#seeds.map(textOf));
    this.#seeds = [...new Map(seeds.map((seed) => [textOf(seed), seed])).values()];
    if (this.#seeds.every((seed) => known.has(textOf(seed)))) return;
    this.#fruitless = 0;
    this.#nextMs = Math.min(this.#nextMs, nowMs);
  }

  wakeAtMs(): number {
    if (this.#seeds.length === 0 && this.#former.size === 0) return Infinity;
    return Math.min(this.#nextMs, this.#anyMs);
  }

  joined(): void {
    this.#joined = true;
  }

  /** A member was lost: from now on others may be missing, too, and soon be back. */
  failed(nowMs: number): void {
    this.#fruitless = 0;
    this.#nextMs = Math.min(this.#nextMs, nowMs + this.#waitMs());
  }

  answered(seed: HostPort): void {
    this.#asked.delete(textOf(seed));
  }

  /** A dead member's record is dropped; it may only be out of reach. Who left on purpose is not called back. */
  lost(member: Readonly<Member>, nowMs: number): void {
    if (member.state !== "dead") return;
    const at = { host: addressToText(member.address), port: member.port };
    this.#former.delete(textOf(at));
    this.#former.set(textOf(at), { at, untilMs: nowMs + formerKeptMs });
    if (this.#former.size > formerMax) this.#former.delete(this.#former.keys().next().value!);
  }

  postpone(byMs: number): void {
    this.#nextMs += byMs;
    this.#anyMs += byMs;
  }

  /** Whom to ask now; each counts as asked until `answered`. */
  step(nowMs: number, self: Readonly<Member>, members: Iterable<Readonly<Member>>): HostPort[] {
    if (nowMs < this.wakeAtMs()) return [];
    const reachable = new Set<string>([endpointText(self)]);
    for (const member of members) {
      if (member.state === "alive" || member.state === "suspect") reachable.add(endpointText(member));
    }
    for (const [key, { untilMs }] of this.#former) {
      if (untilMs <= nowMs || reachable.has(key)) this.#former.delete(key);
    }
    const chosen: HostPort[] = [];
    if (nowMs >= this.#nextMs) {
      this.#nextMs = nowMs + this.#waitMs();
      this.#fruitless++;
      chosen.push(...this.#missing(reachable));
    }
    if (nowMs >= this.#anyMs) {
      // Everybody may name the same few seeds: a large cluster must not make them do nothing else.
      this.#anyMs = nowMs + this.#jittered(pushPullScaledMs(this.#config.seedIntervalMs, reachable.size));
      const others = this.#seeds.filter((seed) => ipTextOf(seed) !== endpointText(self));
      chosen.push(...shuffle(others, this.#random).slice(0, 1));
    }
    const fresh = new Map(chosen.map((seed) => [textOf(seed), seed]));
    for (const key of fresh.keys()) {
      if (this.#asked.has(key)) fresh.delete(key);
      this.#asked.add(key);
    }
    return [...fresh.values()];
  }

  #missing(reachable: ReadonlySet<string>): HostPort[] {
    // A host name says nothing about who is behind it: while there is company, such seeds have their turn in `#anyMs`.
    const company = this.#joined && reachable.size > 1;
    const seeds = this.#seeds.filter((seed) => !reachable.has(ipTextOf(seed)) && !(company && isName(seed)));
    const former = [...this.#former.values()].map(({ at }) => at);
    const chosen: HostPort[] = [];
    for (let left = Math.min(company ? 1 : turnMax, seeds.length); left > 0; left--) {
      chosen.push(seeds[this.#seedTurn++ % seeds.length]!);
    }
    if (former.length > 0) chosen.push(former[this.#formerTurn++ % former.length]!);
    return chosen;
  }

  #waitMs(): number {
    const { joinIntervalMs, rejoinIntervalMs, rejoinIntervalMaxMs } = this.#config;
    if (!this.#joined) return this.#jittered(joinIntervalMs);
    return this.#jittered(Math.min(rejoinIntervalMs * 2 ** Math.min(this.#fruitless, 16), rejoinIntervalMaxMs));
  }

  /** Nodes that started together, or were cut off together, do not dial together. */
  #jittered(ms: number): number {
    return ms * (0.75 + this.#random() / 2);
  }
}

const isName = (seed: HostPort) => addressFromText(seed.host) === undefined;

function ipTextOf(seed: HostPort): string {
  const address = addressFromText(seed.host);
  return textOf(address === undefined ? seed : { host: addressToText(address), port: seed.port });
}

const endpointText = ({ address, port }: Readonly<Member>) => `${addressToText(address)}:${port}`;
