/**
 * What one node knows: the facts that the rules of lib/core decide over. Plain data, no behaviour.
 *
 * Times named `...Ms` are milliseconds of this node's monotonic clock unless the name says `wall`. Identifiers that
 * etcd prints as uint64 are lower-case hexadecimal text without leading zeros, so that no precision is lost.
 */

/** Who this node is. The name is settled by the manager (flag, else the data-dir's own, else random). */
export interface Identity {
  /** The one name for gossip and etcd. */
  readonly name: string;
  /** Exactly as etcd has it: scheme, host, port. */
  readonly peerUrl: string;
  readonly clientUrl: string;
  /** host:port */
  readonly gossipAddr: string;
}

export type RestoreMode = "auto" | "ask" | "never";

/** What the operator set. Replaced as a whole by the event `settings`. */
export interface Settings {
  /** `-n`: how many voters the whole cluster has. At least 1. */
  readonly requiredSize: number;
  /** False only for a single node without configured peers: then there is no gossip and nobody to wait for. */
  readonly gossip: boolean;
  /**
   * host:port of every named or discovered bootstrap peer, itself included or not, without repetition. Names are
   * resolved before, so that they compare with gossip addresses; what cannot be resolved stays as it was named.
   */
  readonly seeds: readonly string[];
  /** The longest a member may be gone before it is replaced. */
  readonly healthCheckTimeoutMs: number;
  readonly quorumLossTimeoutMs: number | "never";
  /** A learner that makes no progress for this long is evicted. */
  readonly learnerStallTimeoutMs: number;
  readonly restore: RestoreMode;
  /** Oldest snapshot that may be restored without being asked; undefined: any age. */
  readonly restoreMaxAgeMs?: number;
  /** `--new-cluster NAME`: found an empty cluster although there is a snapshot, or was another cluster. */
  readonly newCluster?: string;
  /** Digests of plans that the operator approved (`e2d restore approve PLAN`). */
  readonly approved: readonly string[];
  /** `e2d pause`: nothing automatic but restarting from one's own data. */
  readonly paused: boolean;
  /** True when a snapshot URL is configured. */
  readonly snapshots: boolean;
  readonly snapshotIntervalMs: number;
  /** Free space at which members are defragmented without being asked; undefined: never. */
  readonly defrag?: DefragThreshold;
}

/** Both must be reached. */
export interface DefragThreshold {
  /** Free part of the database file, 0 to 1. */
  readonly ratio: number;
  readonly minBytes: number;
}

/** The line of descent of a database, and how often it was rebuilt. A higher epoch of one `id` replaces the lower. */
export interface Lineage {
  /** Made once at founding; survives every restore. For data that knows none: the etcd cluster id. */
  readonly id: string;
  /** 0 for data that knows none (the Go original's), 1 at founding, +1 with each restore or recovery. */
  readonly epoch: number;
  /** The cluster token etcd was started with: tells two foundings apart before any cluster id is known. */
  readonly token: string;
}

/** One of those who found a cluster together. */
export interface Founder {
  readonly name: string;
  readonly peerUrl: string;
  /** Random text made at the first boot on this disk; another one under the same name is another founder. */
  readonly nonce: string;
}

/** What the new cluster's data is made from. */
export type Source =
  | { readonly kind: "empty" }
  /** A snapshot in the store; `hash` is its manifest's. */
  | { readonly kind: "snapshot"; readonly hash: string; readonly revision: number }
  /** A survivor's own data, exported from a copy by the founder of that name. */
  | { readonly kind: "survivor"; readonly name: string; readonly revision: number };

/** Everything that founders must agree on before one of them starts. Equal digest means equal in every field. */
export interface Founding {
  /** Exactly N, sorted by name. */
  readonly founders: readonly Founder[];
  readonly source: Source;
  readonly lineage: Lineage;
  readonly digest: string;
}

/**
 * A durable promise to found with exactly these others. A pledged node starts nothing else until the pledge is
 * superseded (docs/decisions.md, "Founding").
 */
export interface Pledge extends Founding {
  /** `lineage.token`: what tells this founding from any other. */
  readonly token: string;
  /** Manifest hash that was verified before pledging; undefined when the source is empty. */
  readonly verified?: string;
}

/**
 * The small file beside the data-dir (`<data-dir>.e2d.json`), written whole or not at all. It is lost with the disk
 * and moves aside with the data-dir.
 */
export interface NodeRecord {
  readonly nonce: string;
  /**
   * Nonces that this disk had before, newest last: under those it never starts anything again, which counts when an
   * old pledge is to be ruled out.
   */
  readonly formerNonces?: readonly string[];
  /** Unresolved promises, oldest first. */
  readonly pledges: readonly Pledge[];
  /**
   * The cluster that this node last saw with a quorum, as a member or as a spare. Its data is somewhere: who knows of
   * it founds no empty one, also after all machines were off at once and those with the data come last.
   */
  readonly seen?: SeenCluster;
  /**
   * Written before etcd is started for the first time. From then on an absent data-dir means a lost one, and the
   * member it held must never start again from nothing (it would have forgotten its raft votes).
   */
  readonly started?: StartedData;
  /**
   * `started` of data that was not there any more. It counts again when that data is back, because its disk was only
   * not mounted, and goes when this node begins anew.
   */
  readonly lost?: StartedData;
}

/** How the data of this disk came to be. */
export interface StartedData {
  readonly lineage: Lineage;
  readonly how: "founded" | "joined" | "restored";
  /**
   * Tokens of earlier foundings that this node pledged to and then left for this one. Proof that none of those ever
   * had a quorum: enough of its founders left it.
   */
  readonly renounced: readonly string[];
}

/** A cluster with a quorum, as it was when it was last seen. */
export interface SeenCluster {
  readonly clusterId: string;
  readonly voters: readonly { readonly name: string; readonly peerUrl: string }[];
  /** `--new-cluster` as it was when this cluster was first seen: that name may have founded it, and gives it not up. */
  readonly newCluster?: string;
}

/** The own data-dir, as the manager found it. `absent` (not there) and `unreadable` are never the same. */
export type DataDir =
  | { readonly kind: "unknown" }
  | { readonly kind: "absent" }
  | { readonly kind: "empty" }
  | ValidData
  /** There, but not usable: what failed its check. */
  | { readonly kind: "damaged"; readonly what: string }
  | { readonly kind: "unreadable"; readonly why: string };

export interface ValidData {
  readonly kind: "valid";
  readonly name: string;
  readonly memberId: string;
  readonly clusterId: string;
  readonly peerUrls: readonly string[];
  /** The members that the data-dir itself lists (the last that this member applied). */
  readonly members: readonly EtcdMember[];
  /** The newest revision in the database file; what is only in the log does not count. */
  readonly revision: number;
  readonly raftTerm: number;
  readonly raftIndex: number;
  /** The oldest minor version of etcd that starts on it, "3.6"; undefined where nothing says so. */
  readonly etcdAtLeast?: string;
  /** Ids of members that it lists and calls removed at once; undefined: not looked at. */
  readonly contradictory?: readonly string[];
}

export type GossipState = "alive" | "suspect" | "dead" | "left";
/** The original's status: 0, 1, 2 on the wire. */
export type Status = "unknown" | "pending" | "running";

/** What a peer says of its data. `unknown` is said while it looks, and is never taken for `none`. */
export type PeerData =
  | { readonly kind: "unknown" }
  | { readonly kind: "none" }
  | {
    readonly kind: "held";
    readonly clusterId: string;
    readonly memberId: string;
    readonly lineage: Lineage;
    readonly revision: number;
  }
  /** Damaged or unreadable: there is data, but it cannot be started. */
  | { readonly kind: "unusable"; readonly why: string };

/**
 * What new-style nodes tell each other beside the original's metadata. Go nodes neither send nor see it. The manager
 * carries it as it likes (it may exceed gossip's 512 bytes); what arrives replaces what was known of the peer.
 */
export interface PeerFacts {
  readonly nonce: string;
  readonly formerNonces: readonly string[];
  /** Grows with each change of the facts in one life of the process, so that older facts never replace newer. */
  readonly sequence: number;
  readonly requiredSize: number;
  readonly phase: Phase;
  readonly data: PeerData;
  /** Digest of the founding that this node would take part in now. */
  readonly proposal?: string;
  /** Unresolved durable pledges, oldest first. */
  readonly pledges: readonly Pick<Pledge, "digest" | "token" | "founders" | "verified">[];
  /** Tokens of foundings that this node left for the one it holds data of. */
  readonly renounced: readonly string[];
  /** Manifest hash of the source that this node has downloaded and verified, for its current proposal. */
  readonly verified?: string;
  /** Set by a survivor: its etcd has had no leader, and the others are gone, for the quorum-loss timeout. */
  readonly quorumLost?: {
    readonly lineage: Lineage;
    readonly revision: number;
    /** Ids of the members that its log, applied up to `raftIndex`, lists. */
    readonly members: readonly string[];
    readonly raftIndex: number;
  };
  /** Set by the survivor whose data is the source: where and what its export is. */
  readonly offer?: { readonly hash: string; readonly revision: number; readonly url: string };
  /** What this node found in the store; all founders must have found the same. */
  readonly catalogue?: CatalogueDigest;
  /** Of its record. */
  readonly seen?: Pick<SeenCluster, "clusterId" | "newCluster">;
  /** Plans approved by the operator at that node. */
  readonly approved: readonly string[];
}

/** `absent` and `unreadable` are facts; `<hash>` names the newest snapshot. */
export type CatalogueDigest = "unconfigured" | "absent" | "unreadable" | `newest:${string}`;

/** An e2d node that gossip knows, the original's or ours. Self is not among them. */
export interface GossipPeer {
  readonly name: string;
  readonly peerUrl: string;
  readonly clientUrl: string;
  readonly gossipAddr: string;
  readonly state: GossipState;
  /** When gossip last changed its mind about the state. */
  readonly sinceMs: number;
  readonly status: Status;
  /** Undefined for a Go node, and for a new-style node whose facts have not come yet. */
  readonly facts?: PeerFacts;
  /** True when the metadata carries no mark of a new-style node. */
  readonly go: boolean;
}

export interface EtcdMember {
  readonly id: string;
  /** Empty while the member was added but never started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Empty while the member was added but never started. */
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

/**
 * One etcd member's answer. The manager asks in this order, on the same endpoint: status, a linearizable read of the
 * cluster record, the member list, so that `members` is at least as new as the read (etcd 3.4 answers member lists
 * locally, which alone could be stale).
 */
export interface EtcdAnswer {
  readonly kind: "answer";
  readonly clusterId: string;
  readonly memberId: string;
  /** Undefined: this member knows no leader. */
  readonly leaderId?: string;
  readonly isLearner: boolean;
  readonly raftTerm: number;
  readonly raftIndex: number;
  readonly raftAppliedIndex: number;
  readonly revision: number;
  readonly version: string;
  /** The version whose data format is on its disk, "3.6.0"; undefined before 3.6. */
  readonly storageVersion?: string;
  readonly dbSizeBytes: number;
  readonly dbInUseBytes: number;
  /** Alarms and status errors of this member: "NOSPACE", "CORRUPT", other text. */
  readonly alarms: readonly string[];
  /** True when the linearizable read succeeded: there was a quorum and `members` is current. */
  readonly linearizable: boolean;
  readonly members: readonly EtcdMember[];
  /** The cluster record's size (`/_e2d/Cluster/1`); undefined when there is none or it could not be read. */
  readonly recordedSize?: number;
  /** Sizes this cluster had before `e2d scale` changed it: a node started with one of them adopts the recorded one. */
  readonly formerSizes: readonly number[];
}

export type EtcdProbe =
  | EtcdAnswer
  | { readonly kind: "unreachable"; readonly code: string };

/** What is known of one endpoint, kept by the core from probe to probe. */
export interface EndpointFacts {
  readonly last: EtcdProbe;
  readonly atMs: number;
  /** First failure since the last success; undefined while it answers. */
  readonly failingSinceMs?: number;
  readonly failures: number;
  /** The highest applied index seen, and when it last rose: a learner's progress. */
  readonly appliedIndex: number;
  readonly progressAtMs: number;
  /**
   * When this member last had all that was committed: a linearizable read succeeded there; of a learner, which serves
   * none, when it had applied what the own, leading member had. Undefined: not since this node watches it.
   */
  readonly currentAtMs?: number;
  /** The own member's raft index as it was known when this came: the lag is counted from it. Undefined: not known. */
  readonly ownRaftIndex?: number;
}

export type Catalogue =
  | { readonly kind: "unconfigured" }
  | { readonly kind: "unknown" }
  /** The store answered: there is no snapshot. */
  | { readonly kind: "absent" }
  /** Unreachable, forbidden, corrupt, wrong key. Never taken for absent. */
  | { readonly kind: "unreadable"; readonly code: string; readonly why: string; readonly hint?: string }
  | {
    readonly kind: "newest";
    readonly hash: string;
    readonly revision: number;
    /** Undefined for the original's files, which know no lineage. */
    readonly lineage?: Lineage;
    readonly takenAtWallMs: number;
    readonly verified: boolean;
    /** When it was read back from the store and found whole; undefined for the original's. */
    readonly verifiedAtWallMs?: number;
    /** The highest epoch of this lineage that the store has heard of. */
    readonly epochMax: number;
  };

/** The local etcd process. */
export type EtcdProcess =
  | { readonly kind: "stopped" }
  | { readonly kind: "starting"; readonly sinceMs: number }
  /** Answers its health question with a leader. */
  | { readonly kind: "ready"; readonly sinceMs: number }
  | {
    readonly kind: "exited";
    readonly atMs: number;
    readonly code: number;
    /** `member_removed` when its log says so, `data_corrupt`, `cluster_mismatch`, else `unknown`. */
    readonly cause: string;
    readonly count: number;
  };

/** One life of a node. */
export type Phase =
  | "booting"
  | "gathering"
  | "joining"
  | "founding"
  | "restoring"
  | "restarting"
  | "serving"
  | "leaving"
  | "stopped"
  | "failed";

/** Why something was decided or is waited for: a stable code, one sentence for people, and the facts it rests on. */
export interface Reason {
  /** snake_case, stable; docs/decisions.md lists them. */
  readonly code: string;
  /** One sentence: what, and if it waits what for. */
  readonly text: string;
  /** What an operator can do, when there is something. */
  readonly hint?: string;
}

/** The facts of one moment, handed to every rule. */
export interface View {
  readonly nowMs: number;
  readonly nowWallMs: number;
  readonly self: Identity;
  readonly settings: Settings;
  readonly data: DataDir;
  readonly record: NodeRecord;
  /** When gossip first had another node's answer; undefined before. */
  readonly gossipJoinedAtMs?: number;
  readonly bootedAtMs: number;
  readonly peers: readonly GossipPeer[];
  /** By client URL; the own one is among them while etcd runs. */
  readonly endpoints: ReadonlyMap<string, EndpointFacts>;
  /** When this node first saw a member id in the list of the cluster. */
  readonly memberSinceMs: ReadonlyMap<string, number>;
  /** The last cluster with a quorum that answered, and when; of one that answered an earlier process, when this began. */
  readonly lastCluster?: Omit<SeenCluster, "newCluster"> & { readonly atMs: number };
  readonly catalogue: Catalogue;
  readonly etcd: EtcdProcess;
  /** Since when the own etcd runs without a leader; undefined while it has one or does not run. */
  readonly leaderlessSinceMs?: number;
  /**
   * Since when this process has watched the world without a gap. A node that was paused (SIGSTOP, a suspended
   * machine) distrusts every clock it ran before: its silence was its own.
   */
  readonly watchingSinceMs: number;
}

export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}
