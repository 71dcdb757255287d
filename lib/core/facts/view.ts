/**
 * What one node knows: the facts that the rules of lib/core decide from. Plain data, no behaviour.
 *
 * Times named `...Ms` are milliseconds of this node's monotonic clock unless the name says `wall`. Identifiers that
 * etcd prints as uint64 are lower-case hexadecimal text without leading zeros, so that no precision is lost.
 */
import type { Settings } from "./settings.ts";
import type { DataDir } from "./data_dir.ts";
import type { NodeRecord, OwnLogTerms, PauseMark, SeenCluster } from "./node_record.ts";
import type { GossipKeys, GossipPeer, NameConflict, RememberedPeer } from "./peer.ts";
import type { EndpointFacts, EtcdProcess, MemberAnswer, RaftFacts } from "./cluster.ts";
import type { SnapshotLookup } from "./snapshot_lookup.ts";

/** The identity of this node. The manager determines the name: the flag, else the name in the data-dir, else random. */
export interface Identity {
  /** The name in gossip and in etcd. */
  readonly name: string;
  /** As etcd has it: scheme, host, port. */
  readonly peerUrl: string;
  readonly clientUrl: string;
  /** host:port */
  readonly gossipAddr: string;
}

/** The facts at one point in time, the argument of every rule. */
export interface View {
  readonly nowMs: number;
  readonly nowWallMs: number;
  readonly self: Identity;
  readonly settings: Settings;
  readonly data: DataDir;
  readonly record: NodeRecord;
  /** Undefined: the own raft log was not read. */
  readonly logTerms?: OwnLogTerms;
  /** When gossip first had an answer of another node; undefined: never. */
  readonly gossipJoinedAtMs?: number;
  readonly bootedAtMs: number;
  /** Without those of another cluster (foreign_peers.ts). */
  readonly peers: readonly GossipPeer[];
  readonly gossipKeys: GossipKeys;
  /** Names that two live addresses claim; this node's own name may be among them. */
  readonly nameConflicts: readonly NameConflict[];
  /** By client URL; includes the own one while etcd runs. */
  readonly endpoints: ReadonlyMap<string, EndpointFacts>;
  /** By name: the peers that this process has met, including those that gossip has forgotten. */
  readonly rememberedPeers?: ReadonlyMap<string, RememberedPeer>;
  /** The last pause or resume of the cluster that this node knows of, from its disk or from a peer. */
  readonly pauseMark?: PauseMark;
  /** The last answer of each member id, at any URL. */
  readonly memberAnswers: ReadonlyMap<string, MemberAnswer>;
  /** What the leader's raft receives, probed while a member is missing; undefined: never probed. */
  readonly raft?: RaftFacts;
  /** When this node first saw a member id in the member list. */
  readonly memberSinceMs: ReadonlyMap<string, number>;
  /** The last cluster that answered with a quorum, and when; if it answered an earlier process, when this one started. */
  readonly lastCluster?: Omit<SeenCluster, "newCluster"> & { readonly atMs: number };
  readonly snapshotLookup: SnapshotLookup;
  /** Since when the lookups show that snapshot as the newest; undefined: they show none. */
  readonly newestSinceMs?: number;
  /** The start of the last lookup that showed that snapshot as the newest. */
  readonly newestAskedMs?: number;
  readonly etcd: EtcdProcess;
  /** Since when the own etcd runs without a leader; undefined while it has one or does not run. */
  readonly leaderlessSinceMs?: number;
  /** Since when the own etcd has had a leader in each answer; undefined: it has none, or did not answer yet. */
  readonly leaderSinceMs?: number;
  /**
   * Since when this process has received events without a gap. After a gap (SIGSTOP, a suspended machine) all failure
   * timers restart: the silence of the others may have been that of this process.
   */
  readonly watchingSinceMs: number;
}
