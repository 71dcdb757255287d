/** The node's own record on disk: what it promised, and the descent of its data. */

import type { RecordedPause } from "../../facts/etcd.ts";
import type { Lineage } from "../../facts/lineage.ts";

export type { Lineage, LogPosition } from "../../facts/lineage.ts";

/** The last pause or resume of its cluster that a node knows of. */
export interface PauseMark extends RecordedPause {
  readonly clusterId: string;
}

/** A node that is named in a bootstrap plan as one of the cluster's initial members. */
export interface BootstrapMember {
  readonly name: string;
  readonly peerUrl: string;
  /** Random text made at the first boot on this disk; another nonce under the same name is another member. */
  readonly nonce: string;
}

/** What the new cluster's data is made from. */
export type Source =
  | { readonly kind: "empty" }
  /** A snapshot in the store; `hash` is its manifest's. */
  | { readonly kind: "snapshot"; readonly hash: string; readonly revision: number }
  /** A survivor's own data, exported from a copy by the initial member of that name. */
  | { readonly kind: "survivor"; readonly name: string; readonly revision: number };

/**
 * What all initial members must agree on before one of them starts: a new cluster, a restore or a disaster recovery. Equal
 * digests mean equality in every field.
 */
export interface BootstrapPlan {
  /** Exactly N, sorted by name. `founders` on disk and in notes to peers. */
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
  /** Manifest hash that was verified before pledging; undefined when the source is empty. */
  readonly verified?: string;
  /**
   * Cluster id of the data that was on this disk when the node pledged, and that the commit quarantines. Data that was
   * not there then, because its volume was not mounted, is not given up by this pledge.
   */
  readonly replaces?: string;
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
   * The cluster that this node last saw with a quorum, as a member or as a standby node. Its data is somewhere:
   * a node that knows of it bootstraps no empty cluster, also after all machines were off and the standby nodes boot first.
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
  /** How far the logs of a cluster's members reached on disk, as this node saw it; at most a minute behind. */
  readonly logs?: SeenLogs;
  /** Data of earlier lives that this disk held, oldest first: when one of them is mounted again, its descent is known. */
  readonly former?: readonly StartedData[];
  /**
   * Another life of the own lineage that had a quorum while the own life had one. From then on only an operator decides
   * which of the two ends.
   */
  readonly rival?: Lineage;
  /**
   * A later life of the own lineage that had a quorum while this data waited for an operator to choose between the two.
   * That one is out of sight decides nothing: until an operator has chosen, this data does not start.
   */
  readonly undecided?: Lineage;
}

/** How the data of this disk came to be. */
export interface StartedData {
  readonly lineage: Lineage;
  /** `founded`: the cluster was bootstrapped empty; the value on disk. */
  readonly how: "founded" | "joined" | "restored";
  /** The etcd cluster and member that the data-dir holds; undefined until its etcd was seen once. */
  readonly clusterId?: string;
  readonly memberId?: string;
  /**
   * Tokens of earlier plans that this node pledged to and then left for this one. They prove that none of those plans
   * ever had a quorum: enough of its initial members left it.
   */
  readonly renounced: readonly string[];
}

/** Of one cluster: the index that each member's log on disk is known to have reached (log_went_back.ts). */
export interface SeenLogs {
  readonly clusterId: string;
  readonly members: readonly { readonly memberId: string; readonly index: number }[];
}

/** A cluster with a quorum, as it was when it was last seen. */
export interface SeenCluster {
  readonly clusterId: string;
  readonly voters: readonly { readonly name: string; readonly peerUrl: string }[];
  /**
   * `Lineage.id` of its data: a restored cluster has another `clusterId` and the same lineage. Undefined where the cluster
   * did not keep its lineage, or none was read.
   */
  readonly lineageId?: string;
  /** `Lineage.token` of its data: which life of that lineage ran. Undefined as `lineageId`, or by an older e2d. */
  readonly token?: string;
  /** `--new-cluster` as it was when this cluster was first seen: that name may be its own, and does not give it up. */
  readonly newCluster?: string;
}
