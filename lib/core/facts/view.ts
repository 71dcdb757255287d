/**
 * What one node knows: the facts that the rules of lib/core decide over. Plain data, no behaviour.
 *
 * Times named `...Ms` are milliseconds of this node's monotonic clock unless the name says `wall`. Identifiers that
 * etcd prints as uint64 are lower-case hexadecimal text without leading zeros, so that no precision is lost.
 */
import type { Settings } from "./settings.ts";
import type { DataDir } from "./data_dir.ts";
import type { NodeRecord, PauseMark, SeenCluster } from "./node_record.ts";
import type { GossipKeys, GossipPeer, NameConflict, RememberedPeer } from "./peer.ts";
import type { EndpointFacts, EtcdProcess, MemberAnswer, RaftFacts } from "./cluster.ts";
import type { SnapshotLookup } from "./snapshot_lookup.ts";

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
  /** Without those of another cluster (foreign_peers.ts). */
  readonly peers: readonly GossipPeer[];
  readonly gossipKeys: GossipKeys;
  /** Names with two live holders, as gossip sees them now; this node's own name may be among them. */
  readonly nameConflicts: readonly NameConflict[];
  /** By client URL; the own one is among them while etcd runs. */
  readonly endpoints: ReadonlyMap<string, EndpointFacts>;
  /** By name: what this process remembers of peers, those that gossip has forgotten included. */
  readonly rememberedPeers?: ReadonlyMap<string, RememberedPeer>;
  /** What this node last knew of its cluster's pause, from its disk or since. */
  readonly pauseMark?: PauseMark;
  /** What each member id last answered, at whatever URL. */
  readonly memberAnswers: ReadonlyMap<string, MemberAnswer>;
  /** What the leader's raft hears, asked for while a member is missing; undefined: never asked. */
  readonly raft?: RaftFacts;
  /** When this node first saw a member id in the list of the cluster. */
  readonly memberSinceMs: ReadonlyMap<string, number>;
  /** The last cluster with a quorum that answered, and when; of one that answered an earlier process, when this began. */
  readonly lastCluster?: Omit<SeenCluster, "newCluster"> & { readonly atMs: number };
  readonly snapshotLookup: SnapshotLookup;
  /** Since when this node has found that snapshot to be the newest; undefined: it has found none. */
  readonly newestSinceMs?: number;
  /** When the store was last asked and still showed that snapshot as the newest. */
  readonly newestAskedMs?: number;
  readonly etcd: EtcdProcess;
  /** Since when the own etcd runs without a leader; undefined while it has one or does not run. */
  readonly leaderlessSinceMs?: number;
  /**
   * Since when this process has watched the world without a gap. A node that was paused (SIGSTOP, a suspended
   * machine) distrusts every clock it ran before: its silence was its own.
   */
  readonly watchingSinceMs: number;
}
