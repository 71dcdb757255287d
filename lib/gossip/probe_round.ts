/** One probe after another: a member each second, directly, then through others and over a stream. Pure. */
import type { Awareness } from "./awareness.ts";
import type { IndirectPing, Ping, Source } from "./message.ts";
import type { SwimConfig } from "./swim_config.ts";
import type { Endpoint, Member, SwimMetrics } from "./swim_types.ts";

interface Round {
  target: Readonly<Member>;
  /** As it was known when the round began: an older accusation cannot hit a newer life. */
  incarnation: number;
  sequence: number;
  indirectAtMs: number;
  endsMs: number;
  indirect: boolean;
  nacksExpected: number;
  nacks: number;
  streamAnswered: boolean;
}

/** A probe on behalf of somebody else. */
interface Relay {
  requester: Endpoint;
  sequence: number;
  /** Undefined: none is wanted, or it is said. */
  nackAtMs: number | undefined;
  endsMs: number;
}

/** Probes for others that are under way at a time; a node asks for one a second at most. */
const relaysMax = 512;
/**
 * When a helper says that it has no answer either, as a share of the probe timeout. The original says so at the end of
 * it, when the round that asked is over already, and so is taken for a helper that says nothing at all.
 */
const nackShare = 0.8;

export interface ProbeContext {
  config: SwimConfig;
  awareness: Awareness;
  metrics: SwimMetrics;
  /** In [0, 1). */
  random: () => number;
  source: () => Source;
  get: (name: string) => Readonly<Member> | undefined;
  /** Called at each wrap of the list, before it is shuffled anew: who is to be probed. */
  candidates: () => string[];
  /** At most `count` living members other than this one, at random. */
  helpers: (except: string, count: number) => Readonly<Member>[];
  ping: (target: Readonly<Member>, ping: Ping) => void;
  /** A ping for somebody else. */
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

  /** The first round is at a random time within the interval, so that nodes do not probe in step. */
  constructor(nowMs: number, context: ProbeContext) {
    this.#context = context;
    this.#nextMs = nowMs + context.config.probeIntervalMs * context.random();
  }

  /** When something is due next. */
  wakeAtMs(): number {
    let wake = this.#round === undefined
      ? this.#nextMs
      : this.#round.indirect
      ? this.#round.endsMs
      : this.#round.indirectAtMs;
    for (const { nackAtMs, endsMs } of this.#relays.values()) wake = Math.min(wake, nackAtMs ?? endsMs);
    return wake;
  }

  /** A member that has come is probed at a random place of the walk. */
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
      if (!this.#round.indirect && nowMs >= this.#round.indirectAtMs) this.#askOthers(this.#round, nowMs);
      if (nowMs >= this.#round.endsMs) this.#fail(this.#round);
    }
    if (this.#round === undefined && nowMs >= this.#nextMs) {
      // Rounds keep to the beat of the interval; beats that fell into a slow round are skipped.
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

  /** Probes for a peer that got no answer itself. */
  relay(request: IndirectPing, requester: Endpoint, nowMs: number): void {
    if (this.#relays.size >= relaysMax) return;
    const sequence = this.#nextSequence();
    this.#relays.set(sequence, {
      requester,
      sequence: request.sequence,
      nackAtMs: request.nack ? nowMs + this.#context.config.probeTimeoutMs * nackShare : undefined,
      endsMs: nowMs + this.#context.config.probeTimeoutMs,
    });
    const to = { address: request.target, port: request.port };
    this.#context.relayedPing(to, { kind: "ping", sequence, node: request.node, source: this.#context.source() });
  }

  /** This process did not run for `byMs`: nothing runs out meanwhile, nor before `notBeforeMs`. */
  postpone(byMs: number, notBeforeMs: number): void {
    this.#nextMs += byMs;
    const { config } = this.#context;
    if (this.#round) {
      const round = this.#round;
      if (!round.indirect) {
        round.indirectAtMs = Math.max(round.indirectAtMs + byMs, notBeforeMs);
        // The others must have their time to help after that.
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
    const sequence = this.#nextSequence();
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
    // Twice around at most: once to the end of the list, once through the new one.
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

  #askOthers(round: Round, nowMs: number): void {
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
    // Missing nacks speak against this node's own network; without helpers every failure does a little.
    awareness.change(round.nacksExpected > 0 ? Math.max(0, round.nacksExpected - round.nacks) : 1);
    metrics.probeFailures++;
    this.#context.failed(round.target, round.incarnation);
  }

  #nextSequence(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }
}

/** A copy in random order. */
export function shuffle<T>(items: readonly T[], random: () => number): T[] {
  const shuffled = [...items];
  for (let at = shuffled.length - 1; at > 0; at--) {
    const other = Math.floor(random() * (at + 1));
    [shuffled[at], shuffled[other]] = [shuffled[other]!, shuffled[at]!];
  }
  return shuffled;
}
