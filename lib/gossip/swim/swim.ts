/**
 * The gossip core: SWIM with Lifeguard, compatible with memberlist. `step` applies one event and returns effects. It
 * must not read a clock, open a socket or use randomness of its own, so that a simulation can run a whole cluster.
 */
import { E2dError } from "../../errors.ts";
import type { HostPort } from "../../ports.ts";
import { addressFromText } from "../address.ts";
import { Awareness } from "./awareness.ts";
import { BroadcastQueue } from "./broadcast_queue.ts";
import { compoundHeaderBytes, compoundPartOverheadBytes, compoundPartsMax } from "../wire/compound.ts";
import { Membership, metaBytesMax } from "./membership.ts";
import type { Message, Ping, PushPull, Versions } from "../wire/message.ts";
import { encodeMessage } from "../wire/message_codec.ts";
import { claimPingTimeoutMs, NameClaims, type NameConflict } from "./name_claims.ts";
import { LogLimit } from "../log_limit.ts";
import { Prober } from "./prober.ts";
import { Seeds } from "./seeds.ts";
import { ownVersions, pushPullScaledMs, retransmitLimit, type SwimConfig } from "./config.ts";
import type { Endpoint, Member, SwimEffect, SwimEvent, SwimMetrics } from "./types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** After a wake-up later than this, packets may wait unread in the sockets: no member is judged before they are read. */
const lateThresholdMs = 20;
/** Time to read those packets. */
const drainMs = 100;
/** A wake-up later than this means that the process was paused, not busy. */
const pauseThresholdMs = 1000;
/** Messages accepted even from a member of another cluster, which must not suspect this node. */
const probeMessageKinds: ReadonlySet<Message["kind"]> = new Set(["ping", "indirectPing", "ack", "nack"]);
/** Waiting user messages. */
const userMessagesMax = 256;

export interface SwimOptions {
  name: string;
  /** The announced address. */
  advertise: Endpoint;
  /** At most 512 bytes. Required at the start, so that no peer sees this node without metadata. */
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
  readonly #userMessages = new BroadcastQueue();
  readonly #members: Membership;
  readonly #prober: Prober;
  readonly #seeds: Seeds;
  readonly #claims: NameClaims;
  readonly #logLimit = new LogLimit();
  readonly #gossipQueues: readonly { queue: BroadcastQueue; mult: number }[];
  /**
   * Receivers do not pass user messages on, and each is sent only a few times. So they are sent in gossip rounds only,
   * which choose different members; with pings and acks all copies could go to one member. In a cluster of four a round
   * reaches every member.
   */
  readonly #userMessageQueue: { queue: BroadcastQueue; mult: number };
  #effects: SwimEffect[] = [];
  #gossipMs: number;
  #pushPullMs: number;
  #wakeMs: number;
  #leaveBroadcast = false;

  /** Throws E2dError `gossip_meta` above 512 bytes of metadata. */
  constructor({ name, advertise, meta, versions = ownVersions, config, random, nowMs }: SwimOptions) {
    checkMeta(meta);
    this.#config = config;
    this.#gossipQueues = [{ queue: this.#queue, mult: config.retransmitMult }];
    this.#userMessageQueue = { queue: this.#userMessages, mult: config.userRetransmitMult };
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
    this.#claims = new NameClaims({
      self: name,
      holder: (name) => this.#members.living(name),
      nextSequence: () => this.#prober.nextSequence(),
    });
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
      nameClaimed: (name, claimer) => this.#claims.add(name, claimer, this.#nowMs),
    });
    this.#nowMs = nowMs;
    this.#gossipMs = nowMs + config.gossipIntervalMs * random();
    this.#pushPullMs = nowMs + config.pushPullIntervalMs * random();
    this.#wakeMs = this.#nextWakeMs();
  }

  /** The time of the present event. */
  #nowMs: number;

  /** When `wake` is due. Changes with every step. */
  get wakeAtMs(): number {
    return this.#wakeMs;
  }

  get self(): Readonly<Member> {
    return this.#members.self;
  }

  /** All known members of any state, including this node. */
  members(): Member[] {
    return [...this.#members].map((member) => ({ ...member }));
  }

  /** Names that two live addresses claim now. */
  conflicts(): NameConflict[] {
    return this.#claims.conflicts();
  }

  /** This node's whole state for a push/pull. */
  state(join: boolean): PushPull {
    return this.#members.state(join);
  }

  /** Waiting broadcasts, and Lifeguard's score of this node (0: healthy). */
  get load(): { queued: number; userQueued: number; health: number } {
    return { queued: this.#queue.length, userQueued: this.#userMessages.length, health: this.#awareness.score };
  }

  /**
   * Applies one event at `nowMs` (monotonic) and returns the effects in order. Throws E2dError for invalid commands of
   * this node (`gossip_meta`, `gossip_too_long`, `gossip_busy`), never for messages of peers.
   */
  step(event: SwimEvent, nowMs: number): SwimEffect[] {
    this.#effects = [];
    this.#nowMs = Math.max(nowMs, this.#nowMs);
    const byMs = this.#nowMs - this.#wakeMs;
    if (byMs > lateThresholdMs) this.#postpone(byMs);
    this.#applyEvent(event);
    this.#runDueTimers();
    this.#wakeMs = this.#nextWakeMs();
    return this.#effects;
  }

  #applyEvent(event: SwimEvent): void {
    switch (event.kind) {
      case "wake":
        return;
      case "packet": {
        const foreign = this.#members.shuns(event.from, this.#nowMs);
        for (const message of event.messages) {
          if (!foreign || probeMessageKinds.has(message.kind)) this.#applyMessage(message, event.from);
        }
        return;
      }
      case "pushPull":
        if (event.seed) {
          this.#seeds.exchangeEnded(event.seed);
          if (this.#isShunned(event.seed)) return;
        }
        // The user state belongs to other programs: e2d sends none and reads none.
        return this.#members.merge(event.state, this.#nowMs);
      case "pushPullFailed":
        if (event.seed) this.#seeds.exchangeEnded(event.seed);
        return;
      case "streamPingAnswered":
        this.#prober.streamAnswered(event.sequence);
        return this.#claimAnswered(event.sequence);
      case "setMeta":
        checkMeta(event.meta);
        return this.#members.setMeta(event.meta);
      case "broadcast":
        return this.#broadcast(event.data, event.key);
      case "setSeeds":
        return this.#seeds.set(event.seeds, this.#nowMs);
      case "shun":
        return this.#members.shun(event.names, this.#nowMs);
      case "leave":
        if (!this.#members.leaving) this.#members.leave(this.#nowMs);
        return;
      default:
        return event satisfies never;
    }
  }

  /** True for a member of another cluster: its state is not merged. */
  #isShunned({ host, port }: HostPort): boolean {
    const address = addressFromText(host);
    return address !== undefined && this.#members.shuns({ address, port }, this.#nowMs);
  }

  #claimAnswered(sequence: number): void {
    const claim = this.#claims.recordAnswer(sequence, this.#nowMs);
    if (claim === undefined) return;
    this.#emit({ kind: "conflicts" });
    // The claimer may know no member that has gossiped about this node.
    if (claim.name === this.self.name) this.#emit({ kind: "pushPull", to: claim.claimer, join: false });
  }

  #applyMessage(message: Message, from: Endpoint): void {
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

  #runDueTimers(): void {
    this.#members.expire(this.#nowMs);
    this.#prober.step(this.#nowMs);
    this.#checkClaims();
    if (this.#nowMs >= this.#gossipMs) {
      this.#gossipMs = nextTickMs(this.#gossipMs, this.#config.gossipIntervalMs, this.#nowMs);
      this.#gossip();
    }
    if (this.#nowMs >= this.#pushPullMs) {
      const intervalMs = pushPullScaledMs(this.#config.pushPullIntervalMs, this.#members.size);
      this.#pushPullMs = nextTickMs(this.#pushPullMs, intervalMs, this.#nowMs);
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

  #checkClaims(): void {
    const { pings, changed } = this.#claims.step(this.#nowMs);
    for (const { name, to, sequence } of pings) {
      const { address, port, name: own } = this.self;
      const ping: Ping = { kind: "ping", sequence, node: name, source: { address, port, name: own } };
      this.#emit({ kind: "streamPing", to, ping, timeoutMs: claimPingTimeoutMs });
    }
    if (changed) this.#emit({ kind: "conflicts" });
  }

  #nextWakeMs(): number {
    // Without messages or other members the gossip interval needs no wake-up.
    const gossips = this.#members.size > 1 && this.#queue.length + this.#userMessages.length > 0;
    const gossipMs = gossips ? this.#gossipMs : Infinity;
    return Math.min(
      gossipMs,
      this.#pushPullMs,
      this.#prober.wakeAtMs(),
      this.#claims.wakeAtMs(),
      this.#members.suspicionEndsMs(),
      this.#members.leaving ? Infinity : this.#seeds.wakeAtMs(),
    );
  }

  #gossip(): void {
    if (this.#queue.length + this.#userMessages.length === 0) return;
    const { gossipToTheDeadMs, gossipNodes } = this.#config;
    const targets = this.#members.sample(
      gossipNodes,
      ({ state, sinceMs }) =>
        state === "alive" || state === "suspect" || (state === "dead" && this.#nowMs - sinceMs <= gossipToTheDeadMs),
    );
    for (const to of targets) {
      const messages = this.#piggyback([], [...this.#gossipQueues, this.#userMessageQueue]);
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
    // A member of another cluster gets an answer without gossip about this cluster.
    const messages = this.#members.shuns(to, this.#nowMs) ? [message] : this.#piggyback([message]);
    this.#emit({ kind: "send", to, messages });
  }

  /** The messages plus as much gossip as fits into one packet with them. */
  #piggyback(messages: Bytes[], queues = this.#gossipQueues): Bytes[] {
    if (queues.every(({ queue }) => queue.length === 0)) return messages;
    const { packetBytesMax, packetOverheadBytes } = this.#config;
    let left = packetBytesMax - packetOverheadBytes - compoundHeaderBytes - encodedBytes(messages);
    const all = [...messages];
    for (const { queue, mult } of queues) {
      const taken = queue.take(left, {
        overheadBytes: compoundPartOverheadBytes,
        transmitsMax: retransmitLimit(mult, this.#members.size),
        count: compoundPartsMax - all.length,
      });
      left -= encodedBytes(taken);
      all.push(...taken);
    }
    return all;
  }

  #broadcast(data: Bytes, key: string): void {
    const message = encodeMessage({ kind: "user", data });
    const { packetBytesMax, packetOverheadBytes } = this.#config;
    const bytesMax = packetBytesMax - packetOverheadBytes - compoundHeaderBytes - compoundPartOverheadBytes;
    if (data.length === 0 || message.length > bytesMax) {
      throw new E2dError("gossip_too_long", `Cannot broadcast ${data.length} bytes: the limit is 1 to ${bytesMax - 1}`);
    }
    if (this.#userMessages.length >= userMessagesMax && !this.#userMessages.has(key)) {
      throw new E2dError("gossip_busy", `Cannot broadcast "${key}": ${userMessagesMax} messages are waiting`);
    }
    this.#userMessages.add(key, message);
  }

  #candidates(): string[] {
    for (const member of this.#members.forget(this.#nowMs)) this.#seeds.addLost(member, this.#nowMs);
    return [...this.#members].filter(({ name }) => name !== this.self.name).map(({ name }) => name);
  }

  #finishLeave(): void {
    if (this.#leaveBroadcast) return;
    const isLive = ({ state }: Readonly<Member>) => state === "alive" || state === "suspect";
    if (this.#queue.has(this.self.name) && this.#members.sample(1, isLive).length > 0) return;
    this.#leaveBroadcast = true;
    this.#emit({ kind: "leaveBroadcast" });
  }

  /**
   * Moves all deadlines by `byMs`, in which this process did not run: answers may wait unread in the sockets, and no peer
   * may be suspected because of it.
   */
  #postpone(byMs: number): void {
    const notBeforeMs = this.#nowMs + drainMs;
    this.#prober.postpone(byMs, notBeforeMs);
    this.#members.postpone(byMs, notBeforeMs);
    this.#seeds.postpone(byMs);
    this.#claims.postpone(byMs);
    if (byMs <= pauseThresholdMs) return;
    this.metrics.pauses++;
    // After a pause this node lowers its own health score and exchanges state: peers may have declared it dead.
    this.#awareness.change(1);
    this.#pushPullMs = this.#nowMs;
    const text = `this process was paused for ${Math.round(byMs)} ms`;
    this.#emit({ kind: "log", level: "warn", code: "paused", text, about: this.self.name });
  }

  #emit(effect: SwimEffect): void {
    if (effect.kind === "log" && !this.#logLimit.allows(`${effect.code} ${effect.about}`, this.#nowMs)) return;
    this.#effects.push(effect);
  }
}

/** Bytes of the messages within a compound message. */
function encodedBytes(messages: readonly Bytes[]): number {
  let bytes = 0;
  for (const { length } of messages) bytes += length + compoundPartOverheadBytes;
  return bytes;
}

/** The next multiple of the interval after `nowMs`; missed ones are skipped. */
function nextTickMs(beatMs: number, intervalMs: number, nowMs: number): number {
  return beatMs + intervalMs * (Math.floor((nowMs - beatMs) / intervalMs) + 1);
}

function checkMeta(meta: Bytes): void {
  if (meta.length > metaBytesMax) {
    throw new E2dError(
      "gossip_meta",
      `Cannot announce ${meta.length} bytes of metadata: the limit is ${metaBytesMax}`,
    );
  }
}
