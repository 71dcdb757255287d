/**
 * All that may come in. One closed union; each event is a fact that replaces what was known, or the answer to one
 * effect. Only `command` and `stop` ask for something: an operator's command, and an orderly end.
 */
import type { SnapshotLookup } from "./snapshot_lookup.ts";
import type { DataDir } from "./data_dir.ts";
import type { EtcdProbe, MemberHash, RaftProbe } from "./cluster.ts";
import type { GossipKeys, GossipPeer, NameConflict } from "./peer.ts";
import type { NodeRecord } from "./node_record.ts";
import type { Command } from "./command.ts";
import type { Settings } from "./settings.ts";
import type { Plan } from "./plan.ts";

export type Event =
  /** First of all, once: the core answers with `inspectData`. */
  | { readonly kind: "boot" }
  /**
   * Answer to `inspectData`. `record` is undefined when there is no such file (a first boot, or data of the original).
   * A record that cannot be read makes the data `unreadable`.
   */
  | { readonly kind: "dataInspected"; readonly data: DataDir; readonly record?: NodeRecord }
  /** The whole of what gossip knows now; sent at each change. `joined`: at least one other node has answered. */
  | {
    readonly kind: "gossip";
    readonly joined: boolean;
    readonly peers: readonly GossipPeer[];
    /** All names that two live addresses claim now, this node's own among them; absent: none. */
    readonly conflicts?: readonly NameConflict[];
    /** Absent: as it was. */
    readonly keys?: GossipKeys;
  }
  /** Answer to `probe`, one for each endpoint. */
  | {
    readonly kind: "probed";
    readonly endpoint: string;
    readonly probe: EtcdProbe;
    /** When it was asked, monotonic; absent: just now. An answer from before a change of the members is old news. */
    readonly askedMs?: number;
  }
  /** Answer to `probeRaft`. */
  | { readonly kind: "raftProbed"; readonly probe: RaftProbe }
  /** Answer to `lookUpSnapshot`. */
  | { readonly kind: "snapshotLookedUp"; readonly lookup: Exclude<SnapshotLookup, { kind: "unknown" }> }
  /** The local etcd process changed. `ready`: its health question is answered with a leader. */
  | { readonly kind: "etcd"; readonly state: "starting" | "ready" | "stopped" }
  | {
    readonly kind: "etcdExited";
    readonly code: number;
    /** `member_removed`, `cluster_mismatch`, `data_corrupt` when the log says so, else `unknown`. */
    readonly cause: string;
    /** The last line of its log that tells of trouble, without its time. */
    readonly lastLine?: string;
    /** What an operator can do about the cause, where it could be told. */
    readonly hint?: string;
  }
  /** While etcd runs, each few seconds: its data-dir as it is now. What could not be looked at is no news. */
  | { readonly kind: "dataDirLooked"; readonly found: "there" | "absent" | "replaced" }
  /** The local etcd wrote to its log; at most one a second. `busy`: it answers nothing until it logs the end of that. */
  | { readonly kind: "etcdLogged"; readonly busy: boolean }
  /** Answer to any effect that carries an `id`. An id the core does not wait for is ignored. */
  | { readonly kind: "done"; readonly id: number; readonly value: DoneValue }
  | { readonly kind: "failed"; readonly id: number; readonly code: string; readonly message: string }
  /** The plan in etcd, as read by `readPlan`. */
  | { readonly kind: "plan"; readonly plan?: Plan }
  /** The operator's settings changed: pause, resume, an approval, another seed list from discovery. */
  | { readonly kind: "settings"; readonly settings: Settings }
  /** An operator's command at this node; the core answers with one `reply` of this id. */
  | { readonly kind: "command"; readonly id: string; readonly command: Command }
  /** The time of the last `armTimer` has come. An early or a spare one does no harm. */
  | { readonly kind: "timer" }
  /** SIGTERM: stop etcd, leave gossip, stay a member. */
  | { readonly kind: "stop" };

/** What an effect brings back when it succeeds. */
export type DoneValue =
  | { readonly kind: "nothing" }
  /** `memberAdd`. Also when a member of that peer URL was already there and never started. */
  | { readonly kind: "memberAdded"; readonly memberId: string }
  /** `provideEtcd`: the version that this node runs from now on. */
  | { readonly kind: "etcdProvided"; readonly version: string }
  /** `prepareSource`: the manifest hash of what lies verified on this machine. */
  | { readonly kind: "sourceVerified"; readonly hash: string }
  /** `exportSurvivor` */
  | { readonly kind: "exported"; readonly hash: string; readonly revision: number; readonly url: string }
  /** `takeSnapshot`. `saved` is false when there was nothing new to save. */
  | { readonly kind: "snapshotTaken"; readonly revision: number; readonly saved: boolean }
  /** `checkRecord`: the size in the cluster record after it was written if absent. */
  | { readonly kind: "recordChecked"; readonly size: number; readonly formerSizes: readonly number[] }
  /** `reclaimSpace`: what takes the most space, in words. */
  | { readonly kind: "spaceReclaimed"; readonly detail: string }
  /** `hashMembers`: of those that answered. */
  | { readonly kind: "membersHashed"; readonly hashes: readonly MemberHash[] }
  /** `compareHashes` */
  | { readonly kind: "hashesCompared"; readonly equal: boolean; readonly detail: string };

/** Monotonic for durations, wall for people and files. */
export interface Now {
  readonly monotonicMs: number;
  readonly wallMs: number;
}
