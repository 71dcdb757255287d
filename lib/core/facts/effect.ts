/**
 * The actions that the core can request: one closed union. Each effect is idempotent: a repeated request has no further
 * effect, and a state that is already as requested is a success. An effect with an `id` is answered by exactly one `done`
 * or `failed` event with that id, within a time limit that the manager sets. The others set a level that the manager
 * maintains (status, facts, timer), or are queries that are answered by an event of their own.
 */
import type { BootstrapPlan, Lineage, NodeRecord, PauseMark } from "./node_record.ts";
import type { PeerFacts, Status } from "./peer.ts";
import type { Reason } from "./reason.ts";
import type { EtcdStartState } from "../../facts/etcd.ts";
import type { EtcdRange } from "./etcd_range.ts";
import type { CommandAnswer } from "./command.ts";
import type { Hold } from "./settings.ts";
import type { Plan } from "./plan.ts";
import type { MemberEndpoint } from "./cluster.ts";

export type { InitialMember } from "../../facts/etcd.ts";

export type Effect =
  // Queries, each answered by an event of its own.
  /** → `dataInspected` */
  | { readonly kind: "inspectData" }
  /** Probe these client URLs concurrently → one `probed` each, within a second even without an answer. */
  | { readonly kind: "probe"; readonly endpoints: readonly string[] }
  /** Read how much the raft of the etcd at this client URL has received from each member → `raftProbed`, within four seconds. */
  | { readonly kind: "probeRaft"; readonly endpoint: string }
  /** → `snapshotLookedUp`, always; the core requests no second lookup before that. */
  | { readonly kind: "lookUpSnapshot" }
  /** Read the plan under e2d's prefix from the own etcd → `plan` */
  | { readonly kind: "readPlan" }
  // Levels: the last request counts.
  /** The status of the original's protocol, in the metadata and as a message that the manager repeats. */
  | { readonly kind: "setStatus"; readonly status: Status }
  | { readonly kind: "publishFacts"; readonly facts: PeerFacts }
  /** Write the mark to disk, again until that succeeds; it is loaded at the next start. */
  | { readonly kind: "keepPause"; readonly mark: PauseMark }
  /** Names of all peers of other clusters that gossip must ignore (foreign_peers.ts). */
  | { readonly kind: "shunPeers"; readonly names: readonly string[] }
  /** One `timer` event at or after this monotonic time; replaces the previous timer. */
  | { readonly kind: "armTimer"; readonly atMs: number }
  // Effects on this machine.
  /** Write the node record atomically; the answer follows after fsync. */
  | { readonly kind: "writeRecord"; readonly id: number; readonly record: NodeRecord }
  /**
   * Rename data-dir and record to `<dir>.<label>-<time>`. Success if there is no data-dir. Deletes nothing and fails while
   * etcd runs. `keepRecord`: the record stays in place, and a copy of it is renamed with the data.
   */
  | {
    readonly kind: "quarantineData";
    readonly id: number;
    readonly label: "removed" | "superseded" | "damaged";
    readonly keepRecord: boolean;
  }
  | { readonly kind: "startEtcd"; readonly id: number; readonly start: EtcdStart }
  /** Install and verify an etcd of one of these minor versions for the following starts → `etcdProvided`. Starts nothing. */
  | { readonly kind: "provideEtcd"; readonly id: number; readonly range: EtcdRange }
  /** SIGTERM, then SIGKILL after `withinMs` or the manager's default. Done when the process has exited. */
  | { readonly kind: "stopEtcd"; readonly id: number; readonly withinMs?: number }
  /**
   * Download the source of this plan to this machine and verify every hash → `sourceVerified`. `from` is the offered URL
   * of a survivor's export.
   */
  | { readonly kind: "prepareSource"; readonly id: number; readonly plan: BootstrapPlan; readonly from?: string }
  /**
   * Copy the own data-dir, replay the copy in an isolated etcd on loopback, and save it as a snapshot for the other initial
   * members → `exported`. The own etcd may run without a quorum: the manager may stop it for the copy and start it again,
   * without events.
   */
  | { readonly kind: "exportSurvivor"; readonly id: number; readonly plan: BootstrapPlan }
  /**
   * Create the data-dir from the prepared source with the token and the members of the plan; the revision is increased and
   * marked as compacted. Success if the data-dir exists and was made for this plan.
   */
  | { readonly kind: "restoreData"; readonly id: number; readonly plan: BootstrapPlan }
  // Effects on the cluster, by etcd's API. `via`: client URLs to try in order.
  /**
   * Add a learner → `memberAdded`. Fails with `members_changed` unless the ids of the members are still `beside`: two
   * joiners that see one free place must not both take it.
   */
  | {
    readonly kind: "memberAdd";
    readonly id: number;
    readonly via: readonly string[];
    readonly peerUrl: string;
    readonly beside: readonly string[];
  }
  | { readonly kind: "memberRemove"; readonly id: number; readonly via: readonly string[]; readonly memberId: string }
  | { readonly kind: "memberPromote"; readonly id: number; readonly via: readonly string[]; readonly memberId: string }
  | {
    readonly kind: "memberUpdate";
    readonly id: number;
    readonly via: readonly string[];
    readonly memberId: string;
    readonly peerUrl: string;
  }
  /** `via`: the client URL of the leader if the own member does not lead. */
  | { readonly kind: "moveLeader"; readonly id: number; readonly to: string; readonly via?: string }
  /** Write the cluster record if it is absent, then read it → `recordChecked` */
  | { readonly kind: "checkRecord"; readonly id: number; readonly requiredSize: number }
  /** Change the size in the cluster record; the former size is added to its `formerSizes`. */
  | { readonly kind: "changeRecord"; readonly id: number; readonly from: number; readonly to: number }
  /**
   * Install and verify the newest etcd of this minor version, then stop the own etcd and start the new one on the same
   * data-dir. Done when it runs. If the version cannot be installed, nothing is stopped. The manager does not report the
   * exit in between.
   */
  | { readonly kind: "upgradeEtcd"; readonly id: number; readonly to: string }
  /** Validate and enable etcd's downgrade to this minor version; success if it is enabled already. */
  | { readonly kind: "allowDowngrade"; readonly id: number; readonly to: string }
  /** The member at that URL serves no request meanwhile, possibly for minutes. */
  | { readonly kind: "defragment"; readonly id: number; readonly endpoint: string }
  /**
   * Under the alarm NOSPACE: compact, defragment these members one after another while the own member leads, and disarm the
   * alarm once every database has free space → `spaceReclaimed`. Fails with `space_not_reclaimed` if one has none.
   */
  | { readonly kind: "reclaimSpace"; readonly id: number; readonly endpoints: readonly string[] }
  /** HashKV of each of these members at this revision, as far as they answer → `membersHashed` */
  | {
    readonly kind: "hashMembers";
    readonly id: number;
    readonly members: readonly MemberEndpoint[];
    readonly revision: number;
    /** Ids of all voters, stored with the result. */
    readonly voters: readonly string[];
  }
  /** Disarm this member's alarm CORRUPT. Success if there is none. */
  | { readonly kind: "disarmCorrupt"; readonly id: number; readonly memberId: string }
  /** Compare-and-set by the version of the plan's key; `plan` undefined deletes the plan. */
  | { readonly kind: "writePlan"; readonly id: number; readonly plan?: Plan }
  /** Delete the volatile keys and write the marker of this epoch in one transaction; no change if the marker exists. */
  | { readonly kind: "clearVolatile"; readonly id: number; readonly lineage: Lineage }
  /** Write the lineage of the own cluster to etcd, for all nodes. Success if the cluster has one already. */
  | { readonly kind: "writeLineage"; readonly id: number; readonly clusterId: string; readonly lineage: Lineage }
  /** HashKV of all members at one revision → `hashesCompared` */
  | { readonly kind: "compareHashes"; readonly id: number; readonly endpoints: readonly string[] }
  /** → `snapshotTaken` */
  | {
    readonly kind: "takeSnapshot";
    readonly id: number;
    readonly format: "v2" | "go-v1";
    readonly lineage: Lineage;
    /** Save nothing if the revision is still this one. */
    readonly lastRevision: number;
  }
  /** Write the start or the end of the cluster's pause. Fails with `pause_changed` if another node writes it concurrently. */
  | { readonly kind: "writePause"; readonly id: number; readonly paused: boolean }
  /** Write this node's hold to disk; undefined ends it. The event `settings` with the change precedes the answer. */
  | { readonly kind: "writeHold"; readonly id: number; readonly hold?: Hold }
  /** Let the running snapshot fail, so that etcd's read transaction ends. */
  | { readonly kind: "abortSnapshot" }
  // Reports, and the end of the process.
  /** The answer to the `command` event with this id; exactly one. */
  | { readonly kind: "reply"; readonly commandId: string; readonly answer: CommandAnswer }
  | { readonly kind: "journal"; readonly entry: JournalEntry }
  /** Leave gossip and exit: status 0 after `stop`, another one otherwise. */
  | { readonly kind: "exit"; readonly code: number; readonly reason: Reason };

/** How etcd starts. `range`: the minor versions of etcd that the data and the cluster permit. */
export type EtcdStart = EtcdStartState & { readonly range?: EtcdRange };

/** One entry of the decision log, shown by `e2d why`. */
export interface JournalEntry {
  readonly level: "info" | "warn" | "error";
  /** `decided`: an outcome is carried out; `waits`: something is missing; `noticed`: a state changed. */
  readonly what: "decided" | "waits" | "noticed";
  readonly phase: string;
  readonly outcome: string;
  readonly reason: Reason;
  /** The facts that the reason depends on: names, counts, ids. */
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}

/** Effects answered by `done` or `failed`. */
export type AnsweredEffect = Extract<Effect, { readonly id: number }>;
