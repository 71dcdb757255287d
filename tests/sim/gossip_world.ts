/**
 * Clusters of real gossip cores on virtual time and a virtual network. Packets are encoded as bytes; streams transfer
 * values. A process may be paused, killed, restarted or have its clock set forward.
 */
import type { HostPort } from "../../lib/ports.ts";
import { compoundHeaderBytes, compoundPartOverheadBytes, compoundPartsMax } from "../../lib/gossip/wire/compound.ts";
import type { Message, PushPull } from "../../lib/gossip/wire/message.ts";
import { decodeMessage } from "../../lib/gossip/wire/message_codec.ts";
import { Swim } from "../../lib/gossip/swim/swim.ts";
import { lanConfig, type SwimConfig } from "../../lib/gossip/swim/config.ts";
import type { Endpoint, SwimEffect, SwimEvent } from "../../lib/gossip/swim/types.ts";
import { type Timer, VirtualClock } from "./clock.ts";
import { GossipReferee } from "./gossip_referee.ts";
import { type LinkConditions, VirtualNetwork } from "./network.ts";
import { Prng } from "./prng.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** TCPTimeout of memberlist: the time of one exchange of states. */
const streamTimeoutMs = 10_000;
/** Packets that a socket buffers for a process that does not read. */
const heldMax = 2000;

/** One run of e2d on a machine. */
export interface Process {
  readonly name: string;
  readonly swim: Swim;
  /** Local monotonic time is the world's plus this. */
  offsetMs: number;
  paused: boolean;
  /** Packets that the kernel buffers for a process that does not run. */
  readonly held: (() => void)[];
  timer: Timer | undefined;
  running: boolean;
}

export interface Machine {
  readonly name: string;
  endpoint: Endpoint;
  /** Switched off: it does not even refuse connections. */
  off: boolean;
  process: Process | undefined;
  meta: Bytes;
}

export interface GossipWorldOptions {
  seed: number;
  config?: Partial<SwimConfig>;
  conditions?: LinkConditions;
  trace?: (line: string) => void;
}

export class GossipWorld {
  readonly clock = new VirtualClock();
  readonly random: Prng;
  readonly network: VirtualNetwork<readonly Bytes[]>;
  readonly machines = new Map<string, Machine>();
  readonly referee: GossipReferee;
  readonly config: SwimConfig;
  /** The seeds of every node without an entry in `seedsOf`. */
  seeds: HostPort[] = [];
  readonly seedsOf = new Map<string, readonly HostPort[]>();
  /** Steps of cores. */
  steps = 0;
  readonly received = new Map<string, number>();
  readonly #trace: ((line: string) => void) | undefined;
  readonly #byEndpoint = new Map<string, string>();
  #nextAddress = 1;
  /** Wake-ups come a little late, as on any machine. */
  readonly #lateness: Prng;

  constructor({ seed, config = {}, conditions, trace }: GossipWorldOptions) {
    this.random = new Prng(seed);
    this.#lateness = this.random.fork();
    this.#trace = trace;
    this.config = { ...lanConfig, ...config };
    this.referee = new GossipReferee(this);
    this.network = new VirtualNetwork({
      clock: this.clock,
      random: this.random.fork(),
      ...conditions && { conditions },
      deliver: (to, packet, from) => this.#arrive(to, packet, from),
      door: (place) => {
        const machine = this.machines.get(place)!;
        return machine.off ? "gone" : machine.process === undefined ? "refuses" : "open";
      },
    });
  }

  trace(text: string): void {
    this.#trace?.(`${(this.clock.nowMs / 1000).toFixed(3).padStart(10)} ${text}`);
  }

  addMachine(name: string): Machine {
    const at = this.#nextAddress++;
    const machine: Machine = {
      name,
      endpoint: { address: Uint8Array.of(10, 0, at >> 8, at & 255), port: 7980 },
      off: false,
      process: undefined,
      meta: metaOf(0),
    };
    this.machines.set(name, machine);
    this.#byEndpoint.set(keyOf(machine.endpoint), name);
    return machine;
  }

  /** Moves a machine whose process does not run to another address; seeds follow it, like names in DNS. */
  move(machine: Machine): void {
    const old = this.hostPort(machine);
    this.#byEndpoint.delete(keyOf(machine.endpoint));
    const at = this.#nextAddress++;
    machine.endpoint = { address: Uint8Array.of(10, 0, at >> 8, at & 255), port: 7980 };
    this.#byEndpoint.set(keyOf(machine.endpoint), machine.name);
    this.seeds = this.seeds.map((seed) => seed.host === old.host ? this.hostPort(machine) : seed);
    this.trace(`${machine.name} moves from ${old.host} to ${machine.endpoint.address.join(".")}`);
    for (const { process } of this.live()) this.#inside(process!, { kind: "setSeeds", seeds: this.seeds });
  }

  hostPort({ endpoint: { address, port } }: Machine): HostPort {
    return { host: address.join("."), port };
  }

  live(): Machine[] {
    return [...this.machines.values()].filter((machine) => machine.process !== undefined);
  }

  start(machine: Machine): void {
    if (machine.process !== undefined) return;
    machine.off = false;
    const offsetMs = this.random.between(0, 1e6);
    const process: Process = {
      name: machine.name,
      swim: new Swim({
        name: machine.name,
        advertise: machine.endpoint,
        meta: machine.meta,
        config: this.config,
        random: ((chance) => () => chance.float())(this.random.fork()),
        nowMs: this.clock.nowMs + offsetMs,
      }),
      offsetMs,
      paused: false,
      held: [],
      timer: undefined,
      running: true,
    };
    machine.process = process;
    this.referee.touched(machine.name, "started");
    this.trace(`${machine.name} starts`);
    this.#feed(process, { kind: "setSeeds", seeds: this.seedsOf.get(machine.name) ?? this.seeds });
  }

  /** SIGKILL, or with `off` a power failure, after which the machine does not even refuse connections. */
  kill(machine: Machine, how: { off: boolean } = { off: false }): void {
    const { process } = machine;
    if (process === undefined) return;
    this.trace(`${machine.name} is killed`);
    this.#end(machine, process);
    machine.off = how.off;
  }

  /** Announces its leave and ends as soon as that is done. */
  leave(machine: Machine): void {
    if (machine.process === undefined || machine.process.paused) return;
    this.trace(`${machine.name} leaves`);
    this.referee.left(machine.name, machine.process.swim.self.incarnation);
    this.#feed(machine.process, { kind: "leave" });
  }

  pause({ process }: Machine): void {
    if (process === undefined || process.paused) return;
    this.trace(`${process.name} is paused`);
    this.referee.touched(process.name, "paused");
    process.paused = true;
  }

  /** Resumes: overdue timers fire first, then the waiting packets are read, as in a real event loop. */
  resume({ process }: Machine): void {
    if (process === undefined || !process.paused) return;
    this.trace(`${process.name} goes on`);
    this.referee.touched(process.name, undefined);
    process.paused = false;
    if (process.swim.wakeAtMs <= this.#localMs(process)) this.#feed(process, { kind: "wake" });
    for (const run of process.held.splice(0)) {
      if (process.running) run();
    }
  }

  /** The local clock jumps forward, as after a suspend of the machine. */
  stepClock({ process }: Machine, byMs: number): void {
    if (process === undefined) return;
    this.trace(`the clock of ${process.name} jumps by ${byMs} ms`);
    process.offsetMs += byMs;
    this.#arm(process);
  }

  setMeta(machine: Machine, meta: Bytes): void {
    machine.meta = meta;
    if (machine.process !== undefined) this.#inside(machine.process, { kind: "setMeta", meta });
  }

  /** The result of e2d's core: these members belong to another cluster. */
  shun({ process }: Machine, names: readonly string[]): void {
    if (process !== undefined) this.#inside(process, { kind: "shun", names });
  }

  broadcast({ process }: Machine, data: Bytes, key: string): void {
    if (process !== undefined) this.#inside(process, { kind: "broadcast", data, key });
  }

  /** Drops all packets between the two sides, or with `oneWay` those from the first to the second. */
  partition(first: readonly Machine[], second: readonly Machine[], { oneWay = false } = {}): void {
    for (const a of first) {
      for (const b of second) {
        if (a === b) continue;
        this.network.block(a.name, b.name);
        if (!oneWay) this.network.block(b.name, a.name);
        this.referee.touched(a.name, "cut");
        this.referee.touched(b.name, "cut");
      }
    }
    const names = (side: readonly Machine[]) => side.map(({ name }) => name).join(" ");
    this.trace(`cut: ${names(first)} ${oneWay ? "->" : "<->"} ${names(second)}`);
  }

  healNetwork(): void {
    this.trace("the network is whole again");
    this.network.unblockAll();
    this.referee.healed();
  }

  #localMs(process: Process): number {
    return this.clock.nowMs + process.offsetMs;
  }

  #end(machine: Machine, process: Process): void {
    process.running = false;
    process.timer?.cancel();
    machine.process = undefined;
    this.referee.touched(machine.name, "stopped");
  }

  #arm(process: Process): void {
    const dueMs = process.swim.wakeAtMs - process.offsetMs;
    if (process.timer !== undefined && process.timer.atMs <= dueMs) return;
    process.timer?.cancel();
    process.timer = this.clock.at(dueMs + this.#lateness.between(0, 2), () => {
      process.timer = undefined;
      if (!process.running) return;
      if (process.paused) return;
      if (process.swim.wakeAtMs > this.#localMs(process)) this.#arm(process);
      else this.#feed(process, { kind: "wake" });
    });
  }

  #feed(process: Process, event: SwimEvent): void {
    if (!process.running) return;
    this.steps++;
    const { swim } = process;
    const incarnation = swim.self.incarnation;
    const effects = swim.step(event, this.#localMs(process));
    this.referee.own(process, incarnation);
    for (const effect of effects) this.#perform(process, effect);
    if (process.running) this.#arm(process);
  }

  /** Runs `act` in the process, or when it resumes. */
  #reach(name: string, act: (it: Process) => void): void {
    const process = this.machines.get(name)?.process;
    if (process === undefined) return;
    if (!process.paused) return act(process);
    if (process.held.length < heldMax) process.held.push(() => act(process));
  }

  #arrive(to: string, packet: readonly Bytes[], from: string): void {
    this.#reach(to, (process) =>
      this.#feed(process, {
        kind: "packet",
        messages: packet.map(decoded),
        from: this.machines.get(from)!.endpoint,
      }));
  }

  #perform(process: Process, effect: SwimEffect): void {
    const { name } = process;
    switch (effect.kind) {
      case "send": {
        this.#checkPacket(effect.messages);
        const to = this.#byEndpoint.get(keyOf(effect.to));
        if (to !== undefined) this.network.send(name, to, effect.messages);
        return;
      }
      case "pushPull": {
        const to = this.#byEndpoint.get(keyOf(effect.to));
        return this.#exchange(process, to, effect.join, undefined);
      }
      case "pushPullSeed": {
        const to = this.#byEndpoint.get(`${effect.to.host}:${effect.to.port}`);
        return this.#exchange(process, to, effect.join, effect.to);
      }
      case "streamPing": {
        const to = this.#byEndpoint.get(keyOf(effect.to));
        if (to === undefined) return;
        return this.network.exchange({
          from: name,
          to,
          timeoutMs: effect.timeoutMs,
          serve: (answer) => this.#reach(to, () => effect.ping.node === to && answer()),
          done: (outcome) => {
            if (outcome !== "answered") return;
            this.#inside(process, { kind: "streamPingAnswered", sequence: effect.ping.sequence });
          },
        });
      }
      case "member":
        this.trace(`${name}: ${effect.member.name} ${effect.change} (${effect.member.incarnation})`);
        return this.referee.changed(process, effect.change, effect.member);
      case "user":
        this.received.set(name, (this.received.get(name) ?? 0) + 1);
        return;
      case "conflicts":
        return this.trace(`${name}: ${process.swim.conflicts().length} names are claimed twice`);
      case "log":
        return this.trace(`${name}: ${effect.text} (${effect.about})`);
      case "leaveBroadcast": {
        const machine = this.machines.get(name)!;
        if (machine.process === process) this.#end(machine, process);
        return;
      }
      default:
        return effect satisfies never;
    }
  }

  #exchange(process: Process, to: string | undefined, join: boolean, seed: HostPort | undefined): void {
    const asked = seed === undefined ? {} : { seed };
    if (to === undefined) {
      this.clock.after(streamTimeoutMs, () => this.#inside(process, { kind: "pushPullFailed", ...asked }));
      return;
    }
    const mine = process.swim.state(join);
    let theirs: PushPull | undefined;
    this.network.exchange({
      from: process.name,
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

  /** Runs `act` for this process, which may be paused or have ended by now. */
  #inside(process: Process, event: SwimEvent): void {
    if (!process.running) return;
    if (process.paused) process.held.push(() => this.#feed(process, event));
    else this.#feed(process, event);
  }

  #checkPacket(messages: readonly Bytes[]): void {
    let bytes = compoundHeaderBytes + this.config.packetOverheadBytes;
    for (const message of messages) bytes += message.length + compoundPartOverheadBytes;
    if (bytes > this.config.packetBytesMax) this.referee.fail(`a packet of ${bytes} bytes is sent`);
    if (messages.length === 0 || messages.length > compoundPartsMax) {
      this.referee.fail(`a packet of ${messages.length} messages is sent`);
    }
  }
}

/** A broadcast goes to many nodes as the same bytes, which are decoded only once. */
const decodedOnce = new WeakMap<Bytes, Message>();

function decoded(bytes: Bytes): Message {
  let message = decodedOnce.get(bytes);
  if (message === undefined) decodedOnce.set(bytes, message = decodeMessage(bytes));
  return message;
}

export function metaOf(version: number): Bytes {
  const meta = new Uint8Array(240);
  new DataView(meta.buffer).setUint32(0, version);
  return meta;
}

function keyOf({ address, port }: Endpoint): string {
  return `${address[0]}.${address[1]}.${address[2]}.${address[3]}:${port}`;
}
