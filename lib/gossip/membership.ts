/**
 * Who is in the cluster: the rules by which messages about members change what is known of them. The records, this node's
 * own among them; suspicions and their timers; what is to be gossiped on. Pure.
 */
import { addressToText } from "./address.ts";
import type { Awareness } from "./awareness.ts";
import type { BroadcastQueue } from "./broadcast_queue.ts";
import type { Alive, Dead, MemberState, NodeState, PushPull, Suspect, Versions } from "./message.ts";
import { encodeMessage } from "./message_codec.ts";
import { Suspicion, suspicionTimes } from "./suspicion.ts";
import type { SwimConfig } from "./swim_config.ts";
import type { Endpoint, Member, MemberChange, SwimEffect, SwimMetrics } from "./swim_types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** No node comes here by honest refutations; one step more and it could not defend itself in 32 bits. */
const incarnationMax = 0xffff_0000;

interface Record extends Member {
  suspicion?: Suspicion;
}

export interface MembershipContext {
  config: SwimConfig;
  queue: BroadcastQueue;
  awareness: Awareness;
  metrics: SwimMetrics;
  emit: (effect: SwimEffect) => void;
  /** A member that may be probed from now on. */
  joined: (name: string) => void;
}

export class Membership {
  readonly #records = new Map<string, Record>();
  readonly #self: Record;
  readonly #context: MembershipContext;
  leaving = false;

  constructor(
    self: Endpoint & { name: string; meta: Bytes; versions: Versions; incarnation: number },
    nowMs: number,
    context: MembershipContext,
  ) {
    this.#context = context;
    this.#self = { ...self, state: "alive", sinceMs: nowMs };
    this.#records.set(self.name, this.#self);
    this.#announce();
  }

  get self(): Readonly<Member> {
    return this.#self;
  }

  /** Known records of any state, this node's among them: the `n` of all of the protocol's formulas. */
  get size(): number {
    return this.#records.size;
  }

  get(name: string): Readonly<Member> | undefined {
    return this.#records.get(name);
  }

  /** All members, this node too. */
  *[Symbol.iterator](): Iterator<Readonly<Member>> {
    yield* this.#records.values();
  }

  setMeta(meta: Bytes): void {
    this.#self.meta = meta;
    this.#self.incarnation++;
    this.#announce();
  }

  /** The full state for a push/pull: everybody, also the dead and this node. */
  state(join: boolean): PushPull {
    const nodes = [...this.#records.values()].map(({ name, address, port, incarnation, meta, state, versions }) => ({
      name,
      address,
      port,
      incarnation,
      meta,
      state,
      versions,
    }));
    return { kind: "pushPull", join, nodes, userState: new Uint8Array(0) };
  }

  alive(message: Omit<Alive, "kind">, nowMs: number): void {
    const { versions, node: name } = message;
    // Without sound versions a record would make every later merge fail, here and wherever it is passed on.
    if (versions === undefined || !sound(versions) || message.incarnation > incarnationMax || name === "") return;
    if (name === this.#self.name) return this.#aliveSelf({ ...message, versions });
    const known = this.#records.get(name);
    if (known === undefined) {
      if (message.incarnation < 1) return;
      if (this.#records.size >= this.#context.config.membersMax) {
        return this.#note("warn", `there are ${this.#records.size} members already, a new one is ignored`, name);
      }
      const member: Record = { ...recordOf({ ...message, versions }), state: "alive", sinceMs: nowMs };
      this.#records.set(name, member);
      this.#context.metrics.joins++;
      this.#context.joined(name);
      this.#pass(message);
      return this.#tell("joined", member);
    }
    const moved = !sameAddress(known, message);
    // Only a member that has left may come back elsewhere; a dead one is forgotten first, and then it is new.
    if (moved && known.state !== "left") return this.#conflict(known, message);
    if (!moved && message.incarnation <= known.incarnation) return;
    if (message.incarnation < 1) return;

    const { state } = known;
    const metaChanged = !sameBytes(known.meta, message.meta);
    delete known.suspicion;
    Object.assign(known, recordOf({ ...message, versions }));
    this.#pass(message);
    if (state !== "alive") {
      known.state = "alive";
      known.sinceMs = nowMs;
    }
    if (state === "dead" || state === "left") {
      this.#context.metrics.joins++;
      this.#context.joined(name);
      return this.#tell("joined", known);
    }
    if (state === "suspect") this.#tell("trusted", known);
    if (metaChanged) this.#tell("updated", known);
  }

  suspect(message: Omit<Suspect, "kind">, nowMs: number): void {
    const known = this.#records.get(message.node);
    if (known === undefined || message.incarnation < known.incarnation || message.incarnation > incarnationMax) return;
    if (known === this.#self) {
      if (!this.leaving) this.#refute(message.incarnation, message.from);
      return;
    }
    if (known.suspicion !== undefined) {
      if (known.suspicion.confirm(message.from)) this.#passAccusation({ kind: "suspect", ...message });
      return;
    }
    if (known.state !== "alive") return;
    known.state = "suspect";
    known.incarnation = message.incarnation;
    known.sinceMs = nowMs;
    known.suspicion = new Suspicion(suspicionTimes(this.#context.config, this.size), message.from, nowMs);
    this.#context.metrics.suspicions++;
    this.#passAccusation({ kind: "suspect", ...message });
    this.#tell("suspected", known);
  }

  dead(message: Omit<Dead, "kind">, nowMs: number): void {
    const known = this.#records.get(message.node);
    if (known === undefined || message.incarnation < known.incarnation || message.incarnation > incarnationMax) return;
    if (known === this.#self && !this.leaving) return this.#refute(message.incarnation, message.from);
    delete known.suspicion;
    if (known.state === "dead" || known.state === "left") return;
    known.state = message.from === message.node ? "left" : "dead";
    known.incarnation = message.incarnation;
    known.sinceMs = nowMs;
    this.#passAccusation({ kind: "dead", ...message });
    if (known.state === "dead") this.#context.metrics.failures++;
    this.#tell(known.state === "left" ? "left" : "failed", known);
  }

  /** Leaves: a death that this node declares of itself. */
  leave(nowMs: number): void {
    this.leaving = true;
    this.dead({ node: this.#self.name, incarnation: this.#self.incarnation, from: this.#self.name }, nowMs);
  }

  /** Takes in a peer's whole state, or none of it where the protocol versions do not fit together. */
  merge(state: PushPull, nowMs: number): void {
    const misfit = this.#misfit(state.nodes);
    if (misfit !== undefined) {
      this.#context.metrics.refusedMerges++;
      return this.#note("warn", `a peer's state is refused: the protocol versions of "${misfit}" do not fit`, misfit);
    }
    for (const { name, ...node } of state.nodes) {
      switch (node.state) {
        case "alive":
          this.alive({ ...node, node: name }, nowMs);
          break;
        case "left":
          this.dead({ node: name, incarnation: node.incarnation, from: name }, nowMs);
          break;
        // Hearsay of a death is a suspicion, so that one wrongly declared dead can object.
        case "dead":
        case "suspect":
          this.suspect({ node: name, incarnation: node.incarnation, from: this.#self.name }, nowMs);
          break;
        default:
          node.state satisfies never;
      }
    }
  }

  /** When the next suspicion is over. */
  suspicionEndsMs(): number {
    let earliest = Infinity;
    for (const { suspicion } of this.#records.values()) {
      if (suspicion !== undefined) earliest = Math.min(earliest, suspicion.endsMs);
    }
    return earliest;
  }

  /** Declares the suspects dead that have not defended themselves in time. */
  expire(nowMs: number): void {
    for (const { suspicion, name, incarnation } of [...this.#records.values()]) {
      if (suspicion === undefined || suspicion.endsMs > nowMs) continue;
      this.dead({ node: name, incarnation, from: this.#self.name }, nowMs);
    }
  }

  postpone(ms: number): void {
    for (const { suspicion } of this.#records.values()) suspicion?.postpone(ms);
  }

  /** Drops the records of those that are dead or have left for long enough that nobody gossips of them any more. */
  forget(nowMs: number): Member[] {
    const gone = [...this.#records.values()].filter(({ state, sinceMs }) =>
      (state === "dead" || state === "left") && nowMs - sinceMs > this.#context.config.gossipToTheDeadMs
    );
    const forgotten = gone.filter((member) => member !== this.#self);
    for (const member of forgotten) {
      this.#records.delete(member.name);
      this.#tell("forgotten", member);
    }
    return forgotten;
  }

  #aliveSelf(message: Omit<Alive, "kind"> & { versions: Versions }): void {
    if (this.leaving || message.incarnation < this.#self.incarnation) return;
    if (!sameAddress(this.#self, message)) return this.#conflict(this.#self, message);
    const same = sameBytes(this.#self.meta, message.meta) && sameVersions(this.#self.versions, message.versions);
    if (message.incarnation === this.#self.incarnation && same) return;
    this.#refute(message.incarnation, undefined);
  }

  /** Objects to what is said of this node, with an incarnation above the one that was spoken of. */
  #refute(incarnation: number, accuser: string | undefined): void {
    this.#self.incarnation = Math.max(this.#self.incarnation, incarnation) + 1;
    this.#context.awareness.change(1);
    this.#context.metrics.refutations++;
    if (accuser !== undefined) this.#note("info", `this node was taken for gone and objects`, accuser);
    this.#announce();
  }

  #announce(): void {
    this.#pass({ ...this.#self, node: this.#self.name });
  }

  #pass(message: Omit<Alive, "kind">): void {
    this.#context.queue.add(message.node, encodeMessage({ ...message, kind: "alive" }));
  }

  #passAccusation(message: Suspect | Dead): void {
    this.#context.queue.add(message.node, encodeMessage(message));
  }

  #conflict(known: Member, message: Omit<Alive, "kind">): void {
    this.#context.metrics.conflicts++;
    const [ours, theirs] = [known, message].map(({ address, port }) => `${addressToText(address)}:${port}`);
    const who = known === this.#self ? "this node" : `the member "${known.name}"`;
    this.#note("warn", `${who} is at ${ours}, but somebody of the same name is at ${theirs}`, known.name);
  }

  /** The name of the first record whose versions are outside of what everybody alive understands. */
  #misfit(remote: readonly NodeState[]): string | undefined {
    // A record without versions is not taken in anyway, so it cannot spoil the others' merge, as it does for Go.
    const all = [...remote.filter(({ versions }) => versions !== undefined), ...this.#records.values()];
    let min = 0, max = 255, delegateMin = 0, delegateMax = 255;
    for (const { state, versions } of all) {
      if (state !== "alive") continue;
      min = Math.max(min, versions?.protocolMin ?? 0);
      max = Math.min(max, versions?.protocolMax ?? 0);
      delegateMin = Math.max(delegateMin, versions?.delegateMin ?? 0);
      delegateMax = Math.min(delegateMax, versions?.delegateMax ?? 0);
    }
    return all.find(({ versions }) => {
      const current = versions?.protocolCurrent ?? 0, delegate = versions?.delegateCurrent ?? 0;
      return current < min || current > max || delegate < delegateMin || delegate > delegateMax;
    })?.name;
  }

  #tell(change: MemberChange, { suspicion: _, ...member }: Record): void {
    this.#context.emit({ kind: "member", change, member });
  }

  #note(level: "info" | "warn", text: string, about: string): void {
    this.#context.emit({ kind: "note", level, text, about });
  }
}

function recordOf(
  { node: name, address, port, meta, incarnation, versions }: Omit<Alive, "kind"> & { versions: Versions },
) {
  return { name, address, port, meta, incarnation, versions };
}

function sound({ protocolMin, protocolMax }: Versions): boolean {
  return protocolMin > 0 && protocolMax > 0 && protocolMin <= protocolMax;
}

/** Byte by byte, as all peers compare: the two forms of an IPv4 address are two addresses. */
function sameAddress(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && sameBytes(a.address, b.address);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

function sameVersions(a: Versions, b: Versions): boolean {
  return (Object.keys(a) as (keyof Versions)[]).every((key) => a[key] === b[key]);
}

export function isGone(state: MemberState): boolean {
  return state === "dead" || state === "left";
}
