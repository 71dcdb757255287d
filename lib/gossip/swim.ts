/**
 * The gossip core: SWIM with Lifeguard as memberlist speaks it. `step` takes in one event and gives what is to be done;
 * it reads no clock, opens no socket and throws no dice of its own, so a whole cluster of cores runs in a simulation.
 */
import { E2dError } from "../errors.ts";
import { Awareness } from "./awareness.ts";
import { BroadcastQueue } from "./broadcast_queue.ts";
import { compoundHeaderBytes, compoundPartOverheadBytes, compoundPartsMax } from "./compound.ts";
import { Membership, metaBytesMax } from "./membership.ts";
import type { Message, Ping, PushPull, Versions } from "./message.ts";
import { encodeMessage } from "./message_codec.ts";
import { NoteLimit } from "./note_limit.ts";
import { Prober } from "./probe_round.ts";
import { Seeds } from "./seeds.ts";
import { ownVersions, pushPullScaledMs, retransmitLimit, type SwimConfig } from "./swim_config.ts";
import type { Endpoint, Member, SwimEffect, SwimEvent, SwimMetrics } from "./swim_types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** A wake-up that is later than this may be late for what waits in the sockets: nobody is judged before that is read. */
const lateMs = 20;
/** Time to read it. */
const readingMs = 100;
/** A wake-up that comes later than this tells of a pause of the whole process, not of a busy moment. */
const pauseMs = 1000;
/** User messages that wait to be gossiped. */
const userMessagesMax = 256;

export interface SwimOptions {
  name: string;
  /** The address that others are told. */
  advertise: Endpoint;
  /** At most 512 bytes. Ready from the first moment, so that nobody sees this node without. */
  meta: Bytes;
  versions?: Versions;
  config: SwimConfig;
  /** In [0, 1). */
  random: () => number;
  nowMs: number;
}

export class Swim {
  readonly metrics: SwimMetrics = {
    probes: 0,
    probeFailures: 0,
    indirectProbes: 0,
    streamOnlyProbes: 0,
    suspicions: 0,
    refutations: 0,
    failures: 0,
    joins: 0,
    conflicts: 0,
    refusedMerges: 0,
    refusedRecords: 0,
    pauses: 0,
  };
  readonly #config: SwimConfig;
  readonly #awareness: Awareness;
  readonly #queue = new BroadcastQueue();
  readonly #users = new BroadcastQueue();
  readonly #members: Membership;
  readonly #prober: Prober;
  readonly #seeds: Seeds;
  readonly #notes = new NoteLimit();
  readonly #gossipQueues: readonly { queue: BroadcastQueue; mult: number }[];
  /**
   * Nobody passes these on, and they go out a few times only. So they keep to the rounds of gossip, each of which goes to
   * different members; on pings and acks, all copies might go to one. In a cluster of four a round reaches everybody.
   */
  readonly #userQueue: { queue: BroadcastQueue; mult: number };
  #effects: SwimEffect[] = [];
  #gossipMs: number;
  #pushPullMs: number;
  #wakeMs: number;
  #leaveTold = false;

  /** Throws E2dError `gossip_meta` when there is too much metadata. */
  constructor({ name, advertise, meta, versions = ownVersions, config, random, nowMs }: SwimOptions) {
    checkMeta(meta);
    this.#config = config;
    this.#gossipQueues = [{ queue: this.#queue, mult: config.retransmitMult }];
    this.#userQueue = { queue: this.#users, mult: config.userRetransmitMult };
    this.#awareness = new Awareness(config.awarenessMax);
    this.#prober = new Prober(nowMs, {
      config,
      random,
      awareness: this.#awareness,
      metrics: this.metrics,
      source: () => ({ address: advertise.address, port: advertise.port, name }),
      get: (member) => this.#members.get(member),
      candidates: () => this.#candidates(),
      helpers: (except, count) =>
        this.#members.sample(count, ({ state, name }) => state === "alive" && name !== except),
      ping: (target, ping) => this.#ping(target, ping),
      relayedPing: (to, ping) => this.#send(to, encodeMessage(ping)),
      indirectPing: (helper, request) => this.#send(helper, encodeMessage(request)),
      streamPing: (to, ping, timeoutMs) => this.#emit({ kind: "streamPing", to, ping, timeoutMs }),
      ack: (to, sequence) => this.#send(to, encodeMessage({ kind: "ack", sequence, payload: new Uint8Array(0) })),
      nack: (to, sequence) => this.#send(to, encodeMessage({ kind: "nack", sequence })),
      failed: (target, incarnation) =>
        this.#members.suspect({ node: target.name, incarnation, from: this.#members.self.name }, this.#nowMs),
    });
    this.#seeds = new Seeds(config, random, nowMs);
    this.#members = new Membership({ name, ...advertise, meta, versions, incarnation: 1 }, nowMs, {
      config,
      queue: this.#queue,
      awareness: this.#awareness,
      metrics: this.metrics,
      random,
      emit: (effect) => this.#emit(effect),
      joined: (member) => {
        this.#prober.add(member);
        this.#seeds.joined();
      },
      failed: () => this.#seeds.failed(this.#nowMs),
    });
    this.#nowMs = nowMs;
    this.#gossipMs = nowMs + config.gossipIntervalMs * random();
    this.#pushPullMs = nowMs + config.pushPullIntervalMs * random();
    this.#wakeMs = this.#nextWakeMs();
  }

  /** The time of the event at hand. */
  #nowMs: number;

  /** When `wake` is due. Changes with every step. */
  get wakeAtMs(): number {
    return this.#wakeMs;
  }

  get self(): Readonly<Member> {
    return this.#members.self;
  }

  /** All known members, this node, the dead and those that have left among them. */
  members(): Member[] {
    return [...this.#members].map((member) => ({ ...member }));
  }

  /** This node's whole state, to be sent over a stream. */
  state(join: boolean): PushPull {
    return this.#members.state(join);
  }

  /** Broadcasts that wait, and Lifeguard's score of this node (0: good health). */
  get load(): { queued: number; userQueued: number; health: number } {
    return { queued: this.#queue.length, userQueued: this.#users.length, health: this.#awareness.score };
  }

  /**
   * Takes in one event at `nowMs` (monotonic) and gives what is to be done about it, in order. Throws E2dError for
   * commands of this node that make no sense (`gossip_meta`, `gossip_too_long`), never for what others send.
   */
  step(event: SwimEvent, nowMs: number): SwimEffect[] {
    this.#effects = [];
    this.#nowMs = Math.max(nowMs, this.#nowMs);
    const byMs = this.#nowMs - this.#wakeMs;
    if (byMs > lateMs) this.#postpone(byMs);
    this.#take(event);
    this.#due();
    this.#wakeMs = this.#nextWakeMs();
    return this.#effects;
  }

  #take(event: SwimEvent): void {
    switch (event.kind) {
      case "wake":
        return;
      case "packet":
        for (const message of event.messages) this.#message(message, event.from);
        return;
      case "pushPull":
        if (event.seed) this.#seeds.answered(event.seed);
        // The user state is of other programs: e2d sends none and reads none.
        return this.#members.merge(event.state, this.#nowMs);
      case "pushPullFailed":
        if (event.seed) this.#seeds.answered(event.seed);
        return;
      case "streamPingAnswered":
        return this.#prober.streamAnswered(event.sequence);
      case "setMeta":
        checkMeta(event.meta);
        return this.#members.setMeta(event.meta);
      case "broadcast":
        return this.#broadcast(event.data, event.key);
      case "setSeeds":
        return this.#seeds.set(event.seeds, this.#nowMs);
      case "leave":
        if (!this.#members.leaving) this.#members.leave(this.#nowMs);
        return;
      default:
        return event satisfies never;
    }
  }

  #message(message: Message, from: Endpoint): void {
    switch (message.kind) {
      case "ping": {
        if (message.node !== "" && message.node !== this.self.name) return;
        const ack = encodeMessage({ kind: "ack", sequence: message.sequence, payload: new Uint8Array(0) });
        return this.#send(message.source ?? from, ack);
      }
      case "indirectPing":
        return this.#prober.relay(message, message.source ?? from, this.#nowMs);
      case "ack":
        return this.#prober.acked(message.sequence);
      case "nack":
        return this.#prober.nacked(message.sequence);
      case "suspect":
        return this.#members.suspect(message, this.#nowMs);
      case "dead":
        return this.#members.dead(message, this.#nowMs);
      case "alive":
        return this.#members.alive(message, this.#nowMs);
      case "user":
        if (message.data.length > 0) this.#emit({ kind: "user", data: message.data });
        return;
      default:
        return message satisfies never;
    }
  }

  #due(): void {
    this.#members.expire(this.#nowMs);
    this.#prober.step(this.#nowMs);
    if (this.#nowMs >= this.#gossipMs) {
      this.#gossipMs = nextBeat(this.#gossipMs, this.#config.gossipIntervalMs, this.#nowMs);
      this.#gossip();
    }
    if (this.#nowMs >= this.#pushPullMs) {
      const intervalMs = pushPullScaledMs(this.#config.pushPullIntervalMs, this.#members.size);
      this.#pushPullMs = nextBeat(this.#pushPullMs, intervalMs, this.#nowMs);
      const [to] = this.#members.sample(1, ({ state }) => state === "alive");
      if (to !== undefined) this.#emit({ kind: "pushPull", to, join: false });
    }
    if (this.#members.leaving) this.#finishLeave();
    else {
      for (const to of this.#seeds.step(this.#nowMs, this.self, this.#members)) {
        this.#emit({ kind: "pushPullSeed", to, join: true });
      }
    }
  }

  #nextWakeMs(): number {
    // With nothing to gossip or nobody to tell, the beat of five times a second need not be woken for.
    const gossips = this.#members.size > 1 && this.#queue.length + this.#users.length > 0;
    const gossipMs = gossips ? this.#gossipMs : Infinity;
    return Math.min(
      gossipMs,
      this.#pushPullMs,
      this.#prober.wakeAtMs(),
      this.#members.suspicionEndsMs(),
      this.#members.leaving ? Infinity : this.#seeds.wakeAtMs(),
    );
  }

  #gossip(): void {
    if (this.#queue.length + this.#users.length === 0) return;
    const { gossipToTheDeadMs, gossipNodes } = this.#config;
    const targets = this.#members.sample(
      gossipNodes,
      ({ state, sinceMs }) =>
        state === "alive" || state === "suspect" || (state === "dead" && this.#nowMs - sinceMs <= gossipToTheDeadMs),
    );
    for (const to of targets) {
      const messages = this.#piggyback([], [...this.#gossipQueues, this.#userQueue]);
      if (messages.length === 0) return;
      this.#emit({ kind: "send", to, messages });
    }
  }

  #ping(target: Readonly<Member>, ping: Ping): void {
    const messages = [encodeMessage(ping)];
    if (target.state === "suspect" && this.#config.suspicionWithPing) {
      const { name: node, incarnation } = target;
      messages.push(encodeMessage({ kind: "suspect", node, incarnation, from: this.self.name }));
    }
    this.#emit({ kind: "send", to: target, messages: this.#piggyback(messages) });
  }

  #send(to: Endpoint, message: Bytes): void {
    this.#emit({ kind: "send", to, messages: this.#piggyback([message]) });
  }

  /** The messages and as much gossip as fits into one packet with them. */
  #piggyback(messages: Bytes[], queues = this.#gossipQueues): Bytes[] {
    if (queues.every(({ queue }) => queue.length === 0)) return messages;
    const { packetBytesMax, packetOverheadBytes } = this.#config;
    let left = packetBytesMax - packetOverheadBytes - compoundHeaderBytes - costOf(messages);
    const all = [...messages];
    for (const { queue, mult } of queues) {
      const taken = queue.take(left, {
        overheadBytes: compoundPartOverheadBytes,
        transmitsMax: retransmitLimit(mult, this.#members.size),
        count: compoundPartsMax - all.length,
      });
      left -= costOf(taken);
      all.push(...taken);
    }
    return all;
  }

  #broadcast(data: Bytes, key: string): void {
    const message = encodeMessage({ kind: "user", data });
    const { packetBytesMax, packetOverheadBytes } = this.#config;
    const most = packetBytesMax - packetOverheadBytes - compoundHeaderBytes - compoundPartOverheadBytes;
    if (data.length === 0 || message.length > most) {
      throw new E2dError("gossip_too_long", `Cannot broadcast ${data.length} bytes: it takes 1 to ${most - 1}`);
    }
    if (this.#users.length >= userMessagesMax && !this.#users.has(key)) {
      throw new E2dError("gossip_busy", `Cannot broadcast "${key}": ${userMessagesMax} messages wait already`);
    }
    this.#users.add(key, message);
  }

  #candidates(): string[] {
    for (const member of this.#members.forget(this.#nowMs)) this.#seeds.lost(member, this.#nowMs);
    return [...this.#members].filter(({ name }) => name !== this.self.name).map(({ name }) => name);
  }

  #finishLeave(): void {
    if (this.#leaveTold) return;
    const listens = ({ state }: Readonly<Member>) => state === "alive" || state === "suspect";
    if (this.#queue.has(this.self.name) && this.#members.sample(1, listens).length > 0) return;
    this.#leaveTold = true;
    this.#emit({ kind: "leaveTold" });
  }

  /**
   * This process has not run when it wanted to. What it waited for may lie in the sockets unread, and nobody else is to
   * blame: all deadlines move by the time that is lost.
   */
  #postpone(byMs: number): void {
    const notBeforeMs = this.#nowMs + readingMs;
    this.#prober.postpone(byMs, notBeforeMs);
    this.#members.postpone(byMs, notBeforeMs);
    this.#seeds.postpone(byMs);
    if (byMs <= pauseMs) return;
    this.metrics.pauses++;
    // A node that was away doubts itself, and asks what it has missed; the others may hold it for dead.
    this.#awareness.change(1);
    this.#pushPullMs = this.#nowMs;
    const text = `this process was paused for ${Math.round(byMs)} ms`;
    this.#emit({ kind: "note", level: "warn", code: "paused", text, about: this.self.name });
  }

  #emit(effect: SwimEffect): void {
    if (effect.kind === "note" && !this.#notes.admits(`${effect.code} ${effect.about}`, this.#nowMs)) return;
    this.#effects.push(effect);
  }
}

/** Bytes of messages within a compound. */
function costOf(messages: readonly Bytes[]): number {
  let bytes = 0;
  for (const { length } of messages) bytes += length + compoundPartOverheadBytes;
  return bytes;
}

/** The next beat of an interval after `nowMs`; beats that were missed are not made up for. */
function nextBeat(beatMs: number, intervalMs: number, nowMs: number): number {
  return beatMs + intervalMs * (Math.floor((nowMs - beatMs) / intervalMs) + 1);
}

function checkMeta(meta: Bytes): void {
  if (meta.length > metaBytesMax) {
    throw new E2dError(
      "gossip_meta",
      `Cannot announce ${meta.length} bytes of metadata: gossip carries ${metaBytesMax}`,
    );
  }
}
