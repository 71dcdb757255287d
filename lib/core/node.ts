/**
 * One node's life as a pure function: `step(node, event, now)` gives the next state and the effects to perform. It
 * reads no clock, no network, no disk. Facts come in by apply.ts, the rules are asked in decide.ts, and what is said
 * to peers is made in facts.ts.
 */
import { apply } from "./apply.ts";
import type { BackupHistory } from "./backup.ts";
import type { Progress } from "./commit.ts";
import { decide } from "./decide.ts";
import { digestOf } from "./digest.ts";
import type { AnsweredEffect, Effect, JournalEntry } from "./effect.ts";
import type { Event, Now } from "./event.ts";
import { publishedFacts } from "./facts.ts";
import type { Plan } from "./plan.ts";
import type { HashEvidence } from "./replace_corrupt.ts";
import { Turn } from "./turn.ts";
import type {
  Catalogue,
  DataDir,
  EndpointFacts,
  EtcdProcess,
  GossipPeer,
  Identity,
  NodeRecord,
  PeerFacts,
  Phase,
  Pledge,
  Reason,
  Settings,
  Status,
  View,
} from "./view.ts";

/** Deeds of one slot are done one after another; slots run side by side. */
export type Slot = "local" | "cluster" | "source" | "backup" | "record" | "plan" | "care";

export interface FailedDeed {
  readonly kind: AnsweredEffect["kind"];
  /** What the manager said. */
  readonly text: string;
  /** Monotonic. */
  readonly atMs: number;
}

export interface Draft {
  self: Identity;
  settings: Settings;
  phase: Phase;
  data: DataDir;
  record: NodeRecord;
  /** The record lies on disk as it is here: only then may others count on its nonce. */
  recordKept: boolean;
  /** Random text of this process, from which nonces are made. */
  seed: string;
  nonces: number;
  bootedAtMs: number;
  lastEventMs: number;
  watchingSinceMs: number;
  gossipJoinedAtMs: number | undefined;
  peers: readonly GossipPeer[];
  endpoints: ReadonlyMap<string, EndpointFacts>;
  /** When each endpoint was last asked. */
  asked: ReadonlyMap<string, number>;
  /** When a change of the members made all answers before it old news. */
  voidedAtMs: number;
  memberSinceMs: ReadonlyMap<string, number>;
  lastCluster: View["lastCluster"];
  catalogue: Catalogue;
  /** What the last look into the store found, for people, and the newest snapshot that one has found. */
  store: { readonly look: Catalogue; readonly newest: Extract<Catalogue, { kind: "newest" }> | undefined };
  catalogueAskedMs: number | undefined;
  etcd: EtcdProcess;
  /** How often etcd has ended by itself since it was last ready. */
  exits: number;
  leaderlessSinceMs: number | undefined;
  /** The founding that this node is carrying out: from here there is no way back. */
  committing: Pledge | undefined;
  progress: Progress;
  /** Digest of the founding that the data-dir was restored for in this life. */
  restored: string | undefined;
  /** Member id that this process was given when it added itself. */
  added: string | undefined;
  /** The oldest minor version of etcd that is here for sure: whoever joins has it before the cluster is changed. */
  provided: string | undefined;
  recordChecked: boolean;
  /** Restored clusters: the volatile keys of this epoch are cleared, the hashes compared. */
  cleared: boolean;
  compared: boolean;
  backup: BackupHistory;
  /** Of the members, when etcd last accused one of them. */
  hashes: HashEvidence | undefined;
  lastSnapshotAtWallMs: number | undefined;
  plan: Plan | undefined;
  planReadMs: number | undefined;
  /** Asked for by the operator at this node, not yet in etcd. */
  requested: Plan | undefined;
  deeds: ReadonlyMap<Slot, AnsweredEffect>;
  /** What failed last in each slot, and has not succeeded since. */
  failing: ReadonlyMap<Slot, FailedDeed>;
  rests: ReadonlyMap<Slot, number>;
  nextId: number;
  status: Status;
  facts: PeerFacts | undefined;
  factsText: string;
  timerAtMs: number | undefined;
  waitingFor: Reason | undefined;
  /** A reason to end with, once etcd has stopped. */
  ending: { readonly code: number; readonly reason: Reason } | undefined;
  journal: readonly JournalEntry[];
}

export type Node = Readonly<Draft>;

/** A node before its first event. `seed` is random text, new for each start of the process. */
export function createNode(self: Identity, settings: Settings, seed: string, now: Now): Node {
  return {
    self,
    settings,
    phase: "booting",
    data: { kind: "unknown" },
    record: { nonce: nonceOf(seed, 0), pledges: [] },
    recordKept: false,
    seed,
    nonces: 1,
    bootedAtMs: now.monotonicMs,
    lastEventMs: now.monotonicMs,
    watchingSinceMs: now.monotonicMs,
    gossipJoinedAtMs: undefined,
    peers: [],
    endpoints: new Map(),
    asked: new Map(),
    voidedAtMs: -Infinity,
    memberSinceMs: new Map(),
    lastCluster: undefined,
    catalogue: settings.snapshots ? { kind: "unknown" } : { kind: "unconfigured" },
    store: { look: settings.snapshots ? { kind: "unknown" } : { kind: "unconfigured" }, newest: undefined },
    catalogueAskedMs: undefined,
    etcd: { kind: "stopped" },
    exits: 0,
    leaderlessSinceMs: undefined,
    committing: undefined,
    progress: {},
    restored: undefined,
    added: undefined,
    provided: undefined,
    recordChecked: false,
    cleared: false,
    compared: false,
    backup: { revision: 0, diverged: false },
    hashes: undefined,
    lastSnapshotAtWallMs: undefined,
    plan: undefined,
    planReadMs: undefined,
    requested: undefined,
    deeds: new Map(),
    failing: new Map(),
    rests: new Map(),
    nextId: 1,
    status: "unknown",
    facts: undefined,
    factsText: "",
    timerAtMs: undefined,
    waitingFor: undefined,
    ending: undefined,
    journal: [],
  };
}

/** What a node knows now, for commands that ask «what would happen» (`e2d plan`, `e2d scale`). */
export function viewOf(node: Node, now: Now): View {
  return new Turn({ ...node }, now).view;
}

export function nonceOf(seed: string, count: number): string {
  return digestOf("nonce", seed, String(count)).slice(0, 16);
}

/** A node looks around at least this often, so that a gap between two events means that it was paused. */
export const heartbeatMs = 1_000;
const pausedMs = 2_500;

export function step(node: Node, event: Event, now: Now): { node: Node; effects: readonly Effect[] } {
  if (node.phase === "stopped" || node.phase === "failed") return { node, effects: [] };
  const turn = new Turn({ ...node }, now);
  const draft = turn.node;
  if (now.monotonicMs - node.lastEventMs > heartbeatMs + pausedMs) {
    draft.watchingSinceMs = now.monotonicMs;
    turn.notice("warn", "paused", {
      code: "was_paused",
      text: `nothing was heard for ${now.monotonicMs - node.lastEventMs} ms, so this node distrusts its clocks`,
    });
  }
  draft.lastEventMs = now.monotonicMs;
  apply(turn, event);
  turn.changed();
  decide(turn);
  say(turn);
  arm(turn);
  return { node: draft, effects: turn.effects };
}

/** Tells peers what changed. */
function say(turn: Turn): void {
  const { node } = turn;
  const facts = publishedFacts(turn);
  const text = JSON.stringify(facts);
  if (text !== node.factsText) {
    node.factsText = text;
    node.facts = { ...facts, sequence: (node.facts?.sequence ?? 0) + 1 };
    turn.emit({ kind: "publishFacts", facts: node.facts });
  }
}

function arm(turn: Turn): void {
  const { node, now } = turn;
  if (node.phase === "stopped" || node.phase === "failed") return;
  const wakeMs = Math.max(now.monotonicMs + 1, Math.min(turn.wakeMs, now.monotonicMs + heartbeatMs));
  const armed = node.timerAtMs;
  if (armed !== undefined && armed > now.monotonicMs && armed <= wakeMs) return;
  node.timerAtMs = wakeMs;
  turn.emit({ kind: "armTimer", atMs: wakeMs });
}

/** This node serves, and its etcd has a leader. */
export const isCalm = ({ phase, leaderlessSinceMs }: Node) => phase === "serving" && leaderlessSinceMs === undefined;
