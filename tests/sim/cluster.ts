/**
 * Whole clusters under random faults: `deno task sim:cluster [--seed N] [--seeds COUNT] [--from N]`. One seed prints its
 * trace; many print only what failed, with the command that replays it. `--gossip model` or `--gossip real` with one seed
 * overrides what its number says.
 */
import { configOf } from "./fake_etcd.ts";
import type { Settings } from "../../lib/core/view.ts";
import { main, type SeedOutcome } from "./seeds.ts";
import { type Machine, SimulationFailure, World } from "./world.ts";

export interface Outcome extends SeedOutcome {
  readonly steps: number;
  readonly writes: number;
  readonly defragmentations: number;
}

/**
 * One history in ten runs on the real gossip, which takes three times as long as the model of it: forty seeds in a row, so
 * that all kinds of histories are among them. From a million on, all do.
 */
export function hasRealGossip(seed: number): boolean {
  return Math.floor(seed / 40) % 10 === 2 || seed >= 1_000_000;
}

/** Runs one seed. Everything about it follows from the number. */
export function runSeed(seed: number, { trace, realGossip = hasRealGossip(seed) }: {
  trace?: (line: string) => void;
  realGossip?: boolean;
} = {}): Outcome {
  // Every fourth history has a store and may lose a majority of its disks.
  const losses = seed % 4 === 3;
  const size = losses ? [3, 3, 5][(seed >> 2) % 3]! : [3, 3, 3, 5, 1][seed % 5]!;
  // Some of the histories that are no regression's have something to defragment.
  const holed = seed >= 20_000 && seed % 8 < 3;
  const settings: Partial<Settings> = holed
    ? { defrag: { ratio: 0.5, minBytes: 128 * 1_048_576 } }
    : losses
    ? { snapshots: (seed >> 3) % 4 !== 0, quorumLossTimeoutMs: 30_000, snapshotIntervalMs: 3_000 }
    : {};
  const world = new World({ seed, size, settings, realGossip, ...(trace === undefined ? {} : { trace }) });
  world.referee.recoveriesAllowed = losses;
  try {
    new Story(world).play();
    return {
      seed,
      failure: undefined,
      steps: world.steps,
      writes: world.referee.writesAcked,
      defragmentations: world.referee.defragmentations,
    };
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error;
    return {
      seed,
      failure: error.message,
      steps: world.steps,
      writes: world.referee.writesAcked,
      defragmentations: world.referee.defragmentations,
    };
  }
}

/** When everybody must be well again after the last fault. */
const healMs = 90_000;

class Story {
  readonly #world: World;
  #next = 0;
  readonly #spares: number;
  /** Fault upon fault from the first moments on, with more nodes than places: what a founding must stand. */
  readonly #rush: boolean;

  constructor(world: World) {
    this.#world = world;
    const scales = world.options.seed % 4 === 1;
    this.#rush = world.options.seed % 8 === 6 && world.size > 1;
    this.#spares = this.#rush ? 3 : world.size > 1 && world.random() < 0.3 ? scales ? 2 : 1 : 0;
  }

  play(): void {
    const world = this.#world;
    const names = "abcdefgh".slice(0, world.size + this.#spares).split("");
    for (const name of names) world.addMachine(name);
    this.#next = names.length;
    const few = world.random() < 0.3;
    for (const machine of world.machines.values()) {
      machine.settings = { ...machine.settings, seeds: this.#seeds(few ? names.slice(0, 1) : names) };
    }
    const spreadMs = world.pick([10, 500, 5_000]);
    for (const machine of world.machines.values()) {
      world.at(world.below(spreadMs), () => world.boot(machine));
    }
    if (this.#rush) {
      world.run(200 + world.below(800));
      for (let i = 0; i < 12; i++) {
        this.#fault(["kill", "kill", "restart", "restart", "partition", "heal", "oneWay", "pause", "loseDisk", "slow"]);
        world.run(world.nowMs + world.pick([30, 100, 300, 900, 2_500]));
      }
    }
    const faults = 2 + world.below(6);
    // Some faults hit the founding itself.
    world.run(world.nowMs + (world.random() < 0.5 ? 200 + world.below(3_000) : 15_000));
    for (let i = 0; i < faults; i++) {
      this.#fault();
      world.run(world.nowMs + world.pick([100, 800, 3_000, 12_000, 25_000]));
    }
    this.#healAll();
    world.run(world.nowMs + 20_000);
    this.#healAll();
    const deadline = world.nowMs + healMs;
    let why: string | undefined = "";
    while (world.nowMs < deadline) {
      world.run(world.nowMs + 1_000);
      why = this.#notWhole();
      if (why === undefined) break;
    }
    if (why !== undefined) world.fail(`not whole ${healMs / 1000} s after the last fault: ${why}`);
  }

  #seeds(names: readonly string[]): string[] {
    return names.map((name) => `${this.#world.machines.get(name)?.address ?? name}:7980`);
  }

  #kinds(): string[] {
    const world = this.#world;
    return [
      "kill",
      "kill",
      "restart",
      "restart",
      "killAll",
      "loseDisk",
      "loseDisk",
      "replace",
      "replace",
      "pause",
      "pause",
      "partition",
      "partition",
      "oneWay",
      "heal",
      "slow",
      "address",
      "stop",
      ...world.options.seed % 4 === 1 ? ["scale", "scale", "upgrade"] : [],
      ...world.referee.recoveriesAllowed ? ["loseMajority", "loseMajority", "store"] : [],
    ];
  }

  #fault(kinds: readonly string[] = this.#kinds()): void {
    const world = this.#world;
    const up = [...world.machines.values()].filter((machine) => machine.node !== undefined);
    const down = [...world.machines.values()].filter((machine) => machine.node === undefined);
    const kind = world.pick(kinds);
    switch (kind) {
      case "kill":
        if (up.length > 0) world.kill(world.pick(up));
        return;
      case "restart":
        for (const machine of down) if (world.random() < 0.6) world.boot(machine);
        return;
      case "killAll":
        for (const machine of up) world.kill(machine);
        for (const machine of world.machines.values()) {
          if (world.random() < 0.8) world.at(world.below(4_000), () => world.boot(machine));
        }
        return;
      case "loseDisk": {
        const machine = world.pick([...world.machines.values()]);
        if (!this.#canSpare(machine)) return;
        world.kill(machine);
        world.loseDisk(machine);
        world.at(world.below(8_000), () => world.boot(machine));
        return;
      }
      case "replace": {
        const machine = world.pick([...world.machines.values()]);
        if (!this.#canSpare(machine) || this.#next > 7) return;
        world.kill(machine);
        world.loseDisk(machine);
        world.machines.delete(machine.name);
        const name = "abcdefgh"[this.#next++]!;
        const seeds = this.#seeds([name, ...world.machines.keys()]);
        const fresh = world.addMachine(name, name, { seeds });
        world.at(world.below(8_000), () => world.boot(fresh));
        return;
      }
      case "pause":
        if (up.length > 0) {
          const machine = world.pick(up);
          world.pause(machine, world.random() < 0.5);
          world.at(world.pick([1_500, 8_000, 25_000]), () => world.resume(machine));
        }
        return;
      case "partition": {
        const side = new Set([...world.machines.keys()].filter(() => world.random() < 0.4));
        world.trace(`partition: ${[...side].join(" ")} | the rest`);
        for (const a of world.machines.keys()) {
          for (const b of world.machines.keys()) if (side.has(a) !== side.has(b)) world.cut.add(`${a} ${b}`);
        }
        return;
      }
      case "oneWay": {
        const [a, b] = [world.pick([...world.machines.keys()]), world.pick([...world.machines.keys()])];
        world.trace(`packets from ${a} to ${b} are lost`);
        if (a !== b) world.cut.add(`${a} ${b}`);
        return;
      }
      case "heal":
        world.trace("the network heals");
        world.cut.clear();
        return;
      case "slow": {
        const machine = world.pick([...world.machines.values()]);
        machine.slow = !machine.slow;
        const member = world.memberOf(machine.name);
        if (member !== undefined) member.slow = machine.slow;
        return;
      }
      case "address": {
        const machine = world.pick([...world.machines.values()]);
        if (world.size === 1 || !this.#addressesKnown()) return;
        world.kill(machine);
        const old = `${machine.address}:7980`;
        machine.address = `${machine.name}${1 + world.below(900)}`;
        world.trace(`${machine.name} moves to ${machine.address}`);
        for (const other of world.machines.values()) {
          const seeds = other.settings.seeds.map((seed) => seed === old ? `${machine.address}:7980` : seed);
          other.settings = { ...other.settings, seeds };
          world.deliver(other, { kind: "settings", settings: other.settings });
        }
        world.at(world.below(3_000), () => world.boot(machine));
        return;
      }
      case "stop":
        if (up.length > 0) {
          const machine = world.pick(up);
          world.trace(`${machine.name} is asked to stop`);
          world.deliver(machine, { kind: "stop" });
        }
        return;
      case "scale": {
        const leading = world.leading();
        if (leading === undefined || leading.paused) return;
        const to = world.pick([1, 3, 5]);
        const why = world.request(leading, { scale: to });
        world.trace(`${leading.name} is asked to scale to ${to}: ${why ?? "planned"}`);
        return;
      }
      case "upgrade": {
        const leading = world.leading();
        if (leading === undefined || leading.paused) return;
        const why = world.request(leading, { upgrade: "3.7" });
        world.trace(`${leading.name} is asked to upgrade: ${why ?? "planned"}`);
        return;
      }
      case "store":
        world.trace("the store cannot be read for a while");
        if (world.store.kind === "newest") {
          const before = world.store;
          world.store = { kind: "unreadable", why: "503" };
          world.at(15_000, () => world.store = before);
        }
        return;
      case "loseMajority": {
        const holders = [...world.machines.values()].filter((machine) => machine.disk.data !== undefined);
        const lost = holders.slice(0, Math.floor(world.size / 2) + 1 + world.below(2));
        for (const machine of lost) {
          world.kill(machine);
          world.loseDisk(machine);
          world.at(world.below(8_000), () => world.boot(machine));
        }
        return;
      }
      default:
        throw new Error(`no fault is called ${kind}`);
    }
  }

  /** A disk may be lost while all others that vote still make a quorum with everything that was acknowledged. */
  #canSpare(machine: Machine): boolean {
    const world = this.#world;
    if (world.size === 1) return false;
    const data = machine.disk.data;
    const others = [...world.machines.values()].filter((other) => other !== machine);
    const newest = [...world.machines.values()].map((each) => each.disk.data).filter((each) => each !== undefined)
      .sort((a, b) => b.commit - a.commit)[0];
    if (newest === undefined) {
      // Nobody holds data: a promise may be lost, but only one, or the founding has too few who remember.
      return machine.disk.record === undefined && others.every((other) => other.disk.record === undefined);
    }
    if (data === undefined) return machine.disk.record === undefined;
    const voters = configOf(newest).filter((member) => !member.isLearner);
    const quorum = Math.floor(voters.length / 2) + 1;
    // A membership change that is not committed everywhere makes it unclear whose quorum counts.
    if (
      others.some((each) => each.disk.data !== undefined && configOf(each.disk.data).length !== configOf(newest).length)
    ) {
      return false;
    }
    if (configOf(newest).some((member) => member.isLearner)) return false;
    const whole = others.filter((other) =>
      other.disk.data !== undefined && other.disk.data.clusterId === newest.clusterId &&
      other.disk.data.log.length >= newest.commit &&
      voters.some((member) => member.id === other.disk.data!.memberId)
    );
    return whole.length >= quorum;
  }

  /** One move at a time: two members that both moved cannot find each other, in life as here. */
  #addressesKnown(): boolean {
    return [...this.#world.machines.values()].every((machine) => {
      const data = machine.disk.data;
      if (data === undefined) return true;
      return configOf(data).every((member) => {
        const named = this.#world.machines.get(member.name);
        return named === undefined || member.peerUrl === this.#world.identity(named).peerUrl;
      });
    });
  }

  #healAll(): void {
    const world = this.#world;
    world.trace("all faults end");
    world.cut.clear();
    // Machines that are gone for good are taken out of the bootstrap lists, as discovery would.
    // Where no data is left and nothing stored, whoever has seen the cluster waits until an operator gives it up.
    const allLost = world.store.kind === "absent" &&
      [...world.machines.values()].every((machine) => machine.disk.data === undefined);
    const givenUp = allLost ? { newCluster: `after-${Math.floor(world.nowMs)}` } : {};
    for (const machine of world.machines.values()) {
      machine.settings = { ...machine.settings, ...givenUp, seeds: this.#seeds([...world.machines.keys()]) };
      world.deliver(machine, { kind: "settings", settings: machine.settings });
    }
    for (const machine of world.machines.values()) {
      world.resume(machine);
      machine.slow = false;
      const member = world.memberOf(machine.name);
      if (member !== undefined) member.slow = false;
      world.boot(machine);
    }
  }

  #notWhole(): string | undefined {
    const world = this.#world;
    const leaders = [...world.etcds.running.values()].filter((member) => member.leaderId === member.data.memberId);
    if (leaders.length !== 1) return `${leaders.length} leaders`;
    const leader = leaders[0]!;
    const config = configOf(leader.data);
    const plan = world.plans.get(leader.data.clusterId);
    if (plan !== undefined) return `"${plan.text}" is not done`;
    const size = world.record.get(leader.data.clusterId)?.size ?? world.size;
    if (config.length !== size || config.some((member) => member.isLearner)) {
      return `${config.length} members: ${
        config.map((member) => member.name + (member.isLearner ? "?" : "")).join(" ")
      }`;
    }
    for (const member of config) {
      const machine = world.machines.get(member.name);
      if (machine?.node?.phase !== "serving") return `"${member.name}" is ${machine?.node?.phase ?? "gone"}`;
    }
    for (const machine of world.machines.values()) {
      if (config.some((member) => member.name === machine.name)) continue;
      const waits = machine.node?.waitingFor?.code;
      // Data of a cluster that lost its majority, or that never had a leader because a power cut met its founding, beside
      // one that was founded without it: a human decides.
      const theirs = world.referee.clusters.get(machine.disk.data?.clusterId ?? "");
      const orphan = waits === "other_cluster" && (theirs === undefined || theirs.dead || !theirs.led);
      if (waits !== "spare" && !orphan) return `"${machine.name}" is no spare: ${machine.node?.phase} ${waits}`;
    }
    return undefined;
  }
}

if (import.meta.main) {
  const at = Deno.args.indexOf("--gossip");
  const gossip = at < 0 ? undefined : Deno.args[at + 1];
  Deno.exit(
    await main<Outcome>(Deno.args, {
      task: "sim:cluster",
      worker: new URL("./cluster_worker.ts", import.meta.url),
      run: (seed, trace) => runSeed(seed, { trace, ...gossip !== undefined && { realGossip: gossip === "real" } }),
      summary: (outcomes) => {
        const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((all, each) => all + of(each), 0);
        const real = outcomes.filter(({ seed }) => hasRealGossip(seed)).length;
        return `${real} on real gossip, ${sum(({ steps }) => steps)} steps, ${sum(({ writes }) => writes)} ` +
          `acknowledged writes`;
      },
    }),
  );
}
