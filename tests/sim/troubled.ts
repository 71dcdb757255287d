/**
 * A history with trouble: a cluster starts, one or two kinds of trouble occur during ordinary faults, then all are
 * repaired. The cluster must become whole, or report an ERROR; then a simulated operator follows the hints, and the
 * cluster must become whole.
 */
import { Faults } from "./faults.ts";
import type { Member } from "./fake_etcd.ts";
import { Prng } from "./prng.ts";
import { Scene } from "./scene.ts";
import { type Trouble, troubles } from "./trouble.ts";
import { notWhole } from "./whole.ts";
import { emptyDisk, type Machine, neighbours, World, type WorldOptions } from "./world.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";

/** Time within which the cluster must be whole if no node reports an ERROR. */
const patienceMs = 60_000;
/** Time from the ERROR until the operator acts. */
const operatorComesMs = 30_000;
/** Time within which the cluster must be whole with an operator. */
const healMs = 240_000;
const operatorEveryMs = 10_000;
/** Time after which gossip has forgotten a dead node. */
const forgottenAfterMs = 60_000;

export interface Plot {
  readonly kinds: readonly string[];
  readonly size: number;
  readonly standbys: number;
  readonly settings: Partial<Settings>;
}

/** The trouble of this seed. */
export function plotOf(chance: Prng, asked?: readonly string[]): Plot {
  const names = Object.keys(troubles);
  const first = chance.pick(names);
  const second = chance.chance(0.3) ? chance.pick(names) : undefined;
  const fits = second !== undefined && second !== first && fit(troubles[first]!, troubles[second]!);
  const kinds = asked ?? (fits ? [first, second] : [first]);
  const all = kinds.map((name) => troubles[name]!);
  const size = all.find((each) => each.size !== undefined)?.size ?? chance.pick([3, 3, 3, 5]);
  const standbys = all.find((each) => each.standbys !== undefined)?.standbys ?? chance.pick([0, 0, 1, 1, 2]);
  const settings: Partial<Settings> = Object.assign({}, ...all.map((each) => each.settings ?? {}));
  const storeless = chance.chance(0.5) && all.every((each) => each.storeless);
  return { kinds, size, standbys, settings: storeless ? { ...settings, snapshots: false } : settings };
}

const fit = (a: Trouble, b: Trouble) =>
  (a.size === undefined || b.size === undefined) && (a.standbys === undefined || b.standbys === undefined) &&
  a.settings?.snapshots === b.settings?.snapshots;

/** Returns the world after success; throws `SimulationFailure` otherwise. */
export class TroubledStory {
  readonly world: World;
  readonly plot: Plot;
  readonly #chance: Prng;
  readonly #scene: Scene;
  readonly #faults: Faults;
  /** Time until which an operator keeps machines stopped. */
  readonly #stopped = new Map<string, number>();

  constructor(options: Omit<WorldOptions, "size">, asked?: readonly string[]) {
    this.#chance = new Prng(options.seed);
    this.plot = plotOf(this.#chance.fork(), asked);
    const { size, standbys, settings, kinds } = this.plot;
    this.world = new World({ ...options, size, settings: { ...settings, ...options.settings } });
    this.world.referee.recoveriesAllowed = true;
    this.world.etcds.commitsLate = kinds.some((kind) => troubles[kind]!.commitsLate);
    this.#faults = new Faults(this.world, size + standbys);
    this.#scene = new Scene(this.world, this.#chance.fork(), this.#faults);
  }

  play(): void {
    const { world, plot } = this;
    world.trace(`trouble: ${plot.kinds.join(", ")}`);
    this.#populate();
    const scene = this.#scene;
    scene.run(this.#chance.chance(0.8) ? 9_000 : 2_000);
    for (const kind of plot.kinds) {
      for (let i = this.#chance.pick([0, 0, 1, 2]); i > 0; i--) {
        this.#faults.fault(ordinary);
        scene.run(this.#chance.pick([100, 2_000, 6_000]));
      }
      if (this.#chance.chance(0.6)) scene.calm();
      world.trace(`trouble: ${kind}`);
      troubles[kind]!.play(scene);
      if (this.#chance.chance(0.3)) this.#faults.fault(ordinary);
    }
    for (const mend of scene.mends.reverse()) mend();
    this.#faults.healAll();
    scene.run(5_000);
    this.#faults.healAll();
    // If a disk and its record were both rolled back, no node can know it, and nothing is guaranteed.
    if ([...world.referee.clusters.values()].some(({ untrusted }) => untrusted)) return;
    this.#becomeWhole();
  }

  #populate(): void {
    const { world, plot } = this;
    const names = "abcdefgh".slice(0, plot.size + plot.standbys).split("");
    for (const name of names) world.addMachine(name);
    if (plot.kinds.some((kind) => troubles[kind]!.neighbours)) {
      for (const name of ["x", "y", "z"]) world.addMachine(name, { owner: neighbours });
    }
    const few = this.#chance.chance(0.2);
    for (const machine of world.machines.values()) {
      const own = [...world.machines.values()].filter(({ owner }) => owner === machine.owner).map(({ name }) => name);
      machine.settings = { ...machine.settings, seeds: this.#faults.seeds(few ? own.slice(0, 1) : own) };
      this.#scene.bootSoon(machine, this.#chance.pick([10, 500, 3_000]));
    }
  }

  #owners(): string[] {
    return [...new Set([...this.world.machines.values()].map(({ owner }) => owner))];
  }

  #becomeWhole(): void {
    const { world } = this;
    const startedMs = world.nowMs;
    let why: string | undefined = "", lookedMs = startedMs + operatorEveryMs, actedMs = startedMs;
    while (world.nowMs < startedMs + healMs) {
      world.run(world.nowMs + 1_000);
      why = this.#owners().map((owner) => notWhole(world, owner)).find((each) => each !== undefined);
      if (why === undefined) break;
      if (world.nowMs < lookedMs) continue;
      lookedMs = world.nowMs + operatorEveryMs;
      // As a service manager does.
      for (const machine of world.machines.values()) {
        if (!world.isUp(machine) && world.nowMs >= (this.#stopped.get(machine.name) ?? 0)) world.boot(machine);
      }
      if (world.nowMs < startedMs + operatorComesMs) continue;
      for (const owner of this.#owners()) {
        if (notWhole(world, owner) !== undefined && this.#operate(owner)) actedMs = world.nowMs;
      }
      if (world.nowMs >= Math.max(actedMs, ...this.#stopped.values()) + patienceMs) {
        world.fail(`not whole ${patienceMs / 1_000} s after all repairs: ${why}; ${this.#waits()}`);
      }
    }
    if (why !== undefined) world.fail(`not whole, with an operator at work: ${why}; ${this.#waits()}`);
    for (const owner of this.#owners()) world.referee.evidence.atTheEnd(this.#scene.leader(owner)!);
  }

  #waits(): string {
    return [...this.world.machines.values()].map(({ name, node, waitLevel }) => {
      const code = node?.reports.waitingFor?.code;
      const problems = [...node?.reports.problems.values() ?? []].map(({ level, reason }) =>
        ` ${reason.code} (${level})`
      );
      return `${name} ${node?.phase ?? "off"}${code === undefined ? "" : ` ${code} (${waitLevel})`}${
        problems.join("")
      }`;
    }).join(", ");
  }

  /** The operator follows the hints; true: there was a hint to follow. */
  #operate(owner: string): boolean {
    const machines = this.#scene.machines(owner);
    if (this.#approve(machines) || this.#resume(machines) || this.#moveBack(machines)) return true;
    if (!machines.some((machine) => callsOperator(machine))) return false;
    if (this.#clearStore(machines, owner) || this.#restart(machines)) return true;
    const chosen = this.#choose(owner);
    if (chosen !== undefined) this.#endOthers(machines, chosen);
    return true;
  }

  /** Of two lives one stays: the operator moves the data of the others away. */
  #endOthers(machines: readonly Machine[], chosen: string): void {
    const { world } = this;
    for (const machine of machines) {
      const theirs = machine.disk.data?.clusterId;
      if (theirs === undefined || theirs === chosen) continue;
      world.trace(`an operator moves ${machine.name}'s data of ${theirs} out of the way of ${chosen}`);
      world.referee.evidence.givenUp.add(theirs);
      world.kill(machine);
      machine.disk = emptyDisk();
      world.boot(machine);
    }
  }

  /** Nodes whose gossip was that of two clusters: they start again when the other one has forgotten them. */
  #restart(machines: readonly Machine[]): boolean {
    const codes = ["two_clusters", "other_lineage_stored", "other_cluster", "standby_unlisted"];
    const confused = machines.filter(({ node }) => codes.includes(node?.reports.waitingFor?.code ?? ""));
    if (!this.#scene.machines(neighbours).length) return false;
    // Without a quorum all of them, because they would tell each other.
    const leader = this.#scene.leader(machines[0]!.owner);
    const stopped = confused.length === 0 || leader !== undefined ? confused : machines;
    for (const machine of stopped) {
      this.world.trace(`an operator stops ${machine.name} for a minute`);
      this.world.kill(machine);
      this.#stopped.set(machine.name, this.world.nowMs + forgottenAfterMs);
    }
    return stopped.length > 0;
  }

  #approve(machines: readonly Machine[]): boolean {
    let approved = false;
    for (const machine of machines) {
      const plan = this.#planToApprove(machine);
      if (plan !== undefined && this.world.approve(machine, plan)) approved = true;
    }
    return approved;
  }

  /** Prefers a survivor's data to a snapshot, no foreign life, and of two lives the chosen one. */
  #planToApprove({ node, owner, disk }: Machine): string | undefined {
    const reason = node?.reports.waitingFor;
    if (reason?.choices === undefined) return /e2d restore approve (\w+)/.exec(reason?.hint ?? "")?.[1];
    const plan = (label: RegExp) => reason.choices!.find((choice) => label.test(choice.label))?.plan;
    const own = disk.data?.clusterId;
    if (["two_epochs", "newer_epoch_silent", "newer_epoch_behind"].includes(reason.code)) {
      if (own === this.#choose(owner)) return plan(/^start this node's data/);
      return reason.code === "newer_epoch_behind" ? plan(/^quarantine this node's data/) : undefined;
    }
    if (reason.code === "log_went_back") return plan(/./);
    const foreign = [...this.world.referee.evidence.foreign].map((token) => token.slice(-8));
    const fitting = reason.choices.filter(({ label }) =>
      !/this node's data|an empty cluster/.test(label) && !foreign.some((life) => label.includes(life))
    );
    return (fitting.find(({ label }) => label.startsWith("the data of")) ?? fitting[0])?.plan;
  }

  /** Removes the objects of other clusters from the store. */
  #clearStore(machines: readonly Machine[], owner: string): boolean {
    const told = machines.some(({ node }) =>
      [node?.reports.waitingFor?.code, ...node?.reports.problems.keys() ?? []].some((code) => code?.endsWith("_stored"))
    );
    if (!told) return false;
    const store = this.world.storeOf(owner);
    if (store.remove(this.world.referee.evidence.foreign)) return true;
    // A running cluster with another lineage than its store gets a new URL.
    const id = this.#scene.leader(owner)?.data.clusterId;
    const own = this.world.referee.clusters.get(id ?? "")?.lineage?.id;
    if (own === undefined || store.history.length === 0 || store.history.some(({ lineage }) => lineage.id === own)) {
      return false;
    }
    store.replace();
    return true;
  }

  /** Machines get the addresses that the members of their disks are registered at. */
  #moveBack(machines: readonly Machine[]): boolean {
    const hint = machines.map(({ node, waitLevel }) =>
      waitLevel === "error" ? node?.reports.waitingFor?.hint : undefined
    )
      .find((each) => each?.startsWith("give the machines their former addresses"));
    const addresses = new Map<Machine, string>();
    for (const [, from, to] of (hint ?? "").matchAll(/" from http:\/\/(\w+):2380 to http:\/\/(\w+):2380/g)) {
      const machine = machines.find(({ address }) => address === from);
      if (machine !== undefined) addresses.set(machine, to!);
    }
    // Whoever has such an address gives it up.
    const free = [...addresses.keys()].map(({ address }) => address)
      .filter((address) => ![...addresses.values()].includes(address));
    const isTaken = ({ address }: Machine) => [...addresses.values()].includes(address);
    for (const machine of machines) {
      if (isTaken(machine) && !addresses.has(machine)) addresses.set(machine, free.pop()!);
    }
    if (addresses.size === 0) return false;
    this.#scene.move(addresses);
    for (const machine of addresses.keys()) this.world.boot(machine);
    return true;
  }

  #resume(machines: readonly Machine[]): boolean {
    let resumed = false;
    for (const machine of machines) {
      if (
        !/e2d resume/.test(machine.node?.reports.waitingFor?.hint ?? "") &&
        machine.node?.reports.waitingFor?.code !== "paused"
      ) {
        continue;
      }
      this.world.operators.send(machine, { kind: "resume", dryRun: false });
      resumed = true;
    }
    return resumed;
  }

  /** The cluster that stays: one that has a quorum, or could have, or has a disk left; of two the one with more writes. */
  #choose(owner: string): string | undefined {
    const { etcds, machines, referee } = this.world;
    const of = (member: Member) => machines.get(member.node)?.owner === owner;
    const living = [...etcds.running.values()].filter((member) =>
      of(member) && member.leaderId === member.data.memberId && etcds.hasQuorum(member)
    ).map(({ data }) => data.clusterId);
    const led = [...referee.clusters].filter(([, each]) => each.owner === owner && each.led).map(([id]) => id);
    const held = led.filter((id) => referee.evidence.hasQuorum(referee.evidence.holders(id)));
    const left = led.filter((id) => referee.evidence.holders(id).size > 0);
    const writes = (id: string) => referee.clusters.get(id)?.acked.length ?? 0;
    const [best = []] = [living, held, left].filter((ids) => ids.length > 0);
    return [...best].sort((a, b) => writes(b) - writes(a))[0];
  }
}

function callsOperator({ node, waitLevel }: Machine): boolean {
  if (node === undefined) return false;
  return node.reports.waitingFor !== undefined && waitLevel === "error" ||
    [...node.reports.problems.values()].some(({ level }) => level === "error");
}

const ordinary = ["kill", "restart", "restart", "killAll", "pause", "partition", "heal", "oneWay", "slow", "stop"];
