/**
 * A whole cluster in one process: machines with disks, a network with cuts, the real core of every node, and fakes of
 * its environment. One seed determines the history, event for event.
 */
import { brokenInvariant } from "../../lib/core/state/invariants.ts";
import type { AnsweredEffect, Effect } from "../../lib/core/facts/effect.ts";
import type { Event } from "../../lib/core/facts/event.ts";
import { step } from "../../lib/core/step.ts";
import { type EtcdData, FakeEtcds, type Member } from "./fake_etcd.ts";
import { GoNode } from "./go_node.ts";
import { GossipModel } from "./gossip_model.ts";
import { RealGossip } from "./gossip_real.ts";
import { Operators } from "./operators.ts";
import { perform } from "./perform.ts";
import { Referee } from "./referee.ts";
import { createNode, type NodeState } from "../../lib/core/state/state.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";
import type { Lineage, NodeRecord, PauseMark } from "../../lib/core/facts/node_record.ts";
import type { Plan } from "../../lib/core/facts/plan.ts";

export interface Disk {
  data: EtcdData | undefined;
  record: NodeRecord | undefined;
  pauseMark: PauseMark | undefined;
  damaged: boolean;
  /** Every etcd that is started on it hangs. */
  hangs: boolean;
  unreadable: boolean;
  aside: { label: string; data: EtcdData | undefined }[];
}

export interface Machine {
  /** Name of the machine in the world. */
  readonly name: string;
  /** Name of the node (`--name`). Two machines may have the same. */
  readonly nodeName: string;
  /** Owner of the machine: unrelated clusters have different owners and stores. */
  readonly owner: string;
  address: string;
  disk: Disk;
  /** Data on a volume that is not mounted now. */
  unmounted: Disk | undefined;
  /** Offset of its wall clock. */
  wallSkewMs: number;
  /** Since when an operator holds recoveries here. */
  heldSinceMs: number | undefined;
  /** Level of its node's present wait. */
  waitLevel: string;
  settings: Settings;
  /** Undefined while the e2d process does not run. */
  node: NodeState | undefined;
  /** Grows with each start, so that no event of an earlier process reaches a later one. */
  life: number;
  paused: boolean;
  /** Events that arrived during a pause. */
  held: Event[];
  exitCode: number | undefined;
  status: "unknown" | "pending" | "running";
  slow: boolean;
  /** Verified downloads on disk: digest of the bootstrap → content. */
  prepared: Map<string, { values: readonly number[]; revision: number }>;
  /** Digest of the bootstrap for which data was last restored on this disk. */
  restored: string | undefined;
  /** Set by a story: its process is killed when this effect has been performed. */
  crashAfter: AnsweredEffect["kind"] | undefined;
  exported: { hash: string; values: readonly number[]; revision: number } | undefined;
  bootedMs: number;
  /** Version of the etcd that it runs, or ran last. */
  version: string;
  /** `--etcd-version`: the version of each new process. */
  configuredVersion: string;
  /** The version at the next start of etcd, unless data or cluster require another. */
  programs: string;
  /** Reclaimable space of its database, until a defragmentation. */
  freeBytes: number;
  /** Start time of the etcd that is being defragmented; it serves no read meanwhile. */
  defrag: { readonly startedMs: number; readonly untilMs: number } | undefined;
  /** A node of the Go original instead of ours. */
  readonly go: boolean;
  goNode: GoNode | undefined;
}

export interface StoredSnapshot {
  hash: string;
  values: readonly number[];
  revision: number;
  lineage: { id: string; epoch: number; token: string };
  takenAtWallMs: number;
  /** As StoredLife of lib/core. */
  branch?: string;
}

/** The content of a snapshot URL. */
export class Store {
  current: { kind: "absent" } | { kind: "unreadable"; why: string } | { kind: "newest"; snapshot: StoredSnapshot } = {
    kind: "absent",
  };
  epochMax = 0;
  /** All saved snapshots, oldest first. */
  readonly history: StoredSnapshot[] = [];
  /** Duration of each read while the store is slow. */
  delayMs = 0;
  /** Set while the store returns an older snapshot as the newest. */
  stale: StoredSnapshot | undefined;

  /** Removes the snapshots of lives with these tokens; false: there were none. */
  remove(tokens: ReadonlySet<string>): boolean {
    const kept = this.history.filter(({ lineage }) => !tokens.has(lineage.token));
    if (kept.length === this.history.length) return false;
    this.history.splice(0, this.history.length, ...kept);
    const snapshot = kept.at(-1);
    this.current = snapshot === undefined ? { kind: "absent" } : { kind: "newest", snapshot };
    this.epochMax = Math.max(0, ...kept.map(({ lineage }) => lineage.epoch));
    return true;
  }

  /** Another, empty URL. */
  replace(): void {
    this.history.splice(0);
    this.current = { kind: "absent" };
    this.epochMax = 0;
  }

  save(snapshot: StoredSnapshot): void {
    this.current = { kind: "newest", snapshot };
    this.history.push(snapshot);
    this.epochMax = Math.max(this.epochMax, snapshot.lineage.epoch);
  }
}

/** The default owner of machines. */
export const production = "production";
/** The owner of machines that are unrelated to production's. */
export const neighbours = "neighbours";

export interface MachineOptions {
  address?: string;
  nodeName?: string;
  owner?: string;
  settings?: Partial<Settings>;
  go?: boolean;
}

export interface WorldOptions {
  seed: number;
  /** Without randomness: every wait has its middle length. */
  calm?: boolean;
  size: number;
  trace?: (line: string) => void;
  settings?: Partial<Settings>;
  /** The real protocol with its packets in place of its faster model. Legacy peers need the model. */
  realGossip?: boolean;
}

export class SimulationFailure extends Error {}

interface Timed {
  atMs: number;
  order: number;
  run: () => void;
}

export class World {
  nowMs = 0;
  readonly machines = new Map<string, Machine>();
  readonly etcds: FakeEtcds;
  readonly gossip: GossipModel | RealGossip;
  readonly referee: Referee;
  readonly operators: Operators;
  /** "a b": packets from a to b are lost. */
  readonly cut = new Set<string>();
  /** Machines with blocked gossip and client ports; raft works. */
  readonly raftOnly = new Set<string>();
  /** Older states of disks, by machine. */
  readonly images = new Map<string, Disk>();
  readonly #stores = new Map<string, Store>();
  record: Map<string, { size: number; formerSizes: number[] }> = new Map();
  plans = new Map<string, Plan>();
  /** The lineage that each cluster stores, by cluster id. */
  lineages = new Map<string, Lineage>();
  /** The pause of each cluster that ever had one, by cluster id. */
  pauses = new Map<string, { paused: boolean; version: number }>();
  cleared = new Set<string>();
  /** Clusters that downgrade, and their target version: "3.6". */
  downgraded = new Map<string, string>();
  /** Decisions, waits and notices of the nodes. */
  readonly output: { ms: number; node: string; wait?: boolean; over?: boolean; text: string }[] = [];
  #queue: Timed[] = [];
  #order = 0;
  #state: number;
  /** Number of voters that the whole cluster must have. */
  size: number;
  readonly options: WorldOptions;
  steps = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.size = options.size;
    this.#state = (options.seed * 2654435761 + 12345) | 0;
    this.referee = new Referee(this);
    this.operators = new Operators(this);
    this.etcds = new FakeEtcds({
      nowMs: () => this.nowMs,
      random: () => this.random(),
      connected: (a, b) => this.raftConnected(a, b),
      versionOf: (node) => this.machines.get(node)!.version,
      downgradeOf: (clusterId) => this.downgraded.get(clusterId),
      onDowngraded: (clusterId) => this.downgraded.delete(clusterId),
      onLeader: (member) => this.referee.leaderElected(member),
      onRemoved: (member) => this.#etcdExit(member.node, 1, "member_removed"),
      onDiverged: (member, leader) => {
        if (this.referee.clusters.get(member.data.clusterId)?.untrusted !== true) {
          this.fail(`${member.name} would lose committed entries to ${leader.name}`);
        }
        this.etcds.stop(member.node);
        this.#etcdExit(member.node, 2, "panic");
      },
      trace: (text) => this.trace(text),
    });
    this.gossip = options.realGossip === true ? new RealGossip(this) : new GossipModel(this);
    this.every(100, () => {
      this.etcds.tick();
      this.referee.tick();
    });
    this.every(200, () => this.gossip.tick());
    this.every(250, () => this.#readiness());
  }

  storeOf(owner: string): Store {
    let store = this.#stores.get(owner);
    if (store === undefined) this.#stores.set(owner, store = new Store());
    return store;
  }

  /** Production's. */
  get store(): Store["current"] {
    return this.storeOf(production).current;
  }

  set store(current: Store["current"]) {
    this.storeOf(production).current = current;
  }

  set epochMax(epoch: number) {
    this.storeOf(production).epochMax = epoch;
  }

  random(): number {
    if (this.options.calm === true) return 0.5;
    // mulberry32
    let t = this.#state = (this.#state + 0x6d2b79f5) | 0;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  }

  below(limit: number): number {
    return Math.floor(this.random() * limit);
  }

  pick<T>(from: readonly T[]): T {
    return from[this.below(from.length)]!;
  }

  fail(what: string): never {
    throw new SimulationFailure(`${what} (at ${(this.nowMs / 1000).toFixed(1)} s)`);
  }

  trace(text: string): void {
    if (this.options.trace !== undefined) this.options.trace(`${(this.nowMs / 1000).toFixed(3).padStart(8)} ${text}`);
  }

  at(delayMs: number, run: () => void): void {
    const item = { atMs: this.nowMs + delayMs, order: this.#order++, run };
    // A binary heap by time, then by order of creation.
    const queue = this.#queue;
    queue.push(item);
    let i = queue.length - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(queue[i]!, queue[parent]!)) break;
      [queue[i], queue[parent]] = [queue[parent]!, queue[i]!];
      i = parent;
    }
  }

  every(ms: number, run: () => void): void {
    const again = () => {
      run();
      this.at(ms, again);
    };
    this.at(ms, again);
  }

  #pop(): Timed {
    const queue = this.#queue;
    const first = queue[0]!;
    const last = queue.pop()!;
    if (queue.length > 0) {
      queue[0] = last;
      let i = 0;
      for (;;) {
        let least = i;
        for (const child of [2 * i + 1, 2 * i + 2]) {
          if (child < queue.length && before(queue[child]!, queue[least]!)) least = child;
        }
        if (least === i) break;
        [queue[i], queue[least]] = [queue[least]!, queue[i]!];
        i = least;
      }
    }
    return first;
  }

  run(untilMs: number): void {
    while (this.#queue.length > 0 && this.#queue[0]!.atMs <= untilMs) {
      const item = this.#pop();
      this.nowMs = Math.max(this.nowMs, item.atMs);
      item.run();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  /** Packets pass in both directions between two machines. */
  connected(a: string, b: string): boolean {
    return a === b || !this.raftOnly.has(a) && !this.raftOnly.has(b) && this.raftConnected(a, b);
  }

  /** On the peer port. */
  raftConnected(a: string, b: string): boolean {
    return a === b || !this.cut.has(`${a} ${b}`) && !this.cut.has(`${b} ${a}`);
  }

  now(machine?: Machine) {
    return { monotonicMs: this.nowMs, wallMs: 1_700_000_000_000 + this.nowMs + (machine?.wallSkewMs ?? 0) };
  }

  addMachine(
    name: string,
    { address = name, nodeName = name, owner = production, settings = {}, go = false }: MachineOptions = {},
  ): Machine {
    const machine: Machine = {
      name,
      nodeName,
      owner,
      address,
      disk: emptyDisk(),
      unmounted: undefined,
      wallSkewMs: 0,
      heldSinceMs: undefined,
      waitLevel: "info",
      settings: {
        requiredSize: this.size,
        gossip: true,
        seeds: [],
        healthCheckTimeoutMs: 5_000,
        quorumLossTimeoutMs: "never",
        learnerStallTimeoutMs: 20_000,
        restore: "auto",
        approved: [],
        paused: false,
        snapshots: false,
        snapshotIntervalMs: 10_000,
        ...this.options.settings,
        ...settings,
      },
      node: undefined,
      life: 0,
      paused: false,
      held: [],
      exitCode: undefined,
      status: "unknown",
      slow: false,
      prepared: new Map(),
      restored: undefined,
      crashAfter: undefined,
      exported: undefined,
      bootedMs: 0,
      version: go ? "3.4.23" : "3.6.14",
      configuredVersion: "3.6.14",
      programs: "3.6.14",
      freeBytes: this.options.settings?.defrag === undefined ? 0 : 200 * 1_048_576,
      defrag: undefined,
      go,
      goNode: undefined,
    };
    this.machines.set(name, machine);
    return machine;
  }

  identity(machine: Machine) {
    return {
      name: machine.nodeName,
      peerUrl: `http://${machine.address}:2380`,
      clientUrl: `http://${machine.address}:2379`,
      gossipAddr: `${machine.address}:7980`,
    };
  }

  boot(machine: Machine): void {
    if (this.isUp(machine)) return;
    machine.life++;
    machine.paused = false;
    machine.held = [];
    machine.exitCode = undefined;
    machine.status = "unknown";
    // A starting process removes downloads that no pledge on disk names.
    for (const digest of machine.prepared.keys()) {
      if (!machine.disk.record?.pledges.some((pledge) => pledge.digest === digest)) machine.prepared.delete(digest);
    }
    machine.bootedMs = this.nowMs;
    machine.programs = machine.configuredVersion;
    this.trace(`${machine.name} boots at ${machine.address}`);
    if (machine.go) {
      machine.goNode = new GoNode(this, machine);
      this.gossip.boot(machine);
      return;
    }
    machine.node = createNode(
      this.identity(machine),
      machine.settings,
      `${machine.name} ${machine.life} ${this.options.seed}`,
      this.now(machine),
      machine.disk.pauseMark,
    );
    this.gossip.boot(machine);
    this.deliver(machine, { kind: "boot" });
  }

  /** Its etcd runs and answers nothing; `forGood`: each one that is started after it, too; `logs`: it still logs. */
  hang(machine: Machine, { forGood = false, logs = false } = {}): void {
    const member = this.memberOf(machine.name);
    machine.disk.hangs = forGood;
    if (member === undefined) return;
    member.frozen = true;
    const log = () => {
      if (this.memberOf(machine.name) !== member || !member.frozen) return;
      this.deliver(machine, { kind: "etcdLogged", busy: false });
      this.at(1_000, log);
    };
    if (logs) log();
  }

  /** `e2d restore approve` at this machine; false: its process has approved this plan before. */
  approve(machine: Machine, plan: string): boolean {
    if (machine.node?.settings.approved.includes(plan)) return false;
    this.operators.send(machine, { kind: "approve", plan, dryRun: false });
    return true;
  }

  /** The machine beside the etcd leader. */
  leading(): Machine | undefined {
    for (const member of this.etcds.running.values()) {
      if (member.leaderId === member.data.memberId) return this.machines.get(member.node);
    }
    return undefined;
  }

  isUp(machine: Machine): boolean {
    return machine.node !== undefined || machine.goNode !== undefined;
  }

  /** kill -9 of e2d and of its etcd. */
  kill(machine: Machine): void {
    if (!this.isUp(machine)) return;
    this.trace(`${machine.name} is killed`);
    this.etcds.stop(machine.name);
    this.gossip.silence(machine, "crash");
    machine.node = undefined;
    machine.goNode = undefined;
    machine.life++;
    machine.paused = false;
    machine.held = [];
  }

  loseDisk(machine: Machine): void {
    this.trace(`${machine.name} loses its disk`);
    this.referee.diskLost(machine);
    machine.prepared.clear();
    machine.restored = undefined;
    machine.disk = emptyDisk();
  }

  pause(machine: Machine, etcdToo: boolean): void {
    if (machine.node === undefined) return;
    this.trace(`${machine.name} is paused${etcdToo ? " with its etcd" : ""}`);
    machine.paused = true;
    const member = this.etcds.running.get(machine.name);
    if (etcdToo && member !== undefined) member.frozen = true;
  }

  resume(machine: Machine): void {
    if (!machine.paused) return;
    this.trace(`${machine.name} goes on`);
    machine.paused = false;
    const member = this.etcds.running.get(machine.name);
    if (member !== undefined) member.frozen = false;
    const held = machine.held;
    machine.held = [];
    for (const event of held) this.deliver(machine, event);
    this.gossip.resume(machine);
  }

  /** Delivers after `delayMs`, unless the process has ended by then. */
  later(machine: Machine, delayMs: number, run: () => void): void {
    const life = machine.life;
    this.at(delayMs, () => {
      if (machine.life === life && machine.node !== undefined) run();
    });
  }

  deliver(machine: Machine, event: Event): void {
    if (machine.node === undefined) return;
    if (machine.paused) {
      machine.held.push(event);
      return;
    }
    const before = machine.node;
    this.steps++;
    const { node, effects } = step(before, event, this.now(machine));
    machine.node = node;
    const broken = brokenInvariant(node);
    if (broken !== undefined) this.fail(`${machine.name} after "${event.kind}": not so: ${broken}`);
    for (const effect of effects) this.#effect(machine, effect);
  }

  #effect(machine: Machine, effect: Effect): void {
    if (effect.kind === "journal") {
      const { entry } = effect;
      if (entry.what === "waits") machine.waitLevel = entry.level;
      else if (entry.what === "decided") machine.waitLevel = "info";
      const verb = entry.what === "waits" ? "waits" : entry.outcome;
      const text = `${entry.reason.text}${entry.reason.hint === undefined ? "" : ` (hint: ${entry.reason.hint})`}`;
      this.output.push({
        ms: this.nowMs,
        node: machine.name,
        wait: entry.what === "waits",
        over: entry.outcome === "wait ended",
        text: `${(this.nowMs / 1000).toFixed(1)}s ${machine.name}: ${verb}  ${entry.reason.code}: ${text}`,
      });
      this.trace(
        `${machine.name} [${entry.phase}] ${entry.what} ${entry.outcome}: ${entry.reason.code}: ${entry.reason.text}`,
      );
      return;
    }
    perform(this, machine, effect);
  }

  #etcdExit(name: string, code: number, cause: string): void {
    const machine = this.machines.get(name)!;
    this.trace(`${name}'s etcd exits: ${cause}`);
    // The original ends with its etcd.
    if (machine.go) return this.kill(machine);
    this.later(machine, 5, () => this.deliver(machine, { kind: "etcdExited", code, cause }));
  }

  /** Stops the e2d process in order, as it requested. */
  exited(machine: Machine, code: number): void {
    machine.exitCode = code;
    machine.node = undefined;
    machine.life++;
    this.etcds.stop(machine.name);
    this.gossip.silence(machine, "leave");
  }

  /** The health check of each local etcd by its manager. */
  #readiness(): void {
    for (const member of this.etcds.running.values()) {
      const machine = this.machines.get(member.node)!;
      if (!this.isUp(machine) || member.frozen) continue;
      if (this.etcds.leaderOf(member) === undefined) continue;
      if (!this.etcds.publish(member)) continue;
      machine.goNode?.ready();
      if (machine.node?.ownEtcd.etcd.kind === "starting") this.deliver(machine, { kind: "etcd", state: "ready" });
    }
  }

  memberOf(name: string): Member | undefined {
    return this.etcds.running.get(name);
  }
}

const before = (a: Timed, b: Timed) => a.atMs < b.atMs || a.atMs === b.atMs && a.order < b.order;

export function emptyDisk(): Disk {
  return {
    data: undefined,
    record: undefined,
    pauseMark: undefined,
    hangs: false,
    damaged: false,
    unreadable: false,
    aside: [],
  };
}

export function copyOf(disk: Disk): Disk {
  const { data } = disk;
  return { ...disk, data: data === undefined ? undefined : { ...data, log: [...data.log] }, aside: [] };
}
