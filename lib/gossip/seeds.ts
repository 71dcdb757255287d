/**
 * Whom to ask for the cluster, and when: until somebody has answered, all seeds again and again; afterwards, for ever,
 * those that are not among the living members, and now and then any. So the two halves of a partition that lasted
 * hours, and have forgotten each other, find together again without a human. Pure.
 */
import type { HostPort } from "../ports.ts";
import { addressFromText, addressToText } from "./address.ts";
import { shuffle } from "./probe_round.ts";
import type { SwimConfig } from "./swim_config.ts";
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
  readonly #asked = new Set<string>();
  #joined = false;
  #turn = 0;
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
    if (this.#seeds.some((seed) => !known.has(textOf(seed)))) this.#nextMs = Math.min(this.#nextMs, nowMs);
  }

  wakeAtMs(): number {
    if (this.#seeds.length === 0 && this.#former.size === 0) return Infinity;
    return Math.min(this.#nextMs, this.#anyMs);
  }

  /** Somebody else has been heard of, through a seed or by coming to us. */
  joined(): void {
    this.#joined = true;
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

  postpone(ms: number): void {
    this.#nextMs += ms;
    this.#anyMs += ms;
  }

  /** Whom to ask now; each counts as asked until `answered`. */
  step(nowMs: number, self: Readonly<Member>, members: Iterable<Readonly<Member>>): HostPort[] {
    if (nowMs < this.wakeAtMs()) return [];
    for (const [key, { untilMs }] of this.#former) if (untilMs <= nowMs) this.#former.delete(key);
    const reachable = new Set<string>([endpointText(self)]);
    for (const member of members) {
      if (member.state === "alive" || member.state === "suspect") reachable.add(endpointText(member));
    }
    for (const key of this.#former.keys()) if (reachable.has(key)) this.#former.delete(key);

    const chosen: HostPort[] = [];
    if (nowMs >= this.#nextMs) {
      this.#nextMs = nowMs + (this.#joined ? this.#config.rejoinIntervalMs : this.#config.joinIntervalMs);
      // A host name says nothing about who is behind it: while there is company, such seeds have their turn below.
      const company = this.#joined && reachable.size > 1;
      const missing = [...this.#seeds, ...[...this.#former.values()].map(({ at }) => at)]
        .filter((seed) => !reachable.has(ipTextOf(seed)) && !(company && isName(seed)));
      const count = company ? 1 : turnMax;
      for (let i = 0; i < Math.min(count, missing.length); i++) chosen.push(missing[this.#turn++ % missing.length]!);
    }
    if (nowMs >= this.#anyMs) {
      this.#anyMs = nowMs + this.#config.seedIntervalMs * (0.75 + this.#random() / 2);
      chosen.push(
        ...shuffle(this.#seeds.filter((seed) => ipTextOf(seed) !== endpointText(self)), this.#random).slice(0, 1),
      );
    }
    const fresh = chosen.filter((seed) => !this.#asked.has(textOf(seed)));
    for (const seed of fresh) this.#asked.add(textOf(seed));
    return [...new Map(fresh.map((seed) => [textOf(seed), seed])).values()];
  }
}

const isName = (seed: HostPort) => addressFromText(seed.host) === undefined;

function ipTextOf(seed: HostPort): string {
  const address = addressFromText(seed.host);
  return textOf(address === undefined ? seed : { host: addressToText(address), port: seed.port });
}

const endpointText = ({ address, port }: Readonly<Member>) => `${addressToText(address)}:${port}`;
