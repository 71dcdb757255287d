/**
 * The inputs of the core: one closed union. An event is a fact that replaces the previous one, or the answer to an effect.
 * Only `command` and `stop` are requests: of an operator and of the service manager.
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
  /** The first event, once: the core answers with `inspectData`. */
  | { readonly kind: "boot" }
  /**
   * Answer to `inspectData`. `record` is undefined if there is no such file (a first boot, or data of the original). A
   * record that cannot be read makes the data `unreadable`.
   */
  | { readonly kind: "dataInspected"; readonly data: DataDir; readonly record?: NodeRecord }
  /** All that gossip knows, at each change. `joined`: at least one other node has answered. */
  | {
    readonly kind: "gossip";
    readonly joined: boolean;
    readonly peers: readonly GossipPeer[];
    /** All names that two live addresses claim, this node's own name included; absent: none. */
    readonly conflicts?: readonly NameConflict[];
    /** Absent: unchanged. */
    readonly keys?: GossipKeys;
  }
  /** Answer to `probe`, one for each endpoint. */
  | {
    readonly kind: "probed";
    readonly endpoint: string;
    readonly probe: EtcdProbe;
    /** When the probe was sent, monotonic; absent: now. A change of the members invalidates older answers. */
    readonly askedMs?: number;
  }
  /** Answer to `probeRaft`. */
  | { readonly kind: "raftProbed"; readonly probe: RaftProbe }
  /** Answer to `lookUpSnapshot`. */
  | { readonly kind: "snapshotLookedUp"; readonly lookup: Exclude<SnapshotLookup, { kind: "unknown" }> }
  /** The state of the own etcd process changed. `ready`: its health check reports a leader. */
  | { readonly kind: "etcd"; readonly state: "starting" | "ready" | "stopped" }
  | {
    readonly kind: "etcdExited";
    readonly code: number;
    /** `member_removed`, `cluster_mismatch` or `data_corrupt` if the log of etcd states it, else `unknown`. */
    readonly cause: string;
    /** The last line of etcd's log that reports an error, without its time. */
    readonly lastLine?: string;
    /** What an operator can do about the cause, if it is known. */
    readonly hint?: string;
  }
  /** Every few seconds while etcd runs: the state of its data-dir. A failed check sends no event. */
  | { readonly kind: "dataDirLooked"; readonly found: "there" | "absent" | "replaced" }
  /** The own etcd wrote to its log; at most one event per second. `busy`: etcd answers nothing until it logs the end. */
  | { readonly kind: "etcdLogged"; readonly busy: boolean }
  /** Answer to an effect with an `id`. The core ignores an unknown id. */
  | { readonly kind: "done"; readonly id: number; readonly value: DoneValue }
  | { readonly kind: "failed"; readonly id: number; readonly code: string; readonly message: string }
  /** Answer to `readPlan`; absent: there is no plan in etcd. */
  | { readonly kind: "plan"; readonly plan?: Plan }
  /** The settings changed: pause, resume, an approval, another seed list from discovery. */
  | { readonly kind: "settings"; readonly settings: Settings }
  /** An operator's command at this node; the core answers with one `reply` of this id. */
  | { readonly kind: "command"; readonly id: string; readonly command: Command }
  /** The time of the last `armTimer` is reached. An early or additional timer has no effect. */
  | { readonly kind: "timer" }
  /** SIGTERM: stop etcd, leave gossip, stay a member. */
  | { readonly kind: "stop" };

/** The result of a successful effect. */
export type DoneValue =
  | { readonly kind: "nothing" }
  /** `memberAdd`; also if a member with that peer URL exists and was never started. */
  | { readonly kind: "memberAdded"; readonly memberId: string }
  /** `provideEtcd`: the version that the following starts use. */
  | { readonly kind: "etcdProvided"; readonly version: string }
  /** `prepareSource`: the manifest hash of the verified source on this machine. */
  | { readonly kind: "sourceVerified"; readonly hash: string }
  /** `exportSurvivor` */
  | { readonly kind: "exported"; readonly hash: string; readonly revision: number; readonly url: string }
  /** `takeSnapshot`. `saved` is false if the data had not changed. */
  | { readonly kind: "snapshotTaken"; readonly revision: number; readonly saved: boolean }
  /** `checkRecord`: the size in the cluster record. */
  | { readonly kind: "recordChecked"; readonly size: number; readonly formerSizes: readonly number[] }
  /** `reclaimSpace`: a text about what uses the most space. */
  | { readonly kind: "spaceReclaimed"; readonly detail: string }
  /** `hashMembers`: the hashes of the members that answered. */
  | { readonly kind: "membersHashed"; readonly hashes: readonly MemberHash[] }
  /** `compareHashes` */
  | { readonly kind: "hashesCompared"; readonly equal: boolean; readonly detail: string };

/** The time of an event: monotonic for durations, wall clock for people and files. */
export interface Now {
  readonly monotonicMs: number;
  readonly wallMs: number;
}
