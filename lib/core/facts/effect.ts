/**
 * All that may be asked for. One closed union; each effect is idempotent: asked for twice, it is done once, and «it is
 * so already» is success. Effects with an `id` are answered by exactly one `done` or `failed` event with that id,
 * whatever happens, within the bound that the manager sets. The others are levels that the manager keeps to (status,
 * facts, timer) or questions with an event of their own.
 */
import type { BootstrapPlan, Lineage, NodeRecord, PauseMark } from "./node_record.ts";
import type { PeerFacts, Status } from "./peer.ts";
import type { Reason } from "./reason.ts";
import type { EtcdStartState } from "../../facts/etcd.ts";
import type { EtcdRange } from "./etcd_range.ts";
import type { CommandAnswer } from "./command.ts";
import type { Hold } from "./settings.ts";
import type { Plan } from "./plan.ts";
import type { AskedMember } from "./cluster.ts";

export type { InitialMember } from "../../facts/etcd.ts";

export type Effect =
  // Questions, answered by an event of their own.
  /** → `dataInspected` */
  | { readonly kind: "inspectData" }
  /** Ask these client URLs, side by side → one `probed` each, in time (a second) even when there is no answer. */
  | { readonly kind: "probe"; readonly endpoints: readonly string[] }
  /** Read how much the raft of the etcd at this client URL has received from each member → `raftProbed`, within four seconds. */
  | { readonly kind: "probeRaft"; readonly endpoint: string }
  /** → `snapshotLookedUp`, always; no second one before that. */
  | { readonly kind: "lookUpSnapshot" }
  /** Read the plan under e2d's prefix through one's own etcd → `plan` */
  | { readonly kind: "readPlan" }
  // Levels: the last one holds.
  /** The original's status, in the metadata and as a status message; repeated by the manager. */
  | { readonly kind: "setStatus"; readonly status: Status }
  | { readonly kind: "publishFacts"; readonly facts: PeerFacts }
  /** On disk as soon as it can be, and there at the next start. */
  | { readonly kind: "keepPause"; readonly mark: PauseMark }
  /** Names of all peers of another cluster that gossip is to keep apart from (foreign_peers.ts). */
  | { readonly kind: "shunPeers"; readonly names: readonly string[] }
  /** One `timer` event at or after this moment of the monotonic clock; replaces the timer armed before. */
  | { readonly kind: "armTimer"; readonly atMs: number }
  // Deeds on this machine.
  /** Whole or not at all, on disk before it is answered. */
  | { readonly kind: "writeRecord"; readonly id: number; readonly record: NodeRecord }
  /**
   * Rename data-dir and record to `<dir>.<label>-<time>`. Success when there is none. Never removes anything, and
   * refuses while etcd runs. `keepRecord`: the record stays where it is, and only a copy of it goes with the data.
   */
  | {
    readonly kind: "quarantineData";
    readonly id: number;
    readonly label: "removed" | "superseded" | "damaged";
    readonly keepRecord: boolean;
  }
  | { readonly kind: "startEtcd"; readonly id: number; readonly start: EtcdStart }
  /** Get and verify an etcd of one of these minor versions, to be run from now on → `etcdProvided`. Starts nothing. */
  | { readonly kind: "provideEtcd"; readonly id: number; readonly range: EtcdRange }
  /** SIGTERM, then SIGKILL after `withinMs` or a while. Done when the process has ended. */
  | { readonly kind: "stopEtcd"; readonly id: number; readonly withinMs?: number }
  /**
   * Fetch the source of this plan onto this machine and verify every hash → `sourceVerified`. For a survivor's export
   * `from` is the offered URL.
   */
  | { readonly kind: "prepareSource"; readonly id: number; readonly plan: BootstrapPlan; readonly from?: string }
  /**
   * Copy the own data-dir, replay it in quarantine on loopback, save it as a snapshot for the others → `exported`. The
   * own etcd may be running without a quorum: the manager may stop it for the copy and start it again, and says nothing
   * of that.
   */
  | { readonly kind: "exportSurvivor"; readonly id: number; readonly plan: BootstrapPlan }
  /**
   * Make the data-dir from the prepared source: token and members of the plan, revision bumped and marked
   * compacted. Success when it exists already from this very plan.
   */
  | { readonly kind: "restoreData"; readonly id: number; readonly plan: BootstrapPlan }
  // Deeds on the cluster, through etcd's API. `via` is a list of client URLs to try in order.
  /**
   * Add as learner → `memberAdded`. Fails with `members_changed` unless the members are still `beside`, by their ids: two
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
  /** `via`: the client URL of the leader, where that is not the own member. */
  | { readonly kind: "moveLeader"; readonly id: number; readonly to: string; readonly via?: string }
  /** Write the cluster record if there is none, read it back → `recordChecked` */
  | { readonly kind: "checkRecord"; readonly id: number; readonly requiredSize: number }
  /** Change the cluster record after a scaling; the former size is kept beside it. */
  | { readonly kind: "changeRecord"; readonly id: number; readonly from: number; readonly to: number }
  /**
   * Get and verify this minor version's newest etcd, then stop the own etcd and start it with that one on the same
   * data-dir. Done when it runs; nothing is stopped when the version cannot be had. The exit in between is no news.
   */
  | { readonly kind: "upgradeEtcd"; readonly id: number; readonly to: string }
  /** Ask etcd whether it may go back to this minor version, and let it; success when it is on its way there already. */
  | { readonly kind: "allowDowngrade"; readonly id: number; readonly to: string }
  /** The member at that URL serves nothing meanwhile, which may take minutes. */
  | { readonly kind: "defragment"; readonly id: number; readonly endpoint: string }
  /**
   * Under the alarm NOSPACE: forget old revisions, defragment these members one after another as long as this one leads,
   * and disarm the alarm once all have room → `spaceReclaimed`. Fails with `space_not_reclaimed` when they have none all the same.
   */
  | { readonly kind: "reclaimSpace"; readonly id: number; readonly endpoints: readonly string[] }
  /** HashKV of each of these members at this revision; of the silent ones none → `membersHashed` */
  | {
    readonly kind: "hashMembers";
    readonly id: number;
    readonly members: readonly AskedMember[];
    readonly revision: number;
    /** Ids of all voters, noted with the answer. */
    readonly voters: readonly string[];
  }
  /** End this member's alarm CORRUPT. Success when there is none. */
  | { readonly kind: "disarmCorrupt"; readonly id: number; readonly memberId: string }
  /** Compare-and-set on the plan's own version; `plan` undefined removes it. */
  | { readonly kind: "writePlan"; readonly id: number; readonly plan?: Plan }
  /** One transaction: the volatile keys go, the marker comes; does nothing when the marker of this epoch is there. */
  | { readonly kind: "clearVolatile"; readonly id: number; readonly lineage: Lineage }
  /** Keep the lineage of the own cluster in etcd, where every node finds it. Success when it is there already. */
  | { readonly kind: "writeLineage"; readonly id: number; readonly clusterId: string; readonly lineage: Lineage }
  /** HashKV of all members at one revision → `hashesCompared` */
  | { readonly kind: "compareHashes"; readonly id: number; readonly endpoints: readonly string[] }
  /** → `snapshotTaken` */
  | {
    readonly kind: "takeSnapshot";
    readonly id: number;
    readonly format: "v2" | "go-v1";
    readonly lineage: Lineage;
    /** Skip when the revision is still this one. */
    readonly lastRevision: number;
  }
  /** Write or end the pause that all nodes of the cluster go by. Fails with `pause_changed` when another node does, too. */
  | { readonly kind: "writePause"; readonly id: number; readonly paused: boolean }
  /** Keep this node's hold on disk; undefined ends it. The new `settings` come before the answer. */
  | { readonly kind: "writeHold"; readonly id: number; readonly hold?: Hold }
  /** Let the snapshot that is being taken fail, so that etcd's read transaction ends. */
  | { readonly kind: "abortSnapshot" }
  // For people, and the end.
  /** The answer to the `command` event of this id, once for each. */
  | { readonly kind: "reply"; readonly commandId: string; readonly answer: CommandAnswer }
  | { readonly kind: "journal"; readonly entry: JournalEntry }
  /** Leave gossip (a clean stop) and end the process: 0 after `stop`, not 0 otherwise. */
  | { readonly kind: "exit"; readonly code: number; readonly reason: Reason };

/** How to start etcd. `range`: the minor versions of etcd that this data and this cluster permit. */
export type EtcdStart = EtcdStartState & { readonly range?: EtcdRange };

/** One line of the node's diary, kept for `e2d why`. */
export interface JournalEntry {
  readonly level: "info" | "warn" | "error";
  /** `decided` carries out an outcome, `waits` names what is missing, `noticed` is a fact worth keeping. */
  readonly what: "decided" | "waits" | "noticed";
  readonly phase: string;
  readonly outcome: string;
  readonly reason: Reason;
  /** The facts it rests on, small: names, counts, ids. */
  readonly facts: Readonly<Record<string, string | number | boolean>>;
}

/** Effects answered by `done` or `failed`. */
export type AnsweredEffect = Extract<Effect, { readonly id: number }>;
