/**
 * One turn of a node: the next state in progress, the effects emitted so far, and what the phases share: request an effect
 * if its slot is free, report a reason once, set the time of the next turn.
 */
import { withoutUndefined } from "../../without_undefined.ts";
import type { AnsweredEffect, Effect, JournalEntry } from "../facts/effect.ts";
import type { View } from "../facts/view.ts";
import type { MutableNodeState, Slot } from "./state.ts";
import type { Now } from "../facts/event.ts";
import type { Status } from "../facts/peer.ts";
import type { Phase, Reason } from "../facts/reason.ts";
import { escalates, lastingMs, levelOfWait } from "../rules/wait_level.ts";

export type WithoutId<T> = T extends { readonly id: number } ? Omit<T, "id"> : never;

/** The backoff of a slot after a failed effect. */
export const retryDelayMs = 1_000;

/** How long after a change of the members the fresh answers may be missing. */
export const probesInvalidForMs = 1_500;

export class Turn {
  readonly effects: Effect[] = [];
  #wakeMs = Infinity;
  #view: View | undefined;

  constructor(readonly node: MutableNodeState, readonly now: Now) {}

  /** The facts of this turn, as they are after the changes so far. */
  get view(): View {
    const { node, now } = this;
    return this.#view ??= {
      nowMs: now.monotonicMs,
      nowWallMs: now.wallMs,
      self: node.self,
      settings: node.settings,
      data: node.disk.data,
      record: node.disk.record,
      ...withoutUndefined({ logTerms: node.disk.logTerms }),
      bootedAtMs: node.process.bootedAtMs,
      peers: node.gossip.peers,
      gossipKeys: node.gossip.gossipKeys,
      nameConflicts: node.gossip.nameConflicts,
      endpoints: node.membership.endpoints,
      memberSinceMs: node.membership.memberSinceMs,
      memberAnswers: node.membership.memberAnswers,
      ...withoutUndefined({ raft: node.membership.raft }),
      snapshotLookup: node.snapshots.lookup,
      etcd: node.ownEtcd.etcd,
      watchingSinceMs: node.process.watchingSinceMs,
      rememberedPeers: node.gossip.rememberedPeers,
      ...withoutUndefined({ pauseMark: node.operator.pauseMark }),
      ...(node.snapshots.newestSince === undefined ? {} : {
        newestSinceMs: node.snapshots.newestSince.ms,
        newestAskedMs: node.snapshots.newestSince.askedMs,
      }),
      ...withoutUndefined({ lastCluster: node.membership.lastCluster }),
      ...withoutUndefined({ gossipJoinedAtMs: node.gossip.gossipJoinedAtMs }),
      ...withoutUndefined({ leaderlessSinceMs: node.ownEtcd.leaderlessSinceMs }),
      ...withoutUndefined({ leaderSinceMs: node.ownEtcd.leaderSinceMs }),
    };
  }

  /** Must be called after a change of facts in `node`, before the next use of `view`. */
  invalidateView(): void {
    this.#view = undefined;
  }

  /** True shortly after a change of the members, when the answers that follow it may be missing. */
  get probesJustInvalidated(): boolean {
    return this.now.monotonicMs - this.node.membership.probesInvalidatedAtMs < probesInvalidForMs;
  }

  emit(effect: Effect): void {
    this.effects.push(effect);
  }

  /** True if no effect of this slot is in flight and its backoff is over. */
  isFree(slot: Slot): boolean {
    if (this.node.effects.inFlight.has(slot)) return false;
    const backoffUntilMs = this.node.effects.backoffUntilMs.get(slot) ?? 0;
    if (backoffUntilMs <= this.now.monotonicMs) return true;
    this.wakeAt(backoffUntilMs);
    return false;
  }

  /** Requests the effect if its slot is free; returns whether it did. */
  request(slot: Slot, requested: WithoutId<AnsweredEffect>): boolean {
    if (!this.isFree(slot)) return false;
    const effect = { ...requested, id: this.node.effects.nextId++ } as AnsweredEffect;
    this.node.effects.inFlight = new Map(this.node.effects.inFlight).set(slot, effect);
    // From here on an exit concerns this start, not the previous process.
    if (effect.kind === "startEtcd") this.node.ownEtcd.etcd = { kind: "stopped" };
    this.emit(effect);
    return true;
  }

  backOff(slot: Slot, ms: number): void {
    this.node.effects.backoffUntilMs = new Map(this.node.effects.backoffUntilMs).set(slot, this.now.monotonicMs + ms);
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

  /** Sets the status of the original's protocol; emitted only after a change. */
  setStatus(to: Status): void {
    if (this.node.gossip.status === to) return;
    this.node.gossip.status = to;
    this.emit({ kind: "setStatus", status: to });
  }

  enter(phase: Phase, reason: Reason, facts: JournalEntry["facts"] = {}): void {
    if (this.node.phase === phase) return;
    const outcome = `${this.node.phase} → ${phase}`;
    this.node.phase = phase;
    this.node.reports.waitingFor = undefined;
    this.#log({ level: phase === "failed" ? "error" : "info", what: "decided", outcome, reason, facts });
  }

  /**
   * Records what the node waits for; logged once, and again after a change of the reason or of the level. wait_level.ts may
   * raise the level that the rule `asked` for.
   */
  waitFor(reason: Reason, asked: JournalEntry["level"] = "info"): void {
    const { node, now } = this;
    const [before, levelBefore] = [node.reports.waitingFor, node.reports.waitingLevel];
    if (escalates(reason.code, node.settings)) {
      if (before === undefined || !escalates(before.code, node.settings)) {
        node.reports.escalatingSinceMs = now.monotonicMs;
      }
      if (now.monotonicMs - node.reports.escalatingSinceMs < lastingMs) {
        this.wakeAt(node.reports.escalatingSinceMs + lastingMs);
      }
    }
    const level = levelOfWait(reason.code, asked, node.settings, now.monotonicMs - node.reports.escalatingSinceMs);
    // A hint may contain a time that changes from turn to turn: it is not compared.
    node.reports.waitingFor = reason;
    node.reports.waitingLevel = level;
    if (before?.code === reason.code && before.text === reason.text && levelBefore === level) return;
    this.#log({ level, what: "waits", outcome: "wait", reason, facts: {} });
  }

  /** The wait is over. */
  waitNoMore(): void {
    const before = this.node.reports.waitingFor;
    if (before === undefined) return;
    this.node.reports.waitingFor = undefined;
    this.notice("info", "wait ended", { code: before.code, text: `no longer: ${before.text}` });
  }

  /** Records a decision for `e2d why`. `level`: `warn` for an automatic action that changes the members or quarantines data. */
  recordDecision(
    outcome: string,
    reason: Reason,
    facts: JournalEntry["facts"] = {},
    level: JournalEntry["level"] = "info",
  ): void {
    this.node.reports.waitingFor = undefined;
    this.#log({ level, what: "decided", outcome, reason, facts });
  }

  /**
   * Reports a problem, identified by its code: logged when it begins or changes, in the status until {@link resolve} is
   * called. An error makes the node not ready unless it `keepsReady`.
   */
  report(level: "info" | "warn" | "error", reason: Reason, { keepsReady = false } = {}): void {
    const before = this.node.reports.problems.get(reason.code);
    const isSame = before?.level === level && before.reason.text === reason.text;
    if (isSame && before.reason.hint === reason.hint && before.keepsReady === (keepsReady || undefined)) return;
    const problem = { level, reason, ...(keepsReady ? { keepsReady } : {}) };
    this.node.reports.problems = new Map(this.node.reports.problems).set(reason.code, problem);
    // A hint may contain a time that changes from turn to turn.
    if (!isSame) this.notice(level, "problem", reason);
  }

  /** Ends the problem with that code, if there is one. */
  resolve(code: string): void {
    const before = this.node.reports.problems.get(code);
    if (before === undefined) return;
    this.node.reports.problems = new Map([...this.node.reports.problems].filter(([each]) => each !== code));
    this.notice("info", "resolved", { code, text: `resolved: ${before.reason.text}` });
  }

  notice(level: JournalEntry["level"], outcome: string, reason: Reason): void {
    this.#log({ level, what: "noticed", outcome, reason, facts: {} });
  }

  #log(entry: Omit<JournalEntry, "phase">): void {
    const full: JournalEntry = { ...entry, phase: this.node.phase };
    // A cycle of attempt and failure is logged once, not at each retry.
    const again = this.node.reports.journal.slice(-2).some((before) =>
      before.level === full.level && before.outcome === full.outcome && before.reason.code === full.reason.code &&
      before.reason.text === full.reason.text && before.phase === full.phase && before.what !== "waits"
    );
    if (again) return;
    this.node.reports.journal = [...this.node.reports.journal.slice(-(journalMax - 1)), full];
    this.emit({ kind: "journal", entry: full });
  }
}

/** Entries of the decision log that are kept in memory for `e2d why`. */
export const journalMax = 200;
