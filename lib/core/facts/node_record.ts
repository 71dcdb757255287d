/** The node record on disk: the node's pledges and the lineage of its data. */
import type { RecordedPause } from "../../facts/etcd.ts";
import type { Lineage } from "../../facts/lineage.ts";

export type { Lineage, LogPosition, LogTerms, OwnLogTerms } from "../../facts/lineage.ts";

/** The last pause or resume of its cluster that a node knows of. */
export interface PauseMark extends RecordedPause {
  readonly clusterId: string;
}

/** A node that is named in a bootstrap plan as one of the cluster's initial members. */
export interface BootstrapMember {
  readonly name: string;
  readonly peerUrl: string;
  /** Random text from the first boot on this disk; the same name with another nonce is another member. */
  readonly nonce: string;
}

/** The source of a new cluster's data. */
export type Source =
  | { readonly kind: "empty" }
  /** A snapshot in the store; `hash` is that of its manifest. */
  | { readonly kind: "snapshot"; readonly hash: string; readonly revision: number }
  /** The data of the survivor `name`, which exports a copy of it. */
  | { readonly kind: "survivor"; readonly name: string; readonly revision: number };

/**
 * The plan of a new cluster, a restore or a disaster recovery. All initial members must agree on it before one of them
 * starts. Equal digests mean equality in every field.
 */
export interface BootstrapPlan {
  /** Exactly N, sorted by name. Called `founders` on disk and in notes to peers. */
  readonly initialMembers: readonly BootstrapMember[];
  readonly source: Source;
  readonly lineage: Lineage;
  readonly digest: string;
}

/**
 * A durable promise to carry out exactly this plan, kept in the node record. A pledged node starts nothing else until
 * another plan supersedes the pledge (docs/decisions.md, "Bootstrapping").
 */
export interface Pledge extends BootstrapPlan {
  /** `lineage.token`: unique to this plan. */
  readonly token: string;
  /** The manifest hash that was verified before the pledge; undefined if the source is empty. */
  readonly verified?: string;
  /**
   * Cluster id of the data that was on this disk when the node pledged, and that the commit quarantines. The pledge does
   * not cover data that was absent then because its volume was not mounted.
   */
  readonly replaces?: string;
}

/**
 * The file `<data-dir>.e2d.json`, written atomically. It is lost with the disk, and quarantined with the data-dir.
 */
export interface NodeRecord {
  readonly nonce: string;
  /**
   * Former nonces of this disk, newest last. Nothing starts under them again, which rules out the pledges of their time.
   */
  readonly formerNonces?: readonly string[];
  /** Unresolved pledges, oldest first. */
  readonly pledges: readonly Pledge[];
  /**
   * The cluster that this node last saw with a quorum, as a member or as a standby node. Its data exists on some disk: a
   * node that knows of it bootstraps no empty cluster, even if all machines were off and the standby nodes boot first.
   */
  readonly seen?: SeenCluster;
  /**
   * Written before the first start of etcd. From then on an absent data-dir is a lost one, and its member must never start
   * again without data: it would have forgotten its raft votes.
   */
  readonly started?: StartedData;
  /**
   * `started` of data that was found absent. It becomes `started` again if the data returns, because its disk was not
   * mounted, and is deleted when this node starts with new data.
   */
  readonly lost?: StartedData;
  /** The ends of the members' raft logs on disk, as far as this node observed them; at most a minute old. */
  readonly logs?: SeenLogs;
  /** Data of earlier lives on this disk, oldest first: if one of them is mounted again, its lineage is known. */
  readonly former?: readonly StartedData[];
  /**
   * Another life of the own lineage that had a quorum at the same time as the own life. From then on only an operator
   * decides which of the two ends.
   */
  readonly rival?: Lineage;
  /**
   * A later life of the own lineage that had a quorum while this data waited for an operator to choose between the two.
   * Until an operator has chosen, this data does not start, even if the other life is not visible.
   */
  readonly undecided?: Lineage;
}

/** The origin of the data on this disk. */
export interface StartedData {
  readonly lineage: Lineage;
  /** `founded`: the cluster was bootstrapped empty; the value on disk. */
  readonly how: "founded" | "joined" | "restored";
  /** The etcd cluster and member in the data-dir; undefined until its etcd has reported them. */
  readonly clusterId?: string;
  readonly memberId?: string;
  /**
   * Tokens of earlier plans that this node pledged to and renounced for this one. They are evidence that none of those
   * plans ever had a quorum: too few of its initial members remained.
   */
  readonly renounced: readonly string[];
}

/** The index that the log on disk of each member of one cluster is known to have reached (log_went_back.ts). */
export interface SeenLogs {
  readonly clusterId: string;
  readonly members: readonly { readonly memberId: string; readonly index: number }[];
}

/** A cluster with a quorum as it was last seen. */
export interface SeenCluster {
  readonly clusterId: string;
  readonly voters: readonly { readonly name: string; readonly peerUrl: string }[];
  /**
   * `Lineage.id` of its data: a restored cluster has another `clusterId` and the same lineage. Undefined if the cluster
   * stores no lineage, or it was not read.
   */
  readonly lineageId?: string;
  /** `Lineage.token` of its data: the life of that lineage. Undefined as `lineageId`, or if an older e2d wrote the record. */
  readonly token?: string;
  /** `--new-cluster` when this cluster was first seen: that name may be its own, and then does not replace it. */
  readonly newCluster?: string;
}
