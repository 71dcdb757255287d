/**
 * Decides which seeds to contact and when. Until another node has been seen: all seeds, repeatedly. Afterwards, without
 * end: seeds and lost members that are not alive, and at a longer interval any seed. So two halves of a partition that
 * have forgotten each other rejoin without an operator. Pure.
 */
import type { HostPort } from "../../ports.ts";
import { addressFromText, addressToText } from "../address.ts";
import { shuffle } from "./prober.ts";
import { pushPullScaledMs, type SwimConfig } from "./config.ts";
import type { Member } from "./types.ts";

/** Seeds contacted in one turn, so that a long list does not become a burst of connections. */
const seedsPerTurnMax = 5;
/** Lost members are contacted like seeds: their addresses may be the only way to rejoin. */
const lostMax = 64;
const lostRetentionMs = 24 * 3_600_000;

const hostPortText = ({ host, port }: HostPort) => `${host}:${port}`;

export class Seeds {
  readonly #config: SwimConfig;
  readonly #random: () => number;
  #seeds: HostPort[] = [];
  readonly #lost = new Map<string, { at: HostPort; untilMs: number }>();
  /** Exchanges in flight. */
  readonly #inFlight = new Set<string>();
  /** Another node has been seen, through a seed or because it contacted this node. */
  #joined = false;
  /** Turns since the last change: each doubles the time to the next. */
  #turnsWithoutChange = 0;
  #nextSeed = 0;
  #nextLost = 0;
  #nextTurnMs: number;
  #nextAnySeedMs: number;

  constructor(config: SwimConfig, random: () => number, nowMs: number) {
    this.#config = config;
    this.#random = random;
    this.#nextTurnMs = nowMs;
    this.#nextAnySeedMs = nowMs + config.seedIntervalMs * random();
  }

  set(seeds: readonly HostPort[], nowMs: number): void {
    const known = new Set(this.#seeds.map(hostPortText));
    this.#seeds = [...new Map(seeds.map((seed) => [hostPortText(seed), seed])).values()];
    if (this.#seeds.every((seed) => known.has(hostPortText(seed)))) return;
    this.#turnsWithoutChange = 0;
    this.#nextTurnMs = Math.min(this.#nextTurnMs, nowMs);
  }

  wakeAtMs(): number {
    if (this.#seeds.length === 0 && this.#lost.size === 0) return Infinity;
    return Math.min(this.#nextTurnMs, this.#nextAnySeedMs);
  }

  joined(): void {
    this.#joined = true;
  }

  /** A member was declared dead: other members may be unreachable too, and return soon. */
  failed(nowMs: number): void {
    this.#turnsWithoutChange = 0;
    this.#nextTurnMs = Math.min(this.#nextTurnMs, nowMs + this.#waitMs());
  }

  exchangeEnded(seed: HostPort): void {
    this.#inFlight.delete(hostPortText(seed));
  }

  /** Keeps the address of a dead member whose record is dropped: it may only be unreachable. Members that left are not kept. */
  addLost(member: Readonly<Member>, nowMs: number): void {
    if (member.state !== "dead") return;
    const at = { host: addressToText(member.address), port: member.port };
    this.#lost.delete(hostPortText(at));
    this.#lost.set(hostPortText(at), { at, untilMs: nowMs + lostRetentionMs });
    if (this.#lost.size > lostMax) this.#lost.delete(this.#lost.keys().next().value!);
  }

  postpone(byMs: number): void {
    this.#nextTurnMs += byMs;
    this.#nextAnySeedMs += byMs;
  }

  /** The addresses to contact now; each counts as in flight until `exchangeEnded`. */
  step(nowMs: number, self: Readonly<Member>, members: Iterable<Readonly<Member>>): HostPort[] {
    if (nowMs < this.wakeAtMs()) return [];
    const reachable = new Set<string>([endpointText(self)]);
    for (const member of members) {
      if (member.state === "alive" || member.state === "suspect") reachable.add(endpointText(member));
    }
    for (const [key, { untilMs }] of this.#lost) {
      if (untilMs <= nowMs || reachable.has(key)) this.#lost.delete(key);
    }
    const chosen: HostPort[] = [];
    if (nowMs >= this.#nextTurnMs) {
      this.#nextTurnMs = nowMs + this.#waitMs();
      this.#turnsWithoutChange++;
      chosen.push(...this.#unreachable(reachable));
    }
    if (nowMs >= this.#nextAnySeedMs) {
      // All nodes may name the same few seeds, which a large cluster must not overload.
      this.#nextAnySeedMs = nowMs + this.#jittered(pushPullScaledMs(this.#config.seedIntervalMs, reachable.size));
      const others = this.#seeds.filter((seed) => normalizedText(seed) !== endpointText(self));
      chosen.push(...shuffle(others, this.#random).slice(0, 1));
    }
    const fresh = new Map(chosen.map((seed) => [hostPortText(seed), seed]));
    for (const key of fresh.keys()) {
      if (this.#inFlight.has(key)) fresh.delete(key);
      this.#inFlight.add(key);
    }
    return [...fresh.values()];
  }

  #unreachable(reachable: ReadonlySet<string>): HostPort[] {
    // A host name does not identify a member: while other members are alive, such seeds are left to `#nextAnySeedMs`.
    const hasPeers = this.#joined && reachable.size > 1;
    const seeds = this.#seeds.filter((seed) => !reachable.has(normalizedText(seed)) && !(hasPeers && isName(seed)));
    const former = [...this.#lost.values()].map(({ at }) => at);
    const chosen: HostPort[] = [];
    for (let left = Math.min(hasPeers ? 1 : seedsPerTurnMax, seeds.length); left > 0; left--) {
      chosen.push(seeds[this.#nextSeed++ % seeds.length]!);
    }
    if (former.length > 0) chosen.push(former[this.#nextLost++ % former.length]!);
    return chosen;
  }

  #waitMs(): number {
    const { joinIntervalMs, rejoinIntervalMs, rejoinIntervalMaxMs } = this.#config;
    if (!this.#joined) return this.#jittered(joinIntervalMs);
    return this.#jittered(
      Math.min(rejoinIntervalMs * 2 ** Math.min(this.#turnsWithoutChange, 16), rejoinIntervalMaxMs),
    );
  }

  /** Spreads the dials of nodes that started, or were partitioned, at the same time. */
  #jittered(ms: number): number {
    return ms * (0.75 + this.#random() / 2);
  }
}

const isName = (seed: HostPort) => addressFromText(seed.host) === undefined;

function normalizedText(seed: HostPort): string {
  const address = addressFromText(seed.host);
  return hostPortText(address === undefined ? seed : { host: addressToText(address), port: seed.port });
}

const endpointText = ({ address, port }: Readonly<Member>) => `${addressToText(address)}:${port}`;
