/**
 * A whole cluster in one process: machines with disks, a network that can be cut, the real core of every node, and
 * fakes of what is around it. One seed gives one history, event for event.
 */
import type { Effect } from "../../lib/core/effect.ts";
import type { Event } from "../../lib/core/event.ts";
import { createNode, type Node, step, viewOf } from "../../lib/core/node.ts";
import { planScale } from "../../lib/core/plan_scale.ts";
import { planUpgrade } from "../../lib/core/plan_upgrade.ts";
import type { Settings } from "../../lib/core/view.ts";
import { type EtcdData, FakeEtcds, hashText, type Member } from "./fake_etcd.ts";
import { GoNode } from "./go_node.ts";
import { GossipModel } from "./gossip_model.ts";
import { RealGossip } from "./gossip_real.ts";
import { perform } from "./perform.ts";
import { Referee } from "./referee.ts";
import type { NodeRecord } from "../../lib/core/view.ts";
import type { Plan } from "../../lib/core/plan.ts";

export interface Disk {
  data: EtcdData | undefined;
  record: NodeRecord | undefined;
  damaged: boolean;
  unreadable: boolean;
  aside: { label: string; data: EtcdData | undefined }[];
}

export interface Machine {
  readonly name: string;
  address: string;
  disk: Disk;
  settings: Settings;
  /** Undefined while the e2d process does not run. */
  node: Node | undefined;
  /** Grows with each start, so that nothing meant for an earlier process reaches a later one. */
  life: number;
  paused: boolean;
  /** Events that came while paused. */
  held: Event[];
  exitCode: number | undefined;
  status: "unknown" | "pending" | "running";
  slow: boolean;
  /** What was downloaded and verified: hash → content. */
  prepared: Map<string, { values: readonly number[]; revision: number }>;
  exported: { hash: string; values: readonly number[]; revision: number } | undefined;
  bootedMs: number;
  /** Of the etcd that it runs. */
  version: string;
  /** Of its database; goes with a defragmentation. */
  freeBytes: number;
  /** The defragmentation that the etcd started then is at, during which it serves no read. */
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
}

export interface WorldOptions {
  seed: number;
  /** Nothing is left to chance: every wait has its middle length. */
  calm?: boolean;
  size: number;
  trace?: (line: string) => void;
  settings?: Partial<Settings>;
  /** The real protocol with its packets in place of the faster model of it. Nodes of the Go original need the model. */
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
  /** "a b": packets from a to b are lost. */
  readonly cut = new Set<string>();
  store: { kind: "absent" } | { kind: "unreadable"; why: string } | { kind: "newest"; snapshot: StoredSnapshot } = {
    kind: "absent",
  };
  epochMax = 0;
  record: Map<string, { size: number; formerSizes: number[] }> = new Map();
  plans = new Map<string, Plan>();
  cleared = new Set<string>();
  /** Clusters whose data was made an older version's, and which: "3.6". */
  downgraded = new Map<string, string>();
  /** What the nodes decided, waited for and noticed. */
  readonly said: { ms: number; node: string; wait?: boolean; over?: boolean; text: string }[] = [];
  #queue: Timed[] = [];
  #order = 0;
  #state: number;
  /** Voters that the whole cluster is to have. */
  size: number;
  readonly options: WorldOptions;
  steps = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.size = options.size;
    this.#state = (options.seed * 2654435761 + 12345) | 0;
    this.referee = new Referee(this);
    this.etcds = new FakeEtcds({
      nowMs: () => this.nowMs,
      random: () => this.random(),
      connected: (a, b) => this.connected(a, b),
      onLeader: (member) => this.referee.leaderElected(member),
      onRemoved: (member) => this.#etcdExit(member.node, 1, "member_removed"),
      fail: (what) => this.fail(what),
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
    // A binary heap by time, then by order of asking.
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

  /** Packets go both ways between two machines. */
  connected(a: string, b: string): boolean {
    return a === b || !this.cut.has(`${a} ${b}`) && !this.cut.has(`${b} ${a}`);
  }

  now() {
    return { monotonicMs: this.nowMs, wallMs: 1_700_000_000_000 + this.nowMs };
  }

  addMachine(name: string, address = name, settings: Partial<Settings> = {}, go = false): Machine {
    const machine: Machine = {
      name,
      address,
      disk: emptyDisk(),
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
      exported: undefined,
      bootedMs: 0,
      version: "3.6.14",
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
      name: machine.name,
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
    machine.prepared.clear();
    machine.bootedMs = this.nowMs;
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
      this.now(),
    );
    this.gossip.boot(machine);
    this.deliver(machine, { kind: "boot" });
  }

  /** `e2d scale` or `e2d upgrade` at this machine: the refusal, or undefined when the plan was handed in. */
  request(machine: Machine, what: { scale: number } | { upgrade: string }): string | undefined {
    const { node } = machine;
    const own = node?.endpoints.get(this.identity(machine).clientUrl)?.last;
    if (node === undefined || own?.kind !== "answer") return "the node has no etcd";
    if (this.plans.has(own.clusterId) || node.requested !== undefined) return "another plan is not done";
    const view = viewOf(node, this.now());
    // The command asks every member itself; here the leader's node has done that.
    const id = hashText(`plan ${this.nowMs}`);
    const outcome = "scale" in what ? planScale(view, own, what.scale, id) : planUpgrade(view, own, what.upgrade, id);
    if (outcome.kind === "refused") return outcome.why;
    this.deliver(machine, { kind: "request", plan: outcome.plan });
    return undefined;
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

  /** kill -9 of e2d and, with it, of its etcd. */
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

  /** After `delayMs`, unless the process it is meant for has gone by then. */
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
    const { node, effects } = step(before, event, this.now());
    machine.node = node;
    for (const effect of effects) this.#effect(machine, effect);
  }

  #effect(machine: Machine, effect: Effect): void {
    if (effect.kind === "journal") {
      const { entry } = effect;
      const verb = entry.what === "waits" ? "waits" : entry.outcome;
      const text = `${entry.reason.text}${entry.reason.hint === undefined ? "" : ` (hint: ${entry.reason.hint})`}`;
      this.said.push({
        ms: this.nowMs,
        node: machine.name,
        wait: entry.what === "waits",
        over: entry.outcome === "goes on",
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

  /** Stops the e2d process in order: it asked for it. */
  exited(machine: Machine, code: number): void {
    machine.exitCode = code;
    machine.node = undefined;
    machine.life++;
    this.etcds.stop(machine.name);
    this.gossip.silence(machine, "leave");
  }

  /** The manager's health question to each local etcd. */
  #readiness(): void {
    for (const member of this.etcds.running.values()) {
      const machine = this.machines.get(member.node)!;
      if (!this.isUp(machine) || member.frozen) continue;
      if (this.etcds.leaderOf(member) === undefined) continue;
      if (!this.etcds.publish(member)) continue;
      machine.goNode?.ready();
      if (machine.node?.etcd.kind === "starting") this.deliver(machine, { kind: "etcd", state: "ready" });
    }
  }

  memberOf(name: string): Member | undefined {
    return this.etcds.running.get(name);
  }
}

const before = (a: Timed, b: Timed) => a.atMs < b.atMs || a.atMs === b.atMs && a.order < b.order;

export function emptyDisk(): Disk {
  return { data: undefined, record: undefined, damaged: false, unreadable: false, aside: [] };
}
