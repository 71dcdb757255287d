/**
 * Owns the member records, including this node's, the suspicions and their timers. Applies the rules by which messages
 * change records, and queues the messages to gossip on. Pure.
 */
import { sameBytes } from "../../bytes.ts";
import { addressToText, sameEndpoint } from "../address.ts";
import type { Awareness } from "./awareness.ts";
import type { BroadcastQueue } from "./broadcast_queue.ts";
import type { Alive, Dead, NodeState, PushPull, Suspect, Versions } from "../wire/message.ts";
import { encodeMessage } from "../wire/message_codec.ts";
import { Suspicion, suspicionTimes } from "./suspicion.ts";
import type { SwimConfig } from "./config.ts";
import type { Endpoint, Member, MemberChange, SwimEffect, SwimMetrics } from "./types.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Incarnations have 32 bits, and a node at the last one can never refute again. Each refutation is one step, so correct
 * nodes never come near it: above `incarnationSoftMax`, a message more than `incarnationStepMax` ahead of the record is
 * forged and is ignored.
 */
const incarnationSoftMax = 0xffff_0000;
const incarnationStepMax = 1000;
/** Maximum bytes of metadata, as in memberlist. */
export const metaBytesMax = 512;
/** Names are host names or numbers; longer ones are refused. */
const nameLengthMax = 512;

/** A member of another cluster is forgotten when no message about it has arrived for this long. */
const shunnedRetentionMs = 90_000;

interface MemberRecord extends Member {
  suspicion?: Suspicion;
}

/** A member of another cluster, and the time of the last message from it or about it. */
interface ShunnedMember {
  readonly record: MemberRecord;
  lastHeardMs: number;
}

export interface MembershipContext {
  config: SwimConfig;
  queue: BroadcastQueue;
  awareness: Awareness;
  metrics: SwimMetrics;
  emit: (effect: SwimEffect) => void;
  /** In [0, 1). */
  random: () => number;
  /** Called with a member that is to be probed from now on. */
  joined: (name: string) => void;
  failed: () => void;
  /** Called when a record gives another address to the name of a live member. */
  nameClaimed: (name: string, claimer: Endpoint) => void;
}

export class Membership {
  readonly #records = new Map<string, MemberRecord>();
  /** All records but this node's, in any order: the pool of `sample`. */
  #others: MemberRecord[] = [];
  readonly #suspects = new Set<MemberRecord>();
  readonly #shunned = new Map<string, ShunnedMember>();
  /** When the first suspicion ends; undefined: to be computed again. */
  #suspicionEndsMs: number | undefined = Infinity;
  readonly #self: MemberRecord;
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

  /** Number of records of any state, including this node's: the `n` of the protocol's formulas. */
  get size(): number {
    return this.#records.size;
  }

  get(name: string): Readonly<Member> | undefined {
    return this.#records.get(name);
  }

  /** The address of a member that is alive or suspect; this node included. */
  living(name: string): Endpoint | undefined {
    const known = this.#records.get(name);
    return known?.state === "alive" || known?.state === "suspect" ? known : undefined;
  }

  /**
   * Excludes the members of another cluster, by name: this node does not gossip to them, probe them or gossip about them,
   * so that two clusters that were joined by mistake separate. No death is declared, and their pings are answered. A
   * member that is no longer named is accepted again with its next message.
   */
  shun(names: readonly string[], nowMs: number): void {
    for (const name of this.#shunned.keys()) if (!names.includes(name)) this.#unshun(name);
    for (const name of names) {
      const record = this.#records.get(name);
      if (record === undefined || record === this.#self || record.state === "dead" || record.state === "left") continue;
      this.#clearSuspicion(record);
      this.#records.delete(name);
      this.#context.queue.delete(name);
      this.#shunned.set(name, { record, lastHeardMs: nowMs });
    }
    this.#others = this.#others.filter(({ name }) => this.#records.has(name));
  }

  /** True for the address of a member of another cluster; also renews its `lastHeardMs`. */
  shuns({ address, port }: Endpoint, nowMs: number): boolean {
    for (const shunned of this.#shunned.values()) {
      if (!sameEndpoint(shunned.record, { address, port })) continue;
      shunned.lastHeardMs = nowMs;
      return true;
    }
    return false;
  }

  /** At most `count` accepted members other than this node, drawn uniformly without a pass over all members. */
  sample(count: number, accept: (member: Readonly<Member>) => boolean): Readonly<Member>[] {
    const pool = this.#others;
    const drawn: Readonly<Member>[] = [];
    for (let at = 0; at < pool.length && drawn.length < count; at++) {
      const other = at + Math.floor(this.#context.random() * (pool.length - at));
      const member = pool[other]!;
      pool[other] = pool[at]!;
      pool[at] = member as MemberRecord;
      if (accept(member)) drawn.push(member);
    }
    return drawn;
  }

  /** All members, including this node. */
  *[Symbol.iterator](): Iterator<Readonly<Member>> {
    yield* this.#records.values();
  }

  setMeta(meta: Bytes): void {
    this.#self.meta = meta;
    this.#self.incarnation++;
    this.#announce();
  }

  /** The full state for a push/pull: all records, including dead members and this node. */
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
    // A record with invalid versions would make every later merge fail, here and on every node that receives it.
    if (
      versions === undefined || !versionsValid(versions) || !recordValid(message) ||
      incarnationTooFarAhead(message, known)
    ) {
      this.#context.metrics.refusedRecords++;
      return;
    }
    if (name === this.#self.name) return this.#aliveSelf({ ...message, versions });
    const shunned = this.#shunned.get(name);
    if (shunned !== undefined && sameEndpoint(shunned.record, message)) {
      shunned.lastHeardMs = nowMs;
      return;
    }
    // Another node with that name, or at that address, is not excluded.
    this.#shunned.delete(name);
    for (const [other, { record }] of this.#shunned) if (sameEndpoint(record, message)) this.#unshun(other);
    if (known === undefined) {
      if (this.#records.size >= this.#context.config.membersMax) {
        this.#context.metrics.refusedRecords++;
        return this.#emitLog(
          "full",
          `the list is full with ${this.#records.size} members: a new member is ignored`,
          "members",
        );
      }
      const member: MemberRecord = { ...recordFromAlive({ ...message, versions }), state: "alive", sinceMs: nowMs };
      this.#records.set(name, member);
      this.#others.push(member);
      this.#context.metrics.joins++;
      this.#context.joined(name);
      this.#broadcastAlive(message);
      return this.#emitChange("joined", member);
    }
    const moved = !sameEndpoint(known, message);
    // Only a member that has left may return at another address; a dead one must be forgotten first.
    if (moved && known.state !== "left") return this.#conflict(known, message);
    if (!moved && message.incarnation <= known.incarnation) return;

    const { state } = known;
    const metaChanged = !sameBytes(known.meta, message.meta);
    this.#clearSuspicion(known);
    Object.assign(known, recordFromAlive({ ...message, versions }));
    this.#broadcastAlive(message);
    if (state !== "alive") {
      known.state = "alive";
      known.sinceMs = nowMs;
    }
    if (state === "dead" || state === "left") {
      this.#context.metrics.joins++;
      this.#context.joined(name);
      return this.#emitChange("joined", known);
    }
    if (state === "suspect") this.#emitChange("trusted", known);
    if (metaChanged) this.#emitChange("updated", known);
  }

  suspect(message: Omit<Suspect, "kind">, nowMs: number): void {
    const known = this.#records.get(message.node);
    if (known === undefined || message.incarnation < known.incarnation || incarnationTooFarAhead(message, known)) {
      return;
    }
    if (known === this.#self) {
      if (!this.leaving) this.#refute(message.incarnation, message.from);
      return;
    }
    if (known.suspicion !== undefined) {
      if (known.suspicion.confirm(message.from)) {
        this.#suspicionEndsMs = undefined;
        this.#broadcastAccusation({ kind: "suspect", ...message });
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
    this.#broadcastAccusation({ kind: "suspect", ...message });
    this.#emitChange("suspected", known);
  }

  dead(message: Omit<Dead, "kind">, nowMs: number): void {
    if (message.from === message.node) this.#unshun(message.node);
    const known = this.#records.get(message.node);
    if (known === undefined || message.incarnation < known.incarnation || incarnationTooFarAhead(message, known)) {
      return;
    }
    if (known === this.#self && !this.leaving) return this.#refute(message.incarnation, message.from);
    this.#clearSuspicion(known);
    if (known.state === "dead" || known.state === "left") return;
    known.state = message.from === message.node ? "left" : "dead";
    known.incarnation = message.incarnation;
    known.sinceMs = nowMs;
    this.#broadcastAccusation({ kind: "dead", ...message });
    if (known.state === "dead") {
      this.#context.metrics.failures++;
      this.#context.failed();
    }
    this.#emitChange(known.state === "left" ? "left" : "failed", known);
  }

  /** Leaves: a `dead` message of this node about itself. */
  leave(nowMs: number): void {
    this.leaving = true;
    this.dead({ node: this.#self.name, incarnation: this.#self.incarnation, from: this.#self.name }, nowMs);
  }

  /** Merges a peer's whole state, or none of it when the protocol versions are incompatible. */
  merge(state: PushPull, nowMs: number): void {
    const incompatible = this.#firstIncompatible(state.nodes);
    if (incompatible !== undefined) {
      this.#context.metrics.refusedMerges++;
      return this.#emitLog(
        "misfit",
        `the state of a peer is refused: the protocol versions of "${incompatible}" are incompatible`,
        incompatible,
      );
    }
    for (const { name, ...node } of state.nodes) {
      switch (node.state) {
        case "alive":
          this.alive({ ...node, node: name }, nowMs);
          break;
        case "left":
          this.dead({ node: name, incarnation: node.incarnation, from: name }, nowMs);
          break;
        // A death in a peer's state only starts a suspicion, so that a live member can refute it.
        case "dead":
        case "suspect":
          this.suspect({ node: name, incarnation: node.incarnation, from: this.#self.name }, nowMs);
          break;
        default:
          node.state satisfies never;
      }
    }
  }

  /** When the next suspicion ends; Infinity without suspicions. */
  suspicionEndsMs(): number {
    if (this.#suspicionEndsMs === undefined) {
      this.#suspicionEndsMs = Infinity;
      for (const { suspicion } of this.#suspects) {
        this.#suspicionEndsMs = Math.min(this.#suspicionEndsMs, suspicion!.endsMs);
      }
    }
    return this.#suspicionEndsMs;
  }

  /** Declares suspects dead that have not refuted the suspicion in time. */
  expire(nowMs: number): void {
    if (this.suspicionEndsMs() > nowMs) return;
    for (const { suspicion, name, incarnation } of [...this.#suspects]) {
      if (suspicion!.endsMs > nowMs) continue;
      this.dead({ node: name, incarnation, from: this.#self.name }, nowMs);
    }
  }

  /** Extends every suspicion by `byMs`, in which this process did not run, and at least to `notBeforeMs`. */
  postpone(byMs: number, notBeforeMs: number): void {
    for (const { suspicion } of this.#suspects) suspicion!.postpone(byMs, notBeforeMs);
    this.#suspicionEndsMs = undefined;
  }

  /** Drops records that have been dead or left for longer than `gossipToTheDeadMs`, and silent shunned members. */
  forget(nowMs: number): Member[] {
    for (const [name, { lastHeardMs: heardMs }] of this.#shunned) {
      if (nowMs - heardMs > shunnedRetentionMs) this.#unshun(name);
    }
    const forgotten = this.#others.filter(({ state, sinceMs }) =>
      (state === "dead" || state === "left") && nowMs - sinceMs > this.#context.config.gossipToTheDeadMs
    );
    if (forgotten.length === 0) return forgotten;
    for (const member of forgotten) {
      this.#records.delete(member.name);
      this.#emitChange("forgotten", member);
    }
    this.#others = this.#others.filter(({ name }) => this.#records.has(name));
    return forgotten;
  }

  #unshun(name: string): void {
    const shunned = this.#shunned.get(name);
    if (shunned === undefined) return;
    this.#shunned.delete(name);
    this.#emitChange("forgotten", shunned.record);
  }

  #clearSuspicion(known: MemberRecord): void {
    if (known.suspicion === undefined) return;
    delete known.suspicion;
    this.#suspects.delete(known);
    this.#suspicionEndsMs = undefined;
  }

  #aliveSelf(message: Omit<Alive, "kind"> & { versions: Versions }): void {
    if (this.leaving) return;
    if (!sameEndpoint(this.#self, message)) return this.#conflict(this.#self, message);
    if (message.incarnation < this.#self.incarnation) return;
    const same = sameBytes(this.#self.meta, message.meta) && sameVersions(this.#self.versions, message.versions);
    if (message.incarnation === this.#self.incarnation && same) return;
    this.#refute(message.incarnation, undefined);
  }

  /** Refutes a message about this node with a higher incarnation than the message's. */
  #refute(incarnation: number, accuser: string | undefined): void {
    this.#self.incarnation = Math.min(Math.max(this.#self.incarnation, incarnation) + 1, 0xffff_ffff);
    this.#context.awareness.change(1);
    this.#context.metrics.refutations++;
    if (accuser !== undefined) this.#emitLog("refuted", "a peer suspected this node, which refutes it", accuser);
    this.#announce();
  }

  #announce(): void {
    this.#broadcastAlive({ ...this.#self, node: this.#self.name });
  }

  #broadcastAlive(message: Omit<Alive, "kind">): void {
    this.#context.queue.add(message.node, encodeMessage({ ...message, kind: "alive" }));
  }

  #broadcastAccusation(message: Suspect | Dead): void {
    this.#context.queue.add(message.node, encodeMessage(message));
  }

  #conflict(known: Member, message: Omit<Alive, "kind">): void {
    this.#context.metrics.conflicts++;
    if (known.state !== "dead") this.#context.nameClaimed(known.name, { address: message.address, port: message.port });
    const [holder, claimer] = [known, message].map(({ address, port }) => `${addressToText(address)}:${port}`);
    const subject = known === this.#self ? "this node" : `the member "${known.name}"`;
    this.#emitLog(
      "conflict",
      `${subject} is at ${holder}, but another node with the same name is at ${claimer}`,
      known.name,
    );
  }

  /** The name of the first record whose versions are outside of the range that every live member supports. */
  #firstIncompatible(remote: readonly NodeState[]): string | undefined {
    // A record without versions is refused later; here it must not stop the merge of the others, as it does in Go.
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

  #emitChange(change: MemberChange, { suspicion: _, ...member }: MemberRecord): void {
    this.#context.emit({ kind: "member", change, member });
  }

  #emitLog(code: "full" | "misfit" | "conflict" | "refuted", text: string, about: string): void {
    this.#context.emit({ kind: "log", level: code === "refuted" ? "info" : "warn", code, text, about });
  }
}

function recordFromAlive(
  { node: name, address, port, meta, incarnation, versions }: Omit<Alive, "kind"> & { versions: Versions },
) {
  return { name, address, port, meta, incarnation, versions };
}

function versionsValid({ protocolMin, protocolMax }: Versions): boolean {
  return protocolMin > 0 && protocolMax > 0 && protocolMin <= protocolMax;
}

/** The conditions that every later use of a record relies on. */
function recordValid({ node, port, meta, incarnation }: Omit<Alive, "kind">): boolean {
  return node !== "" && node.length <= nameLengthMax && port > 0 && meta.length <= metaBytesMax && incarnation > 0;
}

function incarnationTooFarAhead(
  { incarnation }: { incarnation: number },
  known: Readonly<Member> | undefined,
): boolean {
  return incarnation > incarnationSoftMax && incarnation > (known?.incarnation ?? 0) + incarnationStepMax;
}

function sameVersions(a: Versions, b: Versions): boolean {
  return (Object.keys(a) as (keyof Versions)[]).every((key) => a[key] === b[key]);
}
