/** The other nodes, as gossip and their published facts show them. */
import type { Hold } from "./settings.ts";
import type { Lineage, LogPosition, PauseMark, Pledge, SeenCluster, SeenLogs } from "./node_record.ts";
import type { Phase } from "./reason.ts";

export interface BackupFailure {
  readonly attempts: number;
  /** The last error. */
  readonly text: string;
}

export interface RememberedPeer {
  readonly peerUrl: string;
  readonly hold?: Hold;
  readonly pause?: PauseMark;
  /** When it left gossip in order, by the own monotonic clock; undefined: it did not, or came back. */
  readonly leftAtMs?: number;
}

export type GossipState = "alive" | "suspect" | "dead" | "left";

/** The original's status: 0, 1, 2 on the wire. */
export type Status = "unknown" | "pending" | "running";

/** What a peer says of its data. `unknown` is said while it looks, and is never taken for `none`. */
export type PeerData =
  | { readonly kind: "unknown" }
  /** `lost`: this disk's record says that etcd ran here, and the data-dir is not there (a volume that is not mounted). */
  | { readonly kind: "none"; readonly lost?: Lineage }
  | {
    readonly kind: "held";
    readonly clusterId: string;
    readonly memberId: string;
    readonly lineage: Lineage;
    readonly revision: number;
    /** The end of its raft log, while its etcd does not run or has no leader. */
    readonly lastLog?: LogPosition;
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
  /** Digest of the bootstrap plan that this node proposes now. */
  readonly proposal?: string;
  /** Unresolved durable pledges, oldest first. */
  readonly pledges: readonly Pick<Pledge, "digest" | "token" | "initialMembers" | "verified">[];
  /** Tokens of bootstrap plans that this node left for the one it holds data of. */
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
    /** What decides which survivor holds most: the end of its raft log. */
    readonly lastLog: LogPosition;
  };
  /** Set by the survivor whose data is the source: where and what its export is. */
  readonly offer?: { readonly hash: string; readonly revision: number; readonly url: string };
  /** What this node found in the store; all initial members must find the same. */
  readonly snapshotLookup?: LookupDigest;
  /** Of its record. */
  readonly logs?: SeenLogs;
  /** Of its record. */
  readonly seen?: Omit<SeenCluster, "voters">;
  /** Plans approved by the operator at that node. */
  readonly approved: readonly string[];
  readonly pause?: PauseMark;
  readonly hold?: Hold;
  /** Of its record. */
  readonly undecided?: Lineage;
  /** Of a node whose etcd leads: the attempts to take a snapshot that failed in a row. */
  readonly backupFailure?: BackupFailure;
  /** Id of its own member, whose etcd stays silent although its node restarted it. */
  readonly etcdHung?: string;
}

/** `absent` and `unreadable` are facts; `newest:` is followed by a digest of all that the store shows (source.ts). */
export type LookupDigest = "unconfigured" | "absent" | "unreadable" | `newest:${string}`;

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
  readonly isLegacy: boolean;
}

/**
 * One name that two live addresses claim at the same time. Gossip reports it; nothing is removed or quarantined because
 * of it, and no rule takes either of the two for the other's stale member (docs/decisions.md, "Joining").
 */
export interface NameConflict {
  readonly name: string;
  /** host:port of both, this node's own gossip address first where it is one of them. */
  readonly addresses: readonly [string, string];
}

/** A node whose gossip cannot be read because of the keys. Nobody authenticates where it comes from. */
export interface KeyMismatch {
  readonly kind: "differs" | "peer_has_none" | "own_missing";
  /** host:port, or the host alone where only streams from there have come in. */
  readonly address: string;
  /** `answer`: it answered this node; `stream`: it dialled this node; `packet`: anybody can have sent it. */
  readonly evidence: "answer" | "stream" | "packet";
}

export interface GossipKeys {
  /** Of the key that this node seals with; undefined: it has none. */
  readonly fingerprint?: string;
  readonly mismatches: readonly KeyMismatch[];
}

/** Gossip sees the peer: it is alive, or it has not missed enough to be dead. */
export const isPresent = ({ state }: Pick<GossipPeer, "state">): boolean => state === "alive" || state === "suspect";
