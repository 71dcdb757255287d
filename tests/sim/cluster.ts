/**
 * Whole clusters under random faults: `deno task sim:cluster [--seed N] [--seeds COUNT] [--from N]`. One seed prints its
 * trace; many print only the failures, each with the command that replays it. With one seed, `--gossip model` or
 * `--gossip real` and `--trouble KIND` override the choice of the seed.
 */
import { Faults } from "./faults.ts";
import { main, type SeedOutcome } from "./seeds.ts";
import { TroubledStory } from "./troubled.ts";
import { notWhole } from "./whole.ts";
import { SimulationFailure, World } from "./world.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";

export interface Outcome extends SeedOutcome {
  readonly steps: number;
  readonly writes: number;
  readonly defragmentations: number;
  /** Of trouble. */
  readonly kinds: string | undefined;
}

/**
 * One history in ten runs on the real gossip, which takes three times as long as its model: forty consecutive seeds, so
 * that they include all kinds of histories. From a million on, all do.
 */
export function hasRealGossip(seed: number): boolean {
  return Math.floor(seed / 40) % 10 === 2 || seed >= 1_000_000;
}

/** From here on, up to a million, histories have kinds of trouble besides ordinary faults. */
const troubledFrom = 30_000;

export interface RunOptions {
  trace?: (line: string) => void;
  realGossip?: boolean;
  /** Kinds of trouble, in place of those of the seed. */
  trouble?: readonly string[];
}

/** Runs one seed, which determines the whole history. */
export function runSeed(seed: number, options: RunOptions = {}): Outcome {
  const { world, ...history } = historyOf(seed, options);
  let failure: string | undefined;
  try {
    history.play();
  } catch (error) {
    if (!(error instanceof SimulationFailure)) throw error;
    failure = error.message;
  }
  return {
    seed,
    failure: failure === undefined || history.kinds === undefined ? failure : `[${history.kinds}] ${failure}`,
    kinds: history.kinds,
    steps: world.steps,
    writes: world.referee.writesAcked,
    defragmentations: world.referee.defragmentations,
  };
}

function historyOf(seed: number, { trace, realGossip = hasRealGossip(seed), trouble }: RunOptions) {
  const common = { seed, realGossip, ...(trace === undefined ? {} : { trace }) };
  if (trouble !== undefined || seed >= troubledFrom && seed < 1_000_000) {
    const story = new TroubledStory(common, trouble);
    return { world: story.world, kinds: story.plot.kinds.join("+"), play: () => story.play() };
  }
  // Every fourth history has a store and may lose a majority of its disks.
  const losses = seed % 4 === 3;
  const size = losses ? [3, 3, 5][(seed >> 2) % 3]! : [3, 3, 3, 5, 1][seed % 5]!;
  // Some of the histories without a regression have reclaimable space.
  const holed = seed >= 20_000 && seed % 8 < 3;
  const settings: Partial<Settings> = holed
    ? { defrag: { ratio: 0.5, minBytes: 128 * 1_048_576 } }
    : losses
    ? { snapshots: (seed >> 3) % 4 !== 0, quorumLossTimeoutMs: 30_000, snapshotIntervalMs: 3_000 }
    : {};
  const world = new World({ ...common, size, settings });
  world.referee.recoveriesAllowed = losses;
  return { world, kinds: undefined, play: () => new Story(world).play() };
}

/** Time after the last fault within which the cluster must be whole. */
const healMs = 90_000;
/** Time from the ERROR until the operator acts. */
const operatorComesMs = 20_000;

class Story {
  readonly #world: World;
  readonly #faults: Faults;
  readonly #standbys: number;
  /** Faults from the start on, with more nodes than places, to test the bootstrap. */
  readonly #rush: boolean;

  constructor(world: World) {
    this.#world = world;
    const scales = world.options.seed % 4 === 1;
    this.#rush = world.options.seed % 8 === 6 && world.size > 1;
    this.#standbys = this.#rush ? 3 : world.size > 1 && world.random() < 0.3 ? scales ? 2 : 1 : 0;
    this.#faults = new Faults(world, world.size + this.#standbys);
  }

  play(): void {
    const world = this.#world;
    const names = "abcdefgh".slice(0, world.size + this.#standbys).split("");
    for (const name of names) world.addMachine(name);
    const few = world.random() < 0.3;
    for (const machine of world.machines.values()) {
      machine.settings = { ...machine.settings, seeds: this.#faults.seeds(few ? names.slice(0, 1) : names) };
    }
    const spreadMs = world.pick([10, 500, 5_000]);
    for (const machine of world.machines.values()) {
      world.at(world.below(spreadMs), () => world.boot(machine));
    }
    if (this.#rush) {
      world.run(200 + world.below(800));
      for (let i = 0; i < 12; i++) {
        this.#faults.fault([
          "kill",
          "kill",
          "restart",
          "restart",
          "partition",
          "heal",
          "oneWay",
          "pause",
          "loseDisk",
          "slow",
        ]);
        world.run(world.nowMs + world.pick([30, 100, 300, 900, 2_500]));
      }
    }
    const faults = 2 + world.below(6);
    // Some faults occur during the bootstrap.
    world.run(world.nowMs + (world.random() < 0.5 ? 200 + world.below(3_000) : 15_000));
    for (let i = 0; i < faults; i++) {
      this.#faults.fault();
      world.run(world.nowMs + world.pick([100, 800, 3_000, 12_000, 25_000]));
    }
    this.#faults.healAll();
    world.run(world.nowMs + 20_000);
    this.#faults.healAll();
    const startedMs = world.nowMs;
    let why: string | undefined = "";
    while (world.nowMs < startedMs + healMs) {
      world.run(world.nowMs + 1_000);
      why = notWhole(world);
      if (why === undefined) break;
      if (world.nowMs >= startedMs + operatorComesMs) this.#choose();
    }
    if (why !== undefined) world.fail(`not whole ${healMs / 1000} s after the last fault: ${why}`);
  }

  /**
   * The operator approves the snapshot if it is newer than the survivor of its life, and the end of a life that another one
   * has continued without its last writes; no other plan. A bootstrap that
   * lost a majority of its data-dirs before it ever had a leader is recovered only if a recovery is allowed.
   */
  #choose(): void {
    const { clusters } = this.#world.referee;
    if (clusters.size > 0 && [...clusters.values()].every(({ led }) => !led)) this.#allowRecovery();
    for (const machine of this.#world.machines.values()) {
      const reason = machine.node?.reports.waitingFor;
      const chosen = reason?.code === "survivor_behind"
        ? "the snapshot"
        : reason?.code === "newer_epoch_behind"
        ? "quarantine this node's data"
        : undefined;
      const plan = chosen && reason?.choices?.find(({ label }) => label.startsWith(chosen))?.plan;
      if (plan !== undefined) this.#world.approve(machine, plan);
    }
  }

  #allowRecovery(): void {
    const world = this.#world;
    if (world.referee.recoveriesAllowed) return;
    world.referee.recoveriesAllowed = true;
    for (const machine of world.machines.values()) {
      machine.settings = { ...machine.settings, quorumLossTimeoutMs: 5_000 };
      world.kill(machine);
      world.boot(machine);
    }
  }
}

/** Number of histories and failures for each kind of trouble. */
function troubleOf(outcomes: readonly Outcome[]): string {
  const count = new Map<string, { all: number; failed: number }>();
  for (const { kinds, failure } of outcomes) {
    for (const kind of kinds?.split("+") ?? []) {
      const { all, failed } = count.get(kind) ?? { all: 0, failed: 0 };
      count.set(kind, { all: all + 1, failed: failed + (failure === undefined ? 0 : 1) });
    }
  }
  return [...count].sort().map(([kind, { all, failed }]) => `\n  ${kind}: ${all} histories, ${failed} failed`).join("");
}

if (import.meta.main) {
  const at = Deno.args.indexOf("--gossip");
  const gossip = at < 0 ? undefined : Deno.args[at + 1];
  const kind = Deno.args.indexOf("--trouble");
  const trouble = kind < 0 ? undefined : Deno.args[kind + 1]!.split("+");
  Deno.exit(
    await main<Outcome>(Deno.args, {
      task: "sim:cluster",
      worker: new URL("./cluster_worker.ts", import.meta.url),
      run: (seed, trace) =>
        runSeed(seed, {
          trace,
          ...gossip !== undefined && { realGossip: gossip === "real" },
          ...trouble !== undefined && { trouble },
        }),
      summary: (outcomes) => {
        const sum = (of: (outcome: Outcome) => number) => outcomes.reduce((all, each) => all + of(each), 0);
        const real = outcomes.filter(({ seed }) => hasRealGossip(seed)).length;
        return `${real} on real gossip, ${sum(({ steps }) => steps)} steps, ${sum(({ writes }) => writes)} ` +
          `acknowledged writes${troubleOf(outcomes)}`;
      },
    }),
  );
}
