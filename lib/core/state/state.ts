/**
 * The state of one node, grouped by subject. Each turn copies the groups, changes the copies and returns them; nothing
 * outside a turn changes a state. `invariants.ts` has the invariants between the fields.
 *
 * Times named `...Ms` are milliseconds of the monotonic clock.
 */
import type { AnsweredEffect, JournalEntry } from "../facts/effect.ts";
import type { Phase, Reason } from "../facts/reason.ts";
import type { Identity, View } from "../facts/view.ts";
import type { Settings } from "../facts/settings.ts";
import type { DataDir } from "../facts/data_dir.ts";
import type { LogTerms, NodeRecord, OwnLogTerms, PauseMark, Pledge } from "../facts/node_record.ts";
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

/** At most one effect of a slot is in flight; the slots are independent of each other. */
export type Slot = "local" | "cluster" | "source" | "backup" | "record" | "plan" | "maintenance" | "command";

export interface FailedEffect {
  readonly kind: AnsweredEffect["kind"];
  /** The message of the error. */
  readonly text: string;
  readonly atMs: number;
}

/** A condition that the status reports while it lasts. */
export interface Problem {
  /** `info`: expected, for example during a planned restart. */
  readonly level: "info" | "warn" | "error";
  readonly reason: Reason;
  /** True for an error that does not affect the service of this node. */
  readonly keepsReady?: boolean;
}

/** This process: its identity for nonces, and its clocks. */
export interface ProcessState {
  /** Random text of this process, the source of its nonces. */
  seed: string;
  /** The number of nonces made from it. */
  nonces: number;
  bootedAtMs: number;
  lastEventMs: number;
  /** Since when events arrive without a gap: no failure timer counts time in which this process was paused. */
  watchingSinceMs: number;
  timerAtMs: number | undefined;
  /** The exit status and its reason, for the time when etcd has stopped. */
  ending: { readonly code: number; readonly reason: Reason } | undefined;
}

/** The data-dir and the record beside it. */
export interface DiskState {
  data: DataDir;
  record: NodeRecord;
  /** The record on disk is equal to this one: only then may other nodes rely on its nonce. */
  recordPersisted: boolean;
  /** When the ends of the members' logs were last written to the record. */
  logsWrittenMs: number | undefined;
  /** When the own raft log was last read while etcd ran without a leader. */
  logReadMs: number | undefined;
  /** Of the own raft log as it was read last. */
  logTerms: OwnLogTerms | undefined;
  /** The same with what was read earlier, for the peers. */
  publishedTerms: LogTerms | undefined;
  /** When the log was last read for its terms, and the own committed index then: what lies beyond may be overwritten. */
  termsReadMs: number | undefined;
  logReadCommitted: number;
  /** The number of consecutive checks that did not find the data-dir of the running etcd. */
  missingChecks: number;
}

/** What gossip knows, and what this node publishes. */
export interface GossipState {
  gossipJoinedAtMs: number | undefined;
  /** All peers that gossip knows. */
  known: readonly GossipPeer[];
  /** The peers in `known` that the rules see: those of other clusters are excluded. */
  peers: readonly GossipPeer[];
  /** Names of the peers of other clusters, and since when they are known to be foreign. */
  foreign: ReadonlyMap<string, number>;
  /** Names of the peers that gossip ignores. */
  shunned: readonly string[];
  gossipKeys: GossipKeys;
  nameConflicts: readonly NameConflict[];
  /** Since when there is a name conflict. */
  nameConflictSinceMs: number | undefined;
  /** By name: the peers that this process has met, including those that gossip has forgotten. */
  rememberedPeers: ReadonlyMap<string, RememberedPeer>;
  /** The status of this node in the original's protocol. */
  status: Status;
  /** The facts published last. */
  facts: PeerFacts | undefined;
  /** The same as text, without the sequence number. */
  factsText: string;
}

/** The etcd cluster and its members as they answer. */
export interface MembershipState {
  /** By client URL. */
  endpoints: ReadonlyMap<string, EndpointFacts>;
  /** When each endpoint was last probed. */
  lastProbedAtMs: ReadonlyMap<string, number>;
  /** A change of the members at this time invalidated all earlier answers. */
  probesInvalidatedAtMs: number;
  memberSinceMs: ReadonlyMap<string, number>;
  memberAnswers: ReadonlyMap<string, MemberAnswer>;
  raft: RaftFacts | undefined;
  /** When the leader's raft was last probed. */
  raftProbedMs: number | undefined;
  lastCluster: View["lastCluster"];
  /** The manager of the leader that this member follows, while that manager is silent. */
  silentManager: SilentManager | undefined;
  /** The member id that this process received when it added itself. */
  added: string | undefined;
  /** Since when the cluster has fewer voters than its record states. */
  fewVotersSinceMs: number | undefined;
  /** True after the comparison of the cluster record with `-n`. */
  clusterRecordVerified: boolean;
}

/** The snapshot store and the backups of the cluster. */
export interface SnapshotState {
  /** The lookup that a bootstrap decides from; not updated while this node serves. */
  lookup: SnapshotLookup;
  /** The last lookup, for reports, and the newest snapshot of the last lookup that read the store. */
  store: { readonly lookup: SnapshotLookup; readonly newest: Extract<SnapshotLookup, { kind: "newest" }> | undefined };
  /** `View.newestSinceMs` and `newestAskedMs`, and the hash of their snapshot. */
  newestSince: { readonly hash: string; readonly ms: number; readonly askedMs: number } | undefined;
  lookupStartedMs: number | undefined;
  /** Lookups never overlap. */
  lookupInFlight: boolean;
  backup: BackupHistory;
  backupLag: BackupLag;
  ownSnapshot: KnownSnapshot | undefined;
  lastSnapshotAtWallMs: number | undefined;
  /** The highest revision of the own life in the store, and the number of linearizable reads of the own etcd since. */
  storedAhead: { readonly token: string; readonly revision: number; readonly reads: number } | undefined;
  /** The newest snapshot of a later life in the store, and when a lookup first showed it in place of an older one. */
  storedLife: { readonly hash: string; readonly savedAtMs: number | undefined } | undefined;
}

/** The own etcd process. */
export interface OwnEtcdState {
  etcd: EtcdProcess;
  /** The number of unexpected exits of etcd since it was last ready. */
  exits: number;
  etcdProgress: EtcdProgress;
  leaderlessSinceMs: number | undefined;
  /** Since when it has had a leader in each answer; undefined: it has none, or did not answer yet. */
  leaderSinceMs: number | undefined;
  /** Version of the etcd that this process has installed: a joiner needs a suitable one before it changes the members. */
  provided: string | undefined;
}

/** The creation of this node's data: bootstrap, restore and disaster recovery. */
export interface BootstrapState {
  /** The pledge that this node carries out; a commitment is irrevocable. */
  committing: Pledge | undefined;
  progress: BootstrapProgress;
  /** Digest of the pledge for which this process restored the data-dir. */
  restored: string | undefined;
  /** In a restored cluster: the volatile keys of this epoch are cleared. */
  volatileKeysCleared: boolean;
  /** In a restored cluster: the hashes of the members were compared. */
  hashesCompared: boolean;
}

/** What the leader's node does for the cluster apart from membership. */
export interface MaintenanceState {
  /** The members' hashes since the last alarm CORRUPT. */
  hashes: HashEvidence | undefined;
  plan: Plan | undefined;
  planReadMs: number | undefined;
  /** A plan that an operator requested at this node and that is not in etcd yet. */
  requested: Plan | undefined;
}

/** The operator's pause and commands. */
export interface OperatorState {
  pauseMark: PauseMark | undefined;
  /** Commands without a reply so far, oldest first. */
  commands: readonly PendingCommand[];
}

/** What this node reports. */
export interface ReportState {
  waitingFor: Reason | undefined;
  /** The level of this wait, see `Turn.waitFor`. */
  waitingLevel: JournalEntry["level"];
  /** Since when this node waits continuously for reasons that only an operator can end (wait_level.ts). */
  escalatingSinceMs: number;
  /** Standing problems by their codes, see `Turn.report`. */
  problems: ReadonlyMap<string, Problem>;
  journal: readonly JournalEntry[];
}

/** Requested effects and their failures. */
export interface EffectState {
  inFlight: ReadonlyMap<Slot, AnsweredEffect>;
  /** The last failure in each slot without a success since. */
  failing: ReadonlyMap<Slot, FailedEffect>;
  /** When a slot may be used again after its backoff. */
  backoffUntilMs: ReadonlyMap<Slot, number>;
  nextId: number;
}

/** The state of a node during a turn. */
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
 * The state of a node before its first event. `seed`: random text, different at each start of the process; `pauseMark`: the
 * mark on disk.
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
      logTerms: undefined,
      publishedTerms: undefined,
      termsReadMs: undefined,
      logReadCommitted: 0,
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
      leaderSinceMs: undefined,
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

/** True if this node serves and its etcd has a leader. */
export const servingWithLeader = ({ phase, ownEtcd }: NodeState): boolean =>
  phase === "serving" && ownEtcd.leaderlessSinceMs === undefined;
