/**
 * Clusters of 3 to 200 gossip cores under random faults: `deno task sim --seed N` replays one history, `--seeds COUNT`
 * runs many. This module owns the faults and the time within which all nodes must agree after the last fault; the
 * invariants of every step are in the referee.
 */
import { GossipFailure, longestSuspicionMs } from "./gossip_referee.ts";
import { GossipWorld, type Machine, metaOf } from "./gossip_world.ts";
import type { LinkConditions } from "./network.ts";
import type { Prng } from "./prng.ts";
import { main, type SeedOutcome } from "./seeds.ts";

export interface GossipOutcome extends SeedOutcome {
  readonly size: number;
  readonly steps: number;
  readonly simulatedMs: number;
  /** Time from the last fault until all nodes saw the true state of all others. */
  readonly wholeAfterMs: number;
}

/** The kind of a history. */
export type Kind =
  /** Loss under 5 %; no live reachable node may be declared dead. */
  | "strict"
  /** Loss up to 35 %: live nodes may be declared dead, as long as the end state is correct. */
  | "wild"
  /** A partition of hours, after which both sides have forgotten each other. */
  | "long";

const kinds: readonly Kind[] = [
  "strict",
  "strict",
  "wild",
  "strict",
  "wild",
  "strict",
  "strict",
  "wild",
  "strict",
  "long",
];

export function kindOf(seed: number): Kind {
  return kinds[seed % kinds.length]!;
}

/** Runs one seed, which determines the whole history. */
export function runSeed(seed: number, trace?: (line: string) => void): GossipOutcome {
  const kind = kindOf(seed);
  const world = new GossipWorld({ seed, ...trace && { trace } });
  const story = new Story(world, kind);
  let failure: string | undefined;
  try {
    story.play();
  } catch (error) {
    if (!(error instanceof GossipFailure)) throw error;
    failure = error.message;
  }
  return {
    seed,
    failure,
    size: world.machines.size,
    steps: world.steps,
    simulatedMs: world.clock.nowMs,
    wholeAfterMs: story.wholeAfterMs,
  };
}

const hourMs = 3_600_000;

class Story {
  wholeAfterMs = NaN;
  readonly #world: GossipWorld;
  readonly #random: Prng;
  readonly #kind: Kind;
  #metaVersion = 0;

  constructor(world: GossipWorld, kind: Kind) {
    this.#world = world;
    this.#random = world.random.fork();
    this.#kind = kind;
  }

  play(): void {
    const world = this.#world, random = this.#random;
    const size = this.#size();
    world.network.conditions = conditionsOf(this.#kind, random);
    world.referee.strict = this.#kind === "strict";
    for (let number = 1; number <= size; number++) world.addMachine(`n${number}`);
    const machines = [...world.machines.values()];
    // A few seeds that all nodes know, or all; the first ones are always included, so that one cluster forms.
    const seeds = random.chance(0.5) ? machines : machines.slice(0, random.pick([1, 2, 3]));
    world.seeds = seeds.map((machine) => world.hostPort(machine));
    const spreadMs = random.pick([0, 2_000, 20_000]);
    for (const machine of machines) world.clock.after(random.between(0, spreadMs), () => world.start(machine));
    world.clock.runFor(random.pick([1_000, 20_000, 40_000]));

    if (this.#kind === "long") this.#partForHours();
    else {
      for (let faults = 3 + random.below(6); faults > 0; faults--) {
        this.#fault();
        world.clock.runFor(random.pick([200, 1_500, 6_000, 15_000, 40_000]));
      }
    }
    this.#endFaults();
    this.#becomeWhole();
  }

  #size(): number {
    const random = this.#random;
    if (this.#kind === "long") return random.pick([3, 3, 4, 5, 7]);
    const large = random.below(40);
    if (large === 0) return 100 + random.below(101);
    return large < 5 ? 10 + random.below(31) : 3 + random.below(6);
  }

  #fault(): void {
    const random = this.#random;
    const kind = random.pick([
      ...["kill", "kill", "start", "start", "restart", "leave", "pause", "pause", "partition", "partition", "oneWay"],
      ...["oneWay", "isolate", "heal", "clock", "meta", "meta", "broadcast", "move", "weather"],
    ]);
    this.#faults[kind]!([...this.#world.machines.values()], this.#world.live());
  }

  /** By kind: each gets all machines, and those whose process runs. */
  readonly #faults: Readonly<Record<string, (machines: Machine[], live: Machine[]) => void>> = {
    kill: (_, live) => {
      // At least one node must be left to detect it.
      if (live.length > 2) this.#world.kill(this.#random.pick(live), { off: this.#random.chance(0.5) });
    },
    start: (machines) => {
      for (const machine of machines) if (this.#random.chance(0.7)) this.#world.start(machine);
    },
    restart: (machines) => {
      const machine = this.#random.pick(machines);
      this.#world.kill(machine);
      this.#startIn(machine, [50, 2_000, 20_000, 60_000]);
    },
    leave: (_, live) => {
      if (live.length > 2) this.#world.leave(this.#random.pick(live));
    },
    pause: (_, live) => this.#pauseSome(live),
    partition: (machines) => {
      const side = machines.filter(() => this.#random.chance(0.4));
      this.#world.partition(side, machines.filter((machine) => !side.includes(machine)));
    },
    oneWay: (machines) => {
      const from = this.#random.pick(machines);
      const to = machines.filter((machine) => machine !== from && this.#random.chance(0.5));
      if (this.#random.chance(0.5)) this.#world.partition([from], to, { oneWay: true });
      else this.#world.partition(to, [from], { oneWay: true });
    },
    isolate: (machines) => {
      const one = this.#random.pick(machines);
      this.#world.partition([one], machines.filter((machine) => machine !== one));
    },
    heal: () => this.#world.healNetwork(),
    clock: (_, live) => {
      const random = this.#random;
      if (live.length > 0) this.#world.stepClock(random.pick(live), random.pick([50, 700, 4_000, 20_000, hourMs]));
    },
    meta: (_, live) => {
      if (live.length > 0) this.#world.setMeta(this.#random.pick(live), metaOf(++this.#metaVersion));
    },
    broadcast: (_, live) => {
      const random = this.#random;
      if (live.length > 0) this.#world.broadcast(random.pick(live), Uint8Array.of(1, random.below(256)), "status");
    },
    move: (machines, live) => {
      const machine = this.#random.pick(machines);
      if (machine.process === undefined || live.length < 3) return;
      this.#world.kill(machine, { off: true });
      this.#world.move(machine);
      this.#startIn(machine, [50, 5_000, 45_000]);
    },
    weather: () => this.#world.network.conditions = conditionsOf(this.#kind, this.#random),
  };

  /** Starts the machine after one of these times. */
  #startIn(machine: Machine, delaysMs: readonly number[]): void {
    this.#world.clock.after(this.#random.pick(delaysMs), () => this.#world.start(machine));
  }

  #pauseSome(live: readonly Machine[]): void {
    const world = this.#world, random = this.#random;
    for (const machine of live) {
      if (!random.chance(1.5 / live.length)) continue;
      world.pause(machine);
      const { process } = machine;
      world.clock.after(random.pick([300, 2_500, 9_000, 30_000]), () => {
        if (machine.process === process) world.resume(machine);
      });
    }
  }

  /** A partition for hours; on both sides processes may die and return meanwhile, or start at another address. */
  #partForHours(): void {
    const world = this.#world, random = this.#random;
    const machines = [...world.machines.values()];
    world.clock.runFor(30_000);
    const first = machines.slice(0, 1 + random.below(machines.length - 1));
    const second = machines.filter((machine) => !first.includes(machine));
    world.partition(first, second, { oneWay: random.chance(0.2) });
    world.clock.runFor(random.between(0.3, 1) * hourMs);
    if (random.chance(0.5)) {
      const machine = random.pick(second);
      world.kill(machine);
      world.clock.runFor(random.pick([100, 60_000]));
      world.start(machine);
    }
    world.clock.runFor(random.between(0.5, 1.5) * hourMs);
  }

  #endFaults(): void {
    const world = this.#world, random = this.#random;
    world.healNetwork();
    const weather = conditionsOf("strict", random);
    world.network.conditions = weather;
    for (const machine of world.machines.values()) {
      world.resume(machine);
      // Some stay dead, which must be detected as well.
      if (random.chance(0.8) || world.live().length < 2) world.start(machine);
    }
  }

  #becomeWhole(): void {
    const world = this.#world;
    const startMs = world.clock.nowMs;
    const limitMs = wholeWithinMs(world);
    for (;;) {
      world.clock.runFor(500);
      const why = world.referee.divided();
      if (why === undefined) break;
      if (world.clock.nowMs - startMs > limitMs) {
        world.referee.fail(`the nodes do not agree ${Math.round(limitMs / 1000)} s after the last fault: ${why}`);
      }
    }
    this.wholeAfterMs = world.clock.nowMs - startMs;
    world.trace(`all see all after ${this.wholeAfterMs} ms`);
  }
}

/**
 * All nodes must see the true state within the sum of: the last start of a pending fault (60 s), the detection of a death
 * with the longest suspicion, its record for 30 s more (only then a new address replaces an old one), and the longest
 * intervals of contacting lost members and of exchanging states, twice each.
 */
function wholeWithinMs(world: GossipWorld): number {
  const { config, machines } = world;
  return 60_000 + 2 * machines.size * config.probeIntervalMs / 10 + longestSuspicionMs(world) +
    config.gossipToTheDeadMs + 2 * 1.25 * config.rejoinIntervalMaxMs + 2 * config.pushPullIntervalMs;
}

/** The link conditions of a history: loss at both ends of a link, delays, duplicated and late packets. */
function conditionsOf(kind: Kind, random: Prng): LinkConditions {
  const wild = kind === "wild";
  return {
    lossRate: random.pick([0, 0.01, random.between(0, 0.0499), wild ? random.between(0.05, 0.35) : 0.0499]),
    delayMinMs: 0.2,
    delayMaxMs: random.pick(wild ? [1, 20, 300] : [1, 20, 100]),
    duplicateRate: random.pick([0, 0.02, 0.2]),
    reorderRate: random.pick([0, 0.05, 0.2]),
    reorderMs: random.pick(wild ? [50, 900] : [50, 200]),
  };
}

if (import.meta.main) {
  Deno.exit(
    await main<GossipOutcome>(Deno.args, {
      task: "sim",
      worker: new URL("./gossip_worker.ts", import.meta.url),
      run: runSeed,
      summary: (outcomes) => {
        const sum = (of: (outcome: GossipOutcome) => number) => outcomes.reduce((all, each) => all + of(each), 0);
        const worstMs = Math.max(...outcomes.map(({ wholeAfterMs }) => wholeAfterMs || 0));
        return `${sum(({ steps }) => steps)} steps, ${Math.round(sum(({ simulatedMs }) => simulatedMs) / hourMs)} ` +
          `simulated hours, whole after ${(worstMs / 1000).toFixed(0)} s at worst`;
      },
    }),
  );
}
