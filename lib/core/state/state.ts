/**
 * The state of one node, grouped by what it is about. Each turn copies the groups, changes the copies and returns them;
 * nothing outside a turn changes a state. `invariants.ts` states what holds between the fields after every turn.
 *
 * Times named `...Ms` are milliseconds of the monotonic clock.
 */
import type { AnsweredEffect, JournalEntry } from "../facts/effect.ts";
import type { Phase, Reason } from "../facts/reason.ts";
import type { Identity, View } from "../facts/view.ts";
import type { Settings } from "../facts/settings.ts";
import type { DataDir } from "../facts/data_dir.ts";
import type { NodeRecord, PauseMark, Pledge } from "../facts/node_record.ts";
import type { GossipKeys, GossipPeer, NameConflict, PeerFacts, RememberedPeer, Status } from "../facts/peer.ts";
import type { EndpointFacts, EtcdProcess, HashEvidence, MemberAnswer, RaftFacts } from "../facts/cluster.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";
import { type EtcdProgress, noProgress } from "./watchdog.ts";
import type { SilentManager } from "../rules/membership/leader_handover.ts";
import type { BootstrapProgress } from "../rules/bootstrap/commit.ts";
import type { BackupHistory, BackupLag, KnownSnapshot } from "../rules/backup.ts";
import type { PendingCommand } from "../facts/command.ts";
import type { Plan } from "../facts/plan.ts";
import type { Now } from "../facts/event.ts";
import { digestOf } from "../facts/digest.ts";

/** The effects of one slot are performed one after another; slots run side by side. */
export type Slot = "local" | "cluster" | "source" | "backup" | "record" | "plan" | "care" | "command";

export interface FailedEffect {
  readonly kind: AnsweredEffect["kind"];
  /** The error of the manager. */
  readonly text: string;
  readonly atMs: number;
}

/** A condition that an operator must know of until it is over. */
export interface Problem {
  /** `info`: expected, as a planned restart is. */
  readonly level: "info" | "warn" | "error";
  readonly reason: Reason;
  /** True for an error of the surroundings that leaves the service of this node intact. */
  readonly keepsReady?: boolean;
}

/** This process: its identity for nonces, and its clocks. */
export interface ProcessState {
  /** Random text of this process, from which nonces are made. */
  seed: string;
  /** How many nonces were made from it. */
  nonces: number;
  bootedAtMs: number;
  lastEventMs: number;
  /** Since when events arrived without a gap: no timer counts time in which this process did not run. */
  watchingSinceMs: number;
  timerAtMs: number | undefined;
  /** The exit status and the reason to end with, once etcd has stopped. */
  ending: { readonly code: number; readonly reason: Reason } | undefined;
}

/** The data-dir and the record beside it. */
export interface DiskState {
  data: DataDir;
  record: NodeRecord;
  /** The record lies on disk as it is here: only then may other nodes count on its nonce. */
  recordPersisted: boolean;
  /** When the positions of the members' logs were last written into the record. */
  logsWrittenMs: number | undefined;
  /** When the own raft log was last read while etcd ran without a leader. */
  logReadMs: number | undefined;
  /** How many checks in a row did not find the data-dir that the own etcd runs on. */
  missingChecks: number;
}

/** What gossip knows, and what this node publishes by it. */
export interface GossipState {
  gossipJoinedAtMs: number | undefined;
  /** All peers that gossip knows. */
  known: readonly GossipPeer[];
  /** Those of `known` that the rules see: without the peers of another cluster. */
  peers: readonly GossipPeer[];
  /** Names of the peers of another cluster, and since when they are known as that. */
  foreign: ReadonlyMap<string, number>;
  /** Names of the peers that gossip keeps apart from. */
  shunned: readonly string[];
  gossipKeys: GossipKeys;
  nameConflicts: readonly NameConflict[];
  /** Since when there is any. */
  nameConflictSinceMs: number | undefined;
  /** By name: peers that this process has met, those included that gossip has forgotten. */
  rememberedPeers: ReadonlyMap<string, RememberedPeer>;
  /** The original's status of this node. */
  status: Status;
  /** The facts that were published last. */
  facts: PeerFacts | undefined;
  /** The same as text, without the sequence number. */
  factsText: string;
}

/** The etcd cluster and its members, as they answer. */
export interface MembershipState {
  /** By client URL. */
  endpoints: ReadonlyMap<string, EndpointFacts>;
  /** When each endpoint was last probed. */
  lastProbedAtMs: ReadonlyMap<string, number>;
  /** A change of the members at this time made all answers before it stale. */
  probesInvalidatedAtMs: number;
  memberSinceMs: ReadonlyMap<string, number>;
  memberAnswers: ReadonlyMap<string, MemberAnswer>;
  raft: RaftFacts | undefined;
  /** When the leader's raft was last probed. */
  raftProbedMs: number | undefined;
  lastCluster: View["lastCluster"];
  /** The manager beside the leader that this member follows, while it is silent. */
  silentManager: SilentManager | undefined;
  /** Member id that this process was given when it added itself. */
  added: string | undefined;
  /** Since when the cluster has fewer voters than its record names. */
  fewVotersSinceMs: number | undefined;
  /** The cluster record was compared with `-n`. */
  clusterRecordVerified: boolean;
}

/** The snapshot store and the backups of the cluster. */
export interface SnapshotState {
  lookup: SnapshotLookup;
  /** What the last lookup found, for people, and the newest snapshot that any lookup has found. */
  store: { readonly lookup: SnapshotLookup; readonly newest: Extract<SnapshotLookup, { kind: "newest" }> | undefined };
  /** `View.newestSinceMs` and `newestAskedMs`, and the hash that they are about. */
  newestSince: { readonly hash: string; readonly ms: number; readonly askedMs: number } | undefined;
  lookupStartedMs: number | undefined;
  /** A lookup is under way: lookups never overlap. */
  lookupInFlight: boolean;
  backup: BackupHistory;
  backupLag: BackupLag;
  ownSnapshot: KnownSnapshot | undefined;
  lastSnapshotAtWallMs: number | undefined;
  /** The highest revision of the own life that the store has shown, and the own etcd's linearizable reads since. */
  storedAhead: { readonly token: string; readonly revision: number; readonly reads: number } | undefined;
  /** The newest snapshot of a later life in the store, and when a newer one of it was seen to come. */
  storedLife: { readonly hash: string; readonly savedAtMs: number | undefined } | undefined;
}

/** The own etcd process. */
export interface OwnEtcdState {
  etcd: EtcdProcess;
  /** How often etcd has exited unexpectedly since it was last ready. */
  exits: number;
  etcdProgress: EtcdProgress;
  leaderlessSinceMs: number | undefined;
  /** Version of the etcd that is installed for sure: a joiner has one that fits before the cluster is changed. */
  provided: string | undefined;
}

/** How this node's data comes to be: bootstrap, restore and recovery. */
export interface BootstrapState {
  /** The pledge that this node carries out: from here there is no way back. */
  committing: Pledge | undefined;
  progress: BootstrapProgress;
  /** Digest of the pledge that the data-dir was restored for in this life of the process. */
  restored: string | undefined;
  /** Of a restored cluster: the volatile keys of this epoch are cleared. */
  volatileKeysCleared: boolean;
  /** Of a restored cluster: the hashes of the members were compared. */
  hashesCompared: boolean;
}

/** What the leader's node does for the cluster beside membership. */
export interface MaintenanceState {
  /** Of the members, when etcd last accused one of them. */
  hashes: HashEvidence | undefined;
  plan: Plan | undefined;
  planReadMs: number | undefined;
  /** A plan that the operator requested at this node and that is not in etcd yet. */
  requested: Plan | undefined;
}

/** What the operator set that lasts. */
export interface OperatorState {
  pauseMark: PauseMark | undefined;
  /** Not answered yet, the oldest first. */
  commands: readonly PendingCommand[];
}

/** What this node reports. */
export interface ReportState {
  waitingFor: Reason | undefined;
  /** How urgent that is, see `Turn.waitFor`. */
  waitingLevel: JournalEntry["level"];
  /** Since when this node waits without a gap for what only an operator ends (wait_level.ts). */
  escalatingSinceMs: number;
  /** Standing problems by their codes, see `Turn.report`. */
  problems: ReadonlyMap<string, Problem>;
  journal: readonly JournalEntry[];
}

/** Requested effects and what became of them. */
export interface EffectState {
  inFlight: ReadonlyMap<Slot, AnsweredEffect>;
  /** What failed last in each slot, and has not succeeded since. */
  failing: ReadonlyMap<Slot, FailedEffect>;
  /** When a slot may be used again after a failure. */
  backoffUntilMs: ReadonlyMap<Slot, number>;
  nextId: number;
}

/** The state of a node within a turn. */
export interface MutableNodeState {
  self: Identity;
  settings: Settings;
  phase: Phase;
  readonly process: ProcessState;
  readonly disk: DiskState;
  readonly gossip: GossipState;
  readonly membership: MembershipState;
  readonly snapshots: SnapshotState;
  readonly ownEtcd: OwnEtcdState;
  readonly bootstrap: BootstrapState;
  readonly maintenance: MaintenanceState;
  readonly operator: OperatorState;
  readonly reports: ReportState;
  readonly effects: EffectState;
}

export type NodeState = { readonly [K in keyof MutableNodeState]: Readonly<MutableNodeState[K]> };

/** A copy that a turn may change. */
export function copyOf(state: NodeState): MutableNodeState {
  return {
    self: state.self,
    settings: state.settings,
    phase: state.phase,
    process: { ...state.process },
    disk: { ...state.disk },
    gossip: { ...state.gossip },
    membership: { ...state.membership },
    snapshots: { ...state.snapshots },
    ownEtcd: { ...state.ownEtcd },
    bootstrap: { ...state.bootstrap },
    maintenance: { ...state.maintenance },
    operator: { ...state.operator },
    reports: { ...state.reports },
    effects: { ...state.effects },
  };
}

/**
 * The state of a node before its first event. `seed` is random text, new for each start of the process; `pauseMark` is the
 * one on disk.
 */
export function createNode(
  self: Identity,
  settings: Settings,
  seed: string,
  now: Now,
  pauseMark?: PauseMark,
): NodeState {
  const noLookup: SnapshotLookup = settings.snapshots ? { kind: "unknown" } : { kind: "unconfigured" };
  return {
    self,
    settings,
    phase: "booting",
    process: {
      seed,
      nonces: 1,
      bootedAtMs: now.monotonicMs,
      lastEventMs: now.monotonicMs,
      watchingSinceMs: now.monotonicMs,
      timerAtMs: undefined,
      ending: undefined,
    },
    disk: {
      data: { kind: "unknown" },
      record: { nonce: nonceOf(seed, 0), pledges: [] },
      recordPersisted: false,
      logsWrittenMs: undefined,
      logReadMs: undefined,
      missingChecks: 0,
    },
    gossip: {
      gossipJoinedAtMs: undefined,
      known: [],
      peers: [],
      foreign: new Map(),
      shunned: [],
      gossipKeys: { mismatches: [] },
      nameConflicts: [],
      nameConflictSinceMs: undefined,
      rememberedPeers: new Map(),
      status: "unknown",
      facts: undefined,
      factsText: "",
    },
    membership: {
      endpoints: new Map(),
      lastProbedAtMs: new Map(),
      probesInvalidatedAtMs: -Infinity,
      memberSinceMs: new Map(),
      memberAnswers: new Map(),
      raft: undefined,
      raftProbedMs: undefined,
      lastCluster: undefined,
      silentManager: undefined,
      added: undefined,
      fewVotersSinceMs: undefined,
      clusterRecordVerified: false,
    },
    snapshots: {
      lookup: noLookup,
      store: { lookup: noLookup, newest: undefined },
      newestSince: undefined,
      lookupStartedMs: undefined,
      lookupInFlight: false,
      backup: { revision: 0, diverged: false },
      backupLag: { newest: "", aheadSinceMs: undefined },
      ownSnapshot: undefined,
      lastSnapshotAtWallMs: undefined,
      storedAhead: undefined,
      storedLife: undefined,
    },
    ownEtcd: {
      etcd: { kind: "stopped" },
      exits: 0,
      etcdProgress: noProgress,
      leaderlessSinceMs: undefined,
      provided: undefined,
    },
    bootstrap: {
      committing: undefined,
      progress: {},
      restored: undefined,
      volatileKeysCleared: false,
      hashesCompared: false,
    },
    maintenance: { hashes: undefined, plan: undefined, planReadMs: undefined, requested: undefined },
    operator: { pauseMark, commands: [] },
    reports: {
      waitingFor: undefined,
      waitingLevel: "info",
      escalatingSinceMs: -Infinity,
      problems: new Map(),
      journal: [],
    },
    effects: { inFlight: new Map(), failing: new Map(), backoffUntilMs: new Map(), nextId: 1 },
  };
}

export function nonceOf(seed: string, count: number): string {
  return digestOf("nonce", seed, String(count)).slice(0, 16);
}

/** This node serves, and its etcd has a leader. */
export const servingWithLeader = ({ phase, ownEtcd }: NodeState): boolean =>
  phase === "serving" && ownEtcd.leaderlessSinceMs === undefined;
