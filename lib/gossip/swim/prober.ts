/**
 * Probes one member after another, one per interval: directly, then through other members and over a stream. Also
 * relays probes for peers. Owns the deadlines of both; declares no member dead. Pure.
 */
import type { Awareness } from "./awareness.ts";
import type { IndirectPing, Ping, Source } from "../wire/message.ts";
import type { SwimConfig } from "./config.ts";
import type { Endpoint, Member, SwimMetrics } from "./types.ts";

interface Round {
  target: Readonly<Member>;
  /** The incarnation at the start of the round: a failure must not accuse a newer incarnation. */
  incarnation: number;
  sequence: number;
  indirectAtMs: number;
  endsMs: number;
  indirect: boolean;
  nacksExpected: number;
  nacks: number;
  streamAnswered: boolean;
}

/** A probe on behalf of a peer. */
interface Relay {
  requester: Endpoint;
  sequence: number;
  /** Undefined: no nack was requested, or it is sent. */
  nackAtMs: number | undefined;
  endsMs: number;
}

/** Concurrent relayed probes; a node requests at most one per second. */
const relaysMax = 512;
/**
 * A helper sends a nack after this share of the probe timeout. memberlist sends it at the end of the timeout, when the
 * requester's round is over already, so the requester counts it as missing.
 */
const nackTimeoutShare = 0.8;

export interface ProbeContext {
  config: SwimConfig;
  awareness: Awareness;
  metrics: SwimMetrics;
  /** In [0, 1). */
  random: () => number;
  source: () => Source;
  get: (name: string) => Readonly<Member> | undefined;
  /** The names to probe; called at each wrap of the list, before it is shuffled again. */
  candidates: () => string[];
  /** At most `count` live members other than this node and `except`, at random. */
  helpers: (except: string, count: number) => Readonly<Member>[];
  ping: (target: Readonly<Member>, ping: Ping) => void;
  /** A ping on behalf of a peer. */
  relayedPing: (to: Endpoint, ping: Ping) => void;
  indirectPing: (helper: Readonly<Member>, request: IndirectPing) => void;
  streamPing: (target: Readonly<Member>, ping: Ping, timeoutMs: number) => void;
  ack: (to: Endpoint, sequence: number) => void;
  nack: (to: Endpoint, sequence: number) => void;
  failed: (target: Readonly<Member>, incarnation: number) => void;
}

export class Prober {
  readonly #context: ProbeContext;
  #list: string[] = [];
  #at = 0;
  #sequence = 0;
  #nextMs: number;
  #round: Round | undefined;
  readonly #relays = new Map<number, Relay>();

  /** The first round starts at a random time within the interval, so that nodes do not probe in step. */
  constructor(nowMs: number, context: ProbeContext) {
    this.#context = context;
    this.#nextMs = nowMs + context.config.probeIntervalMs * context.random();
  }

  /** The next deadline. */
  wakeAtMs(): number {
    let wake = this.#round === undefined
      ? this.#nextMs
      : this.#round.indirect
      ? this.#round.endsMs
      : this.#round.indirectAtMs;
    for (const { nackAtMs, endsMs } of this.#relays.values()) wake = Math.min(wake, nackAtMs ?? endsMs);
    return wake;
  }

  /** Inserts a new member at a random position of the probe list. */
  add(name: string): void {
    if (this.#list.includes(name)) return;
    this.#list.splice(Math.floor(this.#context.random() * (this.#list.length + 1)), 0, name);
  }

  step(nowMs: number): void {
    const { config } = this.#context;
    for (const [sequence, relay] of this.#relays) {
      if (relay.nackAtMs !== undefined && relay.nackAtMs <= nowMs) {
        relay.nackAtMs = undefined;
        this.#context.nack(relay.requester, relay.sequence);
      }
      if (relay.endsMs <= nowMs) this.#relays.delete(sequence);
    }
    if (this.#round !== undefined) {
      if (!this.#round.indirect && nowMs >= this.#round.indirectAtMs) this.#probeIndirectly(this.#round, nowMs);
      if (nowMs >= this.#round.endsMs) this.#fail(this.#round);
    }
    if (this.#round === undefined && nowMs >= this.#nextMs) {
      // Rounds start at multiples of the interval; those that fall into a slow round are skipped.
      this.#nextMs += config.probeIntervalMs * (Math.floor((nowMs - this.#nextMs) / config.probeIntervalMs) + 1);
      this.#begin(nowMs);
    }
  }

  acked(sequence: number): void {
    if (this.#round?.sequence === sequence) {
      this.#round = undefined;
      this.#context.awareness.change(-1);
      return;
    }
    const relay = this.#relays.get(sequence);
    if (relay === undefined) return;
    this.#relays.delete(sequence);
    this.#context.ack(relay.requester, relay.sequence);
  }

  nacked(sequence: number): void {
    if (this.#round?.sequence === sequence) this.#round.nacks++;
  }

  streamAnswered(sequence: number): void {
    if (this.#round?.sequence === sequence) this.#round.streamAnswered = true;
  }

  /** Probes a target for a peer that got no answer. */
  relay(request: IndirectPing, requester: Endpoint, nowMs: number): void {
    if (this.#relays.size >= relaysMax) return;
    const sequence = this.nextSequence();
    this.#relays.set(sequence, {
      requester,
      sequence: request.sequence,
      nackAtMs: request.nack ? nowMs + this.#context.config.probeTimeoutMs * nackTimeoutShare : undefined,
      endsMs: nowMs + this.#context.config.probeTimeoutMs,
    });
    const to = { address: request.target, port: request.port };
    this.#context.relayedPing(to, { kind: "ping", sequence, node: request.node, source: this.#context.source() });
  }

  /** Extends all deadlines by `byMs`, in which this process did not run, and the round's at least to `notBeforeMs`. */
  postpone(byMs: number, notBeforeMs: number): void {
    this.#nextMs += byMs;
    const { config } = this.#context;
    if (this.#round) {
      const round = this.#round;
      if (!round.indirect) {
        round.indirectAtMs = Math.max(round.indirectAtMs + byMs, notBeforeMs);
        // The helpers need their full time after that.
        notBeforeMs = round.indirectAtMs + config.probeTimeoutMs;
      }
      round.endsMs = Math.max(round.endsMs + byMs, notBeforeMs);
    }
    for (const relay of this.#relays.values()) {
      relay.endsMs += byMs;
      if (relay.nackAtMs !== undefined) relay.nackAtMs += byMs;
    }
  }

  #begin(nowMs: number): void {
    const target = this.#nextTarget();
    if (target === undefined) return;
    const { config, awareness, metrics } = this.#context;
    const sequence = this.nextSequence();
    this.#round = {
      target,
      incarnation: target.incarnation,
      sequence,
      indirectAtMs: nowMs + config.probeTimeoutMs,
      endsMs: nowMs + awareness.scaleMs(config.probeIntervalMs),
      indirect: false,
      nacksExpected: 0,
      nacks: 0,
      streamAnswered: false,
    };
    metrics.probes++;
    this.#context.ping(target, { kind: "ping", sequence, node: target.name, source: this.#context.source() });
  }

  #nextTarget(): Readonly<Member> | undefined {
    // At most two wraps: to the end of the list, and once through the new one.
    for (let wraps = 0; wraps < 2;) {
      const name = this.#list[this.#at++];
      if (name === undefined) {
        this.#list = shuffle(this.#context.candidates(), this.#context.random);
        this.#at = 0;
        wraps++;
        continue;
      }
      const member = this.#context.get(name);
      if (member?.state === "alive" || member?.state === "suspect") return member;
    }
    return undefined;
  }

  #probeIndirectly(round: Round, nowMs: number): void {
    round.indirect = true;
    const { target, sequence } = round;
    const { config, metrics } = this.#context;
    metrics.indirectProbes++;
    const source = this.#context.source();
    for (const helper of this.#context.helpers(target.name, config.indirectChecks)) {
      const nack = helper.versions.protocolMax >= 4;
      if (nack) round.nacksExpected++;
      this.#context.indirectPing(helper, {
        kind: "indirectPing",
        sequence,
        target: target.address,
        port: target.port,
        node: target.name,
        nack,
        source,
      });
    }
    const leftMs = round.endsMs - nowMs;
    if (target.versions.protocolMax >= 3 && leftMs > 0) {
      this.#context.streamPing(target, { kind: "ping", sequence, node: target.name, source }, leftMs);
    }
  }

  #fail(round: Round): void {
    this.#round = undefined;
    const { awareness, metrics } = this.#context;
    if (round.streamAnswered) {
      metrics.streamOnlyProbes++;
      awareness.change(-1);
      return;
    }
    // Missing nacks indicate a fault of this node's own network; without helpers every failure counts as one.
    awareness.change(round.nacksExpected > 0 ? Math.max(0, round.nacksExpected - round.nacks) : 1);
    metrics.probeFailures++;
    this.#context.failed(round.target, round.incarnation);
  }

  /** A sequence number that no other ping of this node in flight uses. */
  nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}

/** Returns a copy in random order; `random` returns values in [0, 1). */
export function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const shuffled = [...items];
  for (let at = shuffled.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [shuffled[at], shuffled[other]] = [shuffled[other]!, shuffled[at]!];
  }
  return shuffled;
}
