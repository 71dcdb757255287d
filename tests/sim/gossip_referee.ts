/** Checks a simulated cluster against the true state: what must never happen, and what must hold at the end. */
import type { Member, MemberChange } from "../../lib/gossip/swim/types.ts";
import { sameBytes } from "../../lib/bytes.ts";
import type { GossipWorld, Process } from "./gossip_world.ts";

export class GossipFailure extends Error {}

type Trouble = "started" | "paused" | "cut" | "stopped";

interface Standing {
  /** Undefined: it runs, reads and is reachable for all. */
  trouble: Trouble | undefined;
  untroubledSinceMs: number;
  cut: boolean;
}

export class GossipReferee {
  /** While true, no live member that was reachable for long enough may be declared dead. */
  strict = false;
  /** Deaths that were declared of running, unpaused, connected members. */
  falseDeaths = 0;
  deaths = 0;
  readonly #world: GossipWorld;
  readonly #standing = new Map<string, Standing>();
  /** "observer subject": the highest incarnation that the observer has shown. */
  readonly #incarnations = new Map<string, number>();
  readonly #leaving = new Set<string>();
  /** The incarnation with which a name has left, in this life or an earlier one, whose news may still spread. */
  readonly #leftWith = new Map<string, number>();

  constructor(world: GossipWorld) {
    this.#world = world;
  }

  fail(what: string): never {
    throw new GossipFailure(`${what} (at ${(this.#world.clock.nowMs / 1000).toFixed(1)} s)`);
  }

  touched(name: string, trouble: Trouble | undefined): void {
    const standing = this.#of(name);
    if (trouble === "started") {
      // A new process does not know the state of the previous one.
      for (const key of this.#incarnations.keys()) if (key.startsWith(`${name} `)) this.#incarnations.delete(key);
      this.#leaving.delete(name);
    }
    if (trouble === "cut") standing.cut = true;
    standing.trouble = trouble === "started" || trouble === "cut" ? undefined : trouble;
    standing.untroubledSinceMs = this.#world.clock.nowMs;
  }

  healed(): void {
    for (const standing of this.#standing.values()) {
      if (!standing.cut) continue;
      standing.cut = false;
      standing.untroubledSinceMs = this.#world.clock.nowMs;
    }
  }

  left(name: string, incarnation: number): void {
    this.#leaving.add(name);
    this.#leftWith.set(name, Math.max(incarnation, this.#leftWith.get(name) ?? 0));
  }

  /** Checks the own incarnation after a step. */
  own({ name, swim }: Process, before: number): void {
    if (swim.self.incarnation < before) this.fail(`"${name}" takes its own incarnation back`);
  }

  changed(observer: Process, change: MemberChange, member: Member): void {
    const key = `${observer.name} ${member.name}`;
    if (change === "forgotten") {
      this.#incarnations.delete(key);
      return;
    }
    const before = this.#incarnations.get(key) ?? 0;
    if (member.incarnation < before) {
      this.fail(`"${observer.name}" takes "${member.name}" from incarnation ${before} to ${member.incarnation}`);
    }
    this.#incarnations.set(key, member.incarnation);
    if (change === "failed") this.#declaredDead(observer, member);
    if (change === "left" && member.incarnation > (this.#leftWith.get(member.name) ?? 0)) {
      this.fail(`"${observer.name}" believes that "${member.name}" has left, which it has not`);
    }
  }

  #declaredDead(observer: Process, { name, address }: Member): void {
    this.deaths++;
    // At its old address a machine that has moved is truly dead.
    if (!sameBytes(address, this.#world.machines.get(name)!.endpoint.address)) return;
    const { trouble, untroubledSinceMs, cut } = this.#of(name);
    if (trouble !== undefined || cut || this.#leaving.has(name)) return;
    this.falseDeaths++;
    // A suspicion from the time of its trouble may still run; it must be refuted before it ends.
    const excusedMs = longestSuspicionMs(this.#world);
    if (this.strict && this.#world.clock.nowMs - untroubledSinceMs > excusedMs) {
      this.fail(`"${observer.name}" declares "${name}" dead, which lives and can be reached`);
    }
  }

  /** The first difference from the true state: all live nodes see each other alive and all others as gone. */
  divided(): string | undefined {
    const live = this.#world.live();
    const names = new Set(live.map(({ name }) => name));
    for (const { name: observer, process } of live) {
      const seen = new Map(process!.swim.members().map((member) => [member.name, member]));
      for (const { name, meta, endpoint } of live) {
        const member = seen.get(name);
        if (member?.state !== "alive") return `"${observer}" sees "${name}" ${member?.state ?? "not at all"}`;
        if (!sameBytes(member.meta, meta)) return `"${observer}" has old metadata of "${name}"`;
        if (!sameBytes(member.address, endpoint.address)) return `"${observer}" has an old address of "${name}"`;
      }
      for (const { name, state } of seen.values()) {
        if (!names.has(name) && state !== "dead" && state !== "left") return `"${observer}" sees "${name}" ${state}`;
      }
    }
    return undefined;
  }

  #of(name: string): Standing {
    let standing = this.#standing.get(name);
    if (standing === undefined) {
      standing = { trouble: undefined, untroubledSinceMs: this.#world.clock.nowMs, cut: false };
      this.#standing.set(name, standing);
    }
    return standing;
  }
}

/** The duration of an unconfirmed suspicion in a cluster of this size, and of the spread of its end. */
export function longestSuspicionMs({ config, machines }: GossipWorld): number {
  const scale = Math.max(1, Math.log10(Math.max(1, machines.size)));
  return config.suspicionMult * scale * config.probeIntervalMs * config.suspicionMaxTimeoutMult + 5000;
}
