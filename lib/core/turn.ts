/**
 * One turn of a node: a draft of its next state, the effects collected so far, and the small tools every rule's
 * carrying-out needs: ask for a deed unless one of its slot is under way, say a reason once, wake up in time.
 */
import type { AnsweredEffect, Effect, JournalEntry } from "./effect.ts";
import type { Now } from "./event.ts";
import type { Draft, Slot } from "./node.ts";
import type { Phase, Reason, Status, View } from "./view.ts";

type WithoutId<T> = T extends { readonly id: number } ? Omit<T, "id"> : never;

export const paused: Reason = { code: "paused", text: "paused: no automatic action until resumed" };

/** How long a deed that failed rests before it is tried again. */
export const retryAfterMs = 1_000;
const voidedForMs = 1_500;

export class Turn {
  readonly effects: Effect[] = [];
  #wakeMs = Infinity;
  #view: View | undefined;

  constructor(readonly node: Draft, readonly now: Now) {}

  /** The facts as they are now in this turn. */
  get view(): View {
    const { node, now } = this;
    return this.#view ??= {
      nowMs: now.monotonicMs,
      nowWallMs: now.wallMs,
      self: node.self,
      settings: node.settings,
      data: node.data,
      record: node.record,
      bootedAtMs: node.bootedAtMs,
      peers: node.peers,
      endpoints: node.endpoints,
      memberSinceMs: node.memberSinceMs,
      catalogue: node.catalogue,
      etcd: node.etcd,
      watchingSinceMs: node.watchingSinceMs,
      ...(node.lastCluster === undefined ? {} : { lastCluster: node.lastCluster }),
      ...(node.gossipJoinedAtMs === undefined ? {} : { gossipJoinedAtMs: node.gossipJoinedAtMs }),
      ...(node.leaderlessSinceMs === undefined ? {} : { leaderlessSinceMs: node.leaderlessSinceMs }),
    };
  }

  /** To be called after a change of the draft's facts within a turn. */
  changed(): void {
    this.#view = undefined;
  }

  /** A change of the members was made a moment ago, and the answers that follow it are still on their way. */
  get justVoided(): boolean {
    return this.now.monotonicMs - this.node.voidedAtMs < voidedForMs;
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  /** True when nothing of this slot is under way and its rest after a failure is over. */
  free(slot: Slot): boolean {
    if (this.node.deeds.has(slot)) return false;
    const restUntilMs = this.node.rests.get(slot) ?? 0;
    if (restUntilMs <= this.now.monotonicMs) return true;
    this.wakeAt(restUntilMs);
    return false;
  }

  /** Asks for the deed if its slot is free. */
  ask(slot: Slot, deed: WithoutId<AnsweredEffect>): boolean {
    if (!this.free(slot)) return false;
    const effect = { ...deed, id: this.node.nextId++ } as AnsweredEffect;
    this.node.deeds = new Map(this.node.deeds).set(slot, effect);
    // From here an exit is this start's, not that of a process before it.
    if (effect.kind === "startEtcd") this.node.etcd = { kind: "stopped" };
    this.emit(effect);
    return true;
  }

  rest(slot: Slot, ms: number): void {
    this.node.rests = new Map(this.node.rests).set(slot, this.now.monotonicMs + ms);
  }

  wakeAt(ms: number): void {
    this.#wakeMs = Math.min(this.#wakeMs, ms);
  }

  wakeIn(ms: number): void {
    this.wakeAt(this.now.monotonicMs + ms);
  }

  get wakeMs(): number {
    return this.#wakeMs;
  }

  /** The original's status, said when it changes. */
  status(to: Status): void {
    if (this.node.status === to) return;
    this.node.status = to;
    this.emit({ kind: "setStatus", status: to });
  }

  enter(phase: Phase, reason: Reason, facts: JournalEntry["facts"] = {}): void {
    if (this.node.phase === phase) return;
    const outcome = `${this.node.phase} → ${phase}`;
    this.node.phase = phase;
    this.node.waitingFor = undefined;
    this.#tell({ level: phase === "failed" ? "error" : "info", what: "decided", outcome, reason, facts });
  }

  /** Says what is waited for, once until the reason changes. */
  waitFor(reason: Reason, level: JournalEntry["level"] = "info"): void {
    const before = this.node.waitingFor;
    if (before?.code === reason.code && before.text === reason.text) return;
    this.node.waitingFor = reason;
    this.#tell({ level, what: "waits", outcome: "wait", reason, facts: {} });
  }

  /** What was waited for has come, or is not wanted any more. */
  waitNoMore(): void {
    const before = this.node.waitingFor;
    if (before === undefined) return;
    this.node.waitingFor = undefined;
    this.notice("info", "goes on", { code: before.code, text: `no longer: ${before.text}` });
  }

  decide(outcome: string, reason: Reason, facts: JournalEntry["facts"] = {}): void {
    this.node.waitingFor = undefined;
    this.#tell({ level: "info", what: "decided", outcome, reason, facts });
  }

  notice(level: JournalEntry["level"], outcome: string, reason: Reason): void {
    this.#tell({ level, what: "noticed", outcome, reason, facts: {} });
  }

  #tell(entry: Omit<JournalEntry, "phase">): void {
    const full: JournalEntry = { ...entry, phase: this.node.phase };
    // «Tried, failed, tried again» is told once, not every second.
    const again = this.node.journal.slice(-2).some((before) =>
      before.outcome === full.outcome && before.reason.code === full.reason.code &&
      before.reason.text === full.reason.text && before.phase === full.phase && before.what !== "waits"
    );
    if (again) return;
    this.node.journal = [...this.node.journal.slice(-(journalMax - 1)), full];
    this.emit({ kind: "journal", entry: full });
  }
}

/** Diary lines kept in memory for `e2d why`. */
export const journalMax = 200;
