/**
 * The real gossip in the cluster simulation, in place of its model: lib/gossip's core and e2d's list of members on the
 * world's time and network. Facts go from each node to each other over streams, by the rules of the manager's channel:
 * immediately when they change or a peer appears, and again every few seconds.
 */
import type { HostPort } from "../../lib/ports.ts";
import { E2dMembers } from "../../lib/gossip/e2d/members.ts";
import { encodeMemberMeta, ownGeneration } from "../../lib/gossip/e2d/member_meta.ts";
import type { PushPull } from "../../lib/gossip/wire/message.ts";
import { decodeMessage } from "../../lib/gossip/wire/message_codec.ts";
import { decodeStatusMessage, encodeStatusMessage } from "../../lib/gossip/e2d/status_message.ts";
import { Swim } from "../../lib/gossip/swim/swim.ts";
import { lanConfig } from "../../lib/gossip/swim/config.ts";
import type { Endpoint, SwimEffect, SwimEvent } from "../../lib/gossip/swim/types.ts";
import type { Timer } from "./clock.ts";
import { VirtualNetwork } from "./network.ts";
import { Prng } from "./prng.ts";
import type { Machine, World } from "./world.ts";
import type { GossipPeer, NameConflict, PeerFacts } from "../../lib/core/facts/peer.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const streamTimeoutMs = 10_000;
/** The values of lib/gossip/e2d/gossip.ts and lib/manager/adapters/{facts_channel,gossip_adapter}.ts. */
const statusRepeatMs = 10_000;
const factsRepeatMs = 3_000;
const factsSilentMs = 4 * factsRepeatMs;
const leaveTimeoutMs = 2_000;

interface Note {
  readonly name: string;
  readonly life: number;
  readonly facts: PeerFacts;
}

/** The gossip of one e2d process. It may outlive the process for a moment, during its leave. */
interface Process {
  readonly machine: Machine;
  readonly life: number;
  readonly swim: Swim;
  readonly members: E2dMembers;
  readonly heard: Map<string, { note: Note; atMs: number }>;
  readonly sent: Map<string, { sequence: number; atMs: number }>;
  readonly sending: Set<string>;
  readonly held: (() => void)[];
  timer: Timer | undefined;
  status: Machine["status"];
  statusSaidMs: number;
  seeds: readonly string[];
  published: string;
  running: boolean;
}

export class RealGossip {
  readonly #world: World;
  readonly #random: Prng;
  readonly #network: VirtualNetwork<readonly Bytes[]>;
  readonly #processes = new Map<string, Process>();
  /** Addresses are names in the world; gossip has bytes. */
  readonly #addresses: string[] = [];
  /** Operators name seeds by address or by host name; gossip treats them differently. */
  readonly #seedNames: boolean;

  constructor(world: World) {
    this.#world = world;
    this.#random = new Prng(world.options.seed);
    this.#seedNames = this.#random.chance(0.5);
    this.#network = new VirtualNetwork({
      clock: {
        get nowMs() {
          return world.nowMs;
        },
        at: (atMs, run) => timer(world, atMs - world.nowMs, run),
        after: (delayMs, run) => timer(world, delayMs, run),
      },
      random: this.#random.fork(),
      conditions: {
        lossRate: this.#random.pick([0, 0.01, 0.049]),
        delayMinMs: 0.2,
        delayMaxMs: this.#random.pick([1, 20]),
        duplicateRate: 0.01,
        reorderRate: 0.02,
        reorderMs: 50,
      },
      passes: (from, to) => !world.cut.has(`${from} ${to}`),
      deliver: (to, packet, from) => this.#arrive(to, packet, from),
      door: (place) => {
        if (!world.machines.has(place)) return "gone";
        return this.#processes.has(place) ? "open" : "refuses";
      },
    });
  }

  boot(machine: Machine): void {
    // A machine that was replaced while it was down is cut off from all.
    if (this.#world.machines.get(machine.name) !== machine) return;
    this.#end(machine.name);
    const process: Process = {
      machine,
      life: machine.life,
      swim: new Swim({
        name: machine.nodeName,
        advertise: this.#endpoint(machine.address),
        meta: this.#meta(machine),
        config: lanConfig,
        random: ((chance) => () => chance.float())(this.#random.fork()),
        nowMs: this.#world.nowMs,
      }),
      members: new E2dMembers(),
      heard: new Map(),
      sent: new Map(),
      sending: new Set(),
      held: [],
      timer: undefined,
      status: machine.status,
      statusSaidMs: -Infinity,
      seeds: [],
      published: "",
      running: true,
    };
    this.#processes.set(machine.name, process);
    this.#look(process);
  }

  /** A crash is detected by silence; a leave is announced, for at most the time that a stop waits for it. */
  silence(machine: Machine, how: "crash" | "leave"): void {
    const process = this.#processes.get(machine.name);
    if (process === undefined) return;
    if (how === "crash" || machine.paused) return this.#end(machine.name);
    this.#world.at(leaveTimeoutMs, () => {
      if (this.#processes.get(machine.name) === process) this.#end(machine.name);
    });
    this.#feed(process, { kind: "leave" });
  }

  shun(machine: Machine, names: readonly string[]): void {
    const process = this.#processes.get(machine.name);
    // The core is in a step now.
    if (process !== undefined) this.#world.at(0, () => this.#inside(process, { kind: "shun", names }));
  }

  resume(machine: Machine): void {
    const process = this.#processes.get(machine.name);
    if (process === undefined) return;
    if (process.swim.wakeAtMs <= this.#world.nowMs) this.#feed(process, { kind: "wake" });
    for (const run of process.held.splice(0)) if (process.running) run();
  }

  /** The periodic work of a process besides gossip's own timers. */
  tick(): void {
    for (const process of [...this.#processes.values()]) if (!process.machine.paused) this.#look(process);
  }

  #look(process: Process): void {
    const { machine } = process, { nowMs } = this.#world;
    // During its leave it sends nothing new.
    if (process.life !== machine.life) return;
    if (machine.settings.seeds !== process.seeds) {
      process.seeds = machine.settings.seeds;
      this.#feed(process, { kind: "setSeeds", seeds: process.seeds.map((seed) => this.#seed(seed)) });
    }
    if (machine.status !== process.status) {
      process.status = machine.status;
      process.statusSaidMs = -Infinity;
      this.#feed(process, { kind: "setMeta", meta: this.#meta(machine) });
    }
    if (nowMs - process.statusSaidMs >= statusRepeatMs) this.#announce(process);
    this.#tellFacts(process);
    this.#tellNode(process);
  }

  #announce(process: Process): void {
    process.statusSaidMs = this.#world.nowMs;
    const data = encodeStatusMessage({ name: process.machine.nodeName, status: process.status });
    this.#feed(process, { kind: "broadcast", data, key: "status" });
  }

  #tellFacts(process: Process): void {
    const { machine, members, sent, sending } = process, { nowMs } = this.#world;
    const facts = machine.node?.gossip.facts;
    if (facts === undefined || process.life !== machine.life) return;
    const peers = new Set(
      members.list().filter(({ name, state }) =>
        name !== machine.nodeName && (state === "alive" || state === "suspect")
      )
        .map(({ name }) => name),
    );
    for (const name of sent.keys()) if (!peers.has(name)) sent.delete(name);
    for (const to of peers) {
      const last = sent.get(to);
      if (last !== undefined && last.sequence === facts.sequence && nowMs - last.atMs < factsRepeatMs) continue;
      if (sending.has(to)) continue;
      sent.set(to, { sequence: facts.sequence, atMs: nowMs });
      sending.add(to);
      const note: Note = { name: machine.nodeName, life: process.life, facts };
      const at = process.swim.members().find(({ name }) => name === to);
      const place = at && this.#placeOf(at);
      if (place === undefined) {
        this.#world.at(streamTimeoutMs, () => sending.delete(to));
        continue;
      }
      this.#network.exchange({
        from: machine.name,
        to: place,
        timeoutMs: streamTimeoutMs,
        serve: (answer) => {
          answer();
          this.#reach(place, (server) => this.#hear(server, note));
        },
        done: () => sending.delete(to),
      });
    }
  }

  #hear(process: Process, note: Note): void {
    if (note.name === process.machine.nodeName) return;
    const { nowMs } = this.#world;
    const known = process.heard.get(note.name);
    if (known !== undefined) {
      const replaces = note.life === known.note.life
        ? note.facts.sequence >= known.note.facts.sequence
        : note.life > known.note.life || nowMs - known.atMs > factsSilentMs;
      if (!replaces) return;
    }
    process.heard.set(note.name, { note, atMs: nowMs });
    if (known?.note.life !== note.life) {
      process.sent.delete(note.name);
      this.#tellFacts(process);
    }
    this.#tellNode(process);
  }

  /** One event with all members, if they have changed. */
  #tellNode(process: Process): void {
    const { machine } = process;
    if (process.life !== machine.life) return;
    const peers: GossipPeer[] = [];
    for (const member of process.members.list()) {
      if (member.name === machine.nodeName) continue;
      const facts = process.heard.get(member.name)?.note.facts;
      peers.push({ ...member, ...(facts === undefined ? {} : { facts }) });
    }
    let text = "";
    for (const { name, gossipAddr, state, sinceMs, status } of peers) {
      const note = process.heard.get(name)?.note;
      text += `${name} ${gossipAddr} ${state} ${sinceMs} ${status} ${note?.life} ${note?.facts.sequence};`;
    }
    const conflicts = this.#conflicts(process);
    for (const { name, addresses } of conflicts) text += `${name} ${addresses};`;
    if (text === process.published) return;
    process.published = text;
    this.#world.deliver(machine, {
      kind: "gossip",
      joined: peers.length > 0,
      peers,
      ...(conflicts.length === 0 ? {} : { conflicts }),
    });
  }

  #conflicts({ swim }: Process): NameConflict[] {
    const at = ({ address }: Endpoint) => `${this.#addresses[address[2]! << 8 | address[3]!]}:7980`;
    return swim.conflicts().map(({ name, holder, claimer }) => ({ name, addresses: [at(holder), at(claimer)] }));
  }

  #end(name: string): void {
    const process = this.#processes.get(name);
    if (process === undefined) return;
    process.running = false;
    process.timer?.cancel();
    this.#processes.delete(name);
  }

  #feed(process: Process, event: SwimEvent): void {
    if (!process.running) return;
    for (const effect of process.swim.step(event, this.#world.nowMs)) this.#perform(process, effect);
    if (process.running) this.#arm(process);
  }

  #arm(process: Process): void {
    const dueMs = process.swim.wakeAtMs;
    if (process.timer !== undefined && process.timer.atMs <= dueMs) return;
    process.timer?.cancel();
    process.timer = timer(this.#world, Math.max(0, dueMs - this.#world.nowMs), () => {
      process.timer = undefined;
      if (!process.running || process.machine.paused) return;
      if (process.swim.wakeAtMs > this.#world.nowMs) this.#arm(process);
      else this.#feed(process, { kind: "wake" });
    });
  }

  #perform(process: Process, effect: SwimEffect): void {
    const { name } = process.machine;
    switch (effect.kind) {
      case "send": {
        const to = this.#placeOf(effect.to);
        if (to !== undefined) this.#network.send(name, to, effect.messages);
        return;
      }
      case "pushPull":
        return this.#exchange(process, this.#placeOf(effect.to), effect.join, undefined);
      case "pushPullSeed":
        return this.#exchange(process, this.#placeOfHost(effect.to.host), effect.join, effect.to);
      case "streamPing":
        return this.#streamPing(process, effect);
      case "member":
        return this.#memberChanged(process, effect);
      case "user": {
        const message = decodeStatusMessage(effect.data);
        if (message.name === process.machine.nodeName || !process.members.applyStatus(message, this.#world.nowMs)) {
          return;
        }
        this.#world.at(0, () => this.#running(process, () => this.#tellNode(process)));
        return;
      }
      case "conflicts":
        this.#world.at(0, () => this.#running(process, () => this.#tellNode(process)));
        return;
      case "log":
        return this.#world.trace(`${name}'s gossip: ${effect.text} (${effect.about})`);
      case "leaveBroadcast":
        if (this.#processes.get(name) === process) this.#end(name);
        return;
      default:
        return effect satisfies never;
    }
  }

  #streamPing(process: Process, { to: target, ping, timeoutMs }: Extract<SwimEffect, { kind: "streamPing" }>): void {
    const to = this.#placeOf(target);
    if (to === undefined) return;
    this.#network.exchange({
      from: process.machine.name,
      to,
      timeoutMs,
      serve: (answer) => this.#reach(to, (server) => ping.node === server.machine.nodeName && answer()),
      done: (outcome) => {
        if (outcome !== "answered") return;
        this.#inside(process, { kind: "streamPingAnswered", sequence: ping.sequence });
      },
    });
  }

  #memberChanged(process: Process, { change, member }: Extract<SwimEffect, { kind: "member" }>): void {
    const world = this.#world;
    world.trace(`${process.machine.name}'s gossip: ${member.name} ${change} (${member.incarnation})`);
    const changed = change === "forgotten"
      ? process.members.forget(member.name)
      : process.members.applyRecord({ ...member }, world.nowMs);
    // Both would call the core again, which is in a step now.
    world.at(0, () =>
      this.#running(process, () => {
        if (change === "joined" && member.name !== process.machine.nodeName) this.#announce(process);
        if (changed) this.#tellFacts(process);
        this.#tellNode(process);
      }));
  }

  #exchange(process: Process, to: string | undefined, join: boolean, seed: HostPort | undefined): void {
    const asked = seed === undefined ? {} : { seed };
    if (to === undefined) {
      this.#world.at(streamTimeoutMs, () => this.#inside(process, { kind: "pushPullFailed", ...asked }));
      return;
    }
    const mine = process.swim.state(join);
    let theirs: PushPull | undefined;
    this.#network.exchange({
      from: process.machine.name,
      to,
      timeoutMs: streamTimeoutMs,
      serve: (answer) =>
        this.#reach(to, (server) => {
          theirs = server.swim.state(join);
          answer();
          this.#feed(server, { kind: "pushPull", state: mine });
        }),
      done: (outcome) =>
        this.#inside(
          process,
          outcome === "answered" && theirs !== undefined
            ? { kind: "pushPull", state: theirs, ...asked }
            : { kind: "pushPullFailed", ...asked },
        ),
    });
  }

  #arrive(to: string, packet: readonly Bytes[], from: string): void {
    const sender = this.#world.machines.get(from);
    if (sender === undefined) return;
    const endpoint = this.#endpoint(sender.address);
    this.#reach(
      to,
      (process) => this.#feed(process, { kind: "packet", messages: packet.map(decodeMessage), from: endpoint }),
    );
  }

  /** Runs `act` in the process at a place, or when that process resumes. */
  #reach(place: string, act: (it: Process) => void): void {
    const process = this.#processes.get(place);
    if (process !== undefined) this.#running(process, () => act(process));
  }

  #inside(process: Process, event: SwimEvent): void {
    this.#running(process, () => this.#feed(process, event));
  }

  #running(process: Process, act: () => void): void {
    if (!process.running) return;
    if (process.machine.paused) process.held.push(act);
    else act();
  }

  #meta(machine: Machine): Bytes {
    return encodeMemberMeta({ ...this.#world.identity(machine), status: machine.status, generation: ownGeneration });
  }

  #endpoint(address: string): Endpoint {
    let at = this.#addresses.indexOf(address);
    if (at < 0) at = this.#addresses.push(address) - 1;
    return { address: Uint8Array.of(10, 0, at >> 8, at & 255), port: 7980 };
  }

  #seed(text: string): HostPort {
    const host = text.slice(0, text.lastIndexOf(":"));
    return { host: this.#seedNames ? host : this.#endpoint(host).address.join("."), port: 7980 };
  }

  #placeOf({ address }: Endpoint): string | undefined {
    return this.#placeOfHost(this.#addresses[address[2]! << 8 | address[3]!]);
  }

  /** The machine with this address now. */
  #placeOfHost(host: string | undefined): string | undefined {
    const bytes = host === undefined ? undefined : /^10\.0\.(\d+)\.(\d+)$/.exec(host);
    const address = bytes ? this.#addresses[Number(bytes[1]) << 8 | Number(bytes[2])] : host;
    for (const machine of this.#world.machines.values()) if (machine.address === address) return machine.name;
    return undefined;
  }
}

function timer(world: World, delayMs: number, run: () => void): Timer {
  let cancelled = false;
  const atMs = world.nowMs + Math.max(0, delayMs);
  if (atMs < Infinity) world.at(atMs - world.nowMs, () => cancelled || run());
  return { atMs, cancel: () => void (cancelled = true) };
}
