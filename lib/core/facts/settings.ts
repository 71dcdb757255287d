/** The operator's configuration of a node. */

export type RestoreMode = "auto" | "ask" | "never";

/** One value that the event `settings` replaces as a whole. */
export interface Settings {
  /** `-n`: the number of voters of the cluster. At least 1. */
  readonly requiredSize: number;
  /** False only for a single node without configured peers: it has no gossip and waits for no peer. */
  readonly gossip: boolean;
  /**
   * host:port of every configured or discovered bootstrap peer without duplicates; this node may be among them. The manager
   * resolves host names, so that they compare with gossip addresses; a name that it cannot resolve stays as it is.
   */
  readonly seeds: readonly string[];
  /** How long a member may be silent before it is replaced. */
  readonly healthCheckTimeoutMs: number;
  readonly quorumLossTimeoutMs: number | "never";
  /** A learner that makes no progress for this long is evicted. */
  readonly learnerStallTimeoutMs: number;
  readonly restore: RestoreMode;
  /** The highest age of a snapshot that is restored automatically; undefined: any age. */
  readonly restoreMaxAgeMs?: number;
  /** `--new-cluster NAME`: bootstrap an empty cluster although a snapshot or an earlier cluster exists. */
  readonly newCluster?: string;
  /** Digests of the plans that an operator approved (`e2d restore approve PLAN`). */
  readonly approved: readonly string[];
  /** `e2d pause`: no automatic action except a restart from the own data. The core updates it (stops.ts). */
  readonly paused: boolean;
  /** `e2d hold` at this node: no bootstrap and no disaster recovery. */
  readonly hold?: Hold;
  /** True if a snapshot URL is configured. */
  readonly snapshots: boolean;
  readonly snapshotIntervalMs: number;
  /** Reclaimable space above which members are defragmented automatically; undefined: never. */
  readonly defrag?: DefragThreshold;
}

/** The hold of one node, until an operator releases it there (`<data-dir>.e2d.stops.json`). */
export interface Hold {
  readonly sinceWallMs: number;
  readonly why?: string;
}

/** Both limits must be reached. */
export interface DefragThreshold {
  /** Reclaimable fraction of the database file, 0 to 1. */
  readonly ratio: number;
  readonly minBytes: number;
}
