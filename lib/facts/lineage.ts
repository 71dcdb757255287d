/**
 * The descent of a database and the end of its raft log, as the core decides over them and etcd and the snapshots store
 * them. Plain data, no behaviour.
 */

/** The line of descent of a database, and how often it was rebuilt. A higher epoch of one `id` replaces the lower. */
export interface Lineage {
  /** Made once at bootstrap; survives every restore. For data without a recorded lineage: the etcd cluster id. */
  readonly id: string;
  /** 0 for data without a recorded lineage (the Go original's), 1 at bootstrap, +1 with each restore or recovery. */
  readonly epoch: number;
  /**
   * The cluster token etcd was started with. It names one *life* of the lineage: a restore of the same snapshot in two
   * places gives two lives of one epoch.
   */
  readonly token: string;
  /** `--new-cluster NAME` that the first life was bootstrapped under: that name bootstraps no second cluster. */
  readonly name?: string;
  /**
   * The life whose data this one began with, and the revision of that data: what that life wrote later is not in this one.
   * Undefined for the first life, and if an older e2d made this one.
   */
  readonly from?: { readonly token: string; readonly revision: number };
}

/**
 * The terms of committed entries of a raft log: entries that begin a term, oldest first. Committed entries of two logs of
 * one cluster are the same, so a different term at one committed index proves that a disk went back in time.
 */
export interface LogTerms {
  readonly clusterId: string;
  readonly starts: readonly LogPosition[];
}

/** Of the own log, as it was read last: between its first entry and `committedIndex` no other term begins. */
export interface OwnLogTerms extends LogTerms {
  /** What was committed before the read: entries after it may have been overwritten since. */
  readonly committedIndex: number;
}

/** The end of a raft log. Of two logs of one life, the one with the higher term, then index, holds all commits of the other. */
export interface LogPosition {
  readonly term: number;
  readonly index: number;
}
