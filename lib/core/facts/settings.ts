/** What an operator configured: one value, replaced as a whole by the event `settings`. */

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
  /** `--new-cluster NAME`: bootstrap an empty cluster although a snapshot or an earlier cluster exists. */
  readonly newCluster?: string;
  /** Digests of plans that the operator approved (`e2d restore approve PLAN`). */
  readonly approved: readonly string[];
  /** `e2d pause`: nothing automatic but restarting from one's own data. The core keeps it up to date (stops.ts). */
  readonly paused: boolean;
  /** `e2d hold` at this node: no bootstrap and no disaster recovery. */
  readonly hold?: Hold;
  /** True when a snapshot URL is configured. */
  readonly snapshots: boolean;
  readonly snapshotIntervalMs: number;
  /** Free space at which members are defragmented without being asked; undefined: never. */
  readonly defrag?: DefragThreshold;
}

/** A stop that an operator set at one node; it lasts until it is released there (`<data-dir>.e2d.stops.json`). */
export interface Hold {
  readonly sinceWallMs: number;
  readonly why?: string;
}

/** Both must be reached. */
export interface DefragThreshold {
  /** Free part of the database file, 0 to 1. */
  readonly ratio: number;
  readonly minBytes: number;
}
