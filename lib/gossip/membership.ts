/**
 * Who is in the cluster: the rules by which messages about members change what is known of them. The records, this node's
 * own among them; suspicions and their timers; what is to be gossiped on. Pure.
 */
import { addressToText } from "./address.ts";
import type { Awareness } from "./awareness.ts";
import type { BroadcastQueue } from "./broadcast_queue.ts";
import type { Alive, Dead, NodeState, PushPull, Suspect, Versions } from "./message.ts";
import { encodeMessage } from "./message_codec.ts";
import { Suspicion, suspicionTimes } from "./suspicion.ts";
import type { SwimConfig } from "./swim_config.ts";
import type { Endpoint, Member, MemberChange, SwimEffect, SwimMetrics } from "./swim_types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Incarnations have 32 bits, and a node that has reached the last can never object again. No node gets near it by honest
 * refutations, each of which is one step: above the first bound, a message that leaps by more than the second is no
 * message of an honest node, and is ignored.
 */
const incarnationSoftMax = 0xffff_0000;
const incarnationLeapMax = 1000;
/** Honest nodes refuse to announce more metadata; names are host names or numbers. */
export const metaBytesMax = 512;
const nameLengthMax = 512;

interface Record extends Member {
  suspicion?: Suspicion;
}

export interface MembershipContext {
  config: SwimConfig;
  queue: BroadcastQueue;
  awareness: Awareness;
  metrics: SwimMetrics;
  emit: (effect: SwimEffect) => void;
  /** In [0, 1). */
  random: () => number;
  /** A member that may be probed from now on. */
  joined: (name: string) => void;
  failed: () => void;
}

export class Membership {
  readonly #records = new Map<string, Record>();
  /** All but this node, in any order: the hat that `sample` draws from. */
  #others: Record[] = [];
  readonly #suspects = new Set<Record>();
  /** When the first of the suspicions is over; undefined when that is to be found anew. */
  #suspicionEndsMs: number | undefined = Infinity;
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

  /** At most `count` members other than this node that `accept` takes, drawn evenly without looking at everybody. */
  sample(count: number, accept: (member: Readonly<Member>) => boolean): Readonly<Member>[] {
    const hat = this.#others;
    const drawn: Readonly<Member>[] = [];
    for (let at = 0; at < hat.length && drawn.length < count; at++) {
      const other = at + Math.floor(this.#context.random() * (hat.length - at));
      const member = hat[other]!;
      hat[other] = hat[at]!;
      hat[at] = member as Record;
      if (accept(member)) drawn.push(member);
    }
    return drawn;
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
    const known = this.#records.get(name);
    // Without sound versions a record would make every later merge fail, here and wherever it is passed on.
    if (versions === undefined || !sound(versions) || !presentable(message) || leaps(message, known)) {
      this.#context.metrics.refusedRecords++;
      return;
    }
    if (name === this.#self.name) return this.#aliveSelf({ ...message, versions });
    if (known === undefined) {
      if (this.#records.size >= this.#context.config.membersMax) {
        this.#context.metrics.refusedRecords++;
        return this.#note("full", `there are ${this.#records.size} members already, a new one is ignored`, "members");
      }
      const member: Record = { ...recordOf({ ...message, versions }), state: "alive", sinceMs: nowMs };
      this.#records.set(name, member);
      this.#others.push(member);
      this.#context.metrics.joins++;
      this.#context.joined(name);
      this.#pass(message);
      return this.#tell("joined", member);
    }
    const moved = !sameAddress(known, message);
    // Only a member that has left may come back elsewhere; a dead one is forgotten first, and then it is new.
    if (moved && known.state !== "left") return this.#conflict(known, message);
    if (!moved && message.incarnation <= known.incarnation) return;

    const { state } = known;
    const metaChanged = !sameBytes(known.meta, message.meta);
    this.#acquit(known);
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
    if (known === undefined || message.incarnation < known.incarnation || leaps(message, known)) return;
    if (known === this.#self) {
      if (!this.leaving) this.#refute(message.incarnation, message.from);
      return;
    }
    if (known.suspicion !== undefined) {
      if (known.suspicion.confirm(message.from)) {
        this.#suspicionEndsMs = undefined;
        this.#passAccusation({ kind: "suspect", ...message });
      }
      return;
    }
    if (known.state !== "alive") return;
    known.state = "suspect";
    known.incarnation = message.incarnation;
    known.sinceMs = nowMs;
    known.suspicion = new Suspicion(suspicionTimes(this.#context.config, this.size), message.from, nowMs);
    this.#suspects.add(known);
    this.#suspicionEndsMs = undefined;
    this.#context.metrics.suspicions++;
    this.#passAccusation({ kind: "suspect", ...message });
    this.#tell("suspected", known);
  }

  dead(message: Omit<Dead, "kind">, nowMs: number): void {
    const known = this.#records.get(message.node);
    if (known === undefined || message.incarnation < known.incarnation || leaps(message, known)) return;
    if (known === this.#self && !this.leaving) return this.#refute(message.incarnation, message.from);
    this.#acquit(known);
    if (known.state === "dead" || known.state === "left") return;
    known.state = message.from === message.node ? "left" : "dead";
    known.incarnation = message.incarnation;
    known.sinceMs = nowMs;
    this.#passAccusation({ kind: "dead", ...message });
    if (known.state === "dead") {
      this.#context.metrics.failures++;
      this.#context.failed();
    }
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
      return this.#note("misfit", `a peer's state is refused: the protocol versions of "${misfit}" do not fit`, misfit);
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
    if (this.#suspicionEndsMs === undefined) {
      this.#suspicionEndsMs = Infinity;
      for (const { suspicion } of this.#suspects) {
        this.#suspicionEndsMs = Math.min(this.#suspicionEndsMs, suspicion!.endsMs);
      }
    }
    return this.#suspicionEndsMs;
  }

  /** Declares the suspects dead that have not defended themselves in time. */
  expire(nowMs: number): void {
    if (this.suspicionEndsMs() > nowMs) return;
    for (const { suspicion, name, incarnation } of [...this.#suspects]) {
      if (suspicion!.endsMs > nowMs) continue;
      this.dead({ node: name, incarnation, from: this.#self.name }, nowMs);
    }
  }

  /** This process did not run for `byMs`: no suspicion runs out meanwhile, nor before `notBeforeMs`. */
  postpone(byMs: number, notBeforeMs: number): void {
    for (const { suspicion } of this.#suspects) suspicion!.postpone(byMs, notBeforeMs);
    this.#suspicionEndsMs = undefined;
  }

  /** Drops the records of those that are dead or have left for long enough that nobody gossips of them any more. */
  forget(nowMs: number): Member[] {
    const forgotten = this.#others.filter(({ state, sinceMs }) =>
      (state === "dead" || state === "left") && nowMs - sinceMs > this.#context.config.gossipToTheDeadMs
    );
    if (forgotten.length === 0) return forgotten;
    for (const member of forgotten) {
      this.#records.delete(member.name);
      this.#tell("forgotten", member);
    }
    this.#others = this.#others.filter(({ name }) => this.#records.has(name));
    return forgotten;
  }

  #acquit(known: Record): void {
    if (known.suspicion === undefined) return;
    delete known.suspicion;
    this.#suspects.delete(known);
    this.#suspicionEndsMs = undefined;
  }

  #aliveSelf(message: Omit<Alive, "kind"> & { versions: Versions }): void {
    if (this.leaving) return;
    if (!sameAddress(this.#self, message)) return this.#conflict(this.#self, message);
    if (message.incarnation < this.#self.incarnation) return;
    const same = sameBytes(this.#self.meta, message.meta) && sameVersions(this.#self.versions, message.versions);
    if (message.incarnation === this.#self.incarnation && same) return;
    this.#refute(message.incarnation, undefined);
  }

  /** Objects to what is said of this node, with an incarnation above the one that was spoken of. */
  #refute(incarnation: number, accuser: string | undefined): void {
    this.#self.incarnation = Math.min(Math.max(this.#self.incarnation, incarnation) + 1, 0xffff_ffff);
    this.#context.awareness.change(1);
    this.#context.metrics.refutations++;
    if (accuser !== undefined) this.#note("refuted", "this node was taken for gone and objects", accuser);
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
    this.#note("conflict", `${who} is at ${ours}, but somebody of the same name is at ${theirs}`, known.name);
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

  #note(code: "full" | "misfit" | "conflict" | "refuted", text: string, about: string): void {
    this.#context.emit({ kind: "note", level: code === "refuted" ? "info" : "warn", code, text, about });
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

/** What every later use of a record relies on. */
function presentable({ node, port, meta, incarnation }: Omit<Alive, "kind">): boolean {
  return node !== "" && node.length <= nameLengthMax && port > 0 && meta.length <= metaBytesMax && incarnation > 0;
}

function leaps({ incarnation }: { incarnation: number }, known: Readonly<Member> | undefined): boolean {
  return incarnation > incarnationSoftMax && incarnation > (known?.incarnation ?? 0) + incarnationLeapMax;
}

/** Byte by byte, as all peers compare: the two forms of an IPv4 address are two addresses. */
function sameAddress(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && sameBytes(a.address, b.address);
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a === b) return true;
  if (a.length !== b.length) return false;
  for (let at = 0; at < a.length; at++) if (a[at] !== b[at]) return false;
  return true;
}

function sameVersions(a: Versions, b: Versions): boolean {
  return (Object.keys(a) as (keyof Versions)[]).every((key) => a[key] === b[key]);
}
