/** The other nodes as gossip and their published facts describe them. */
import type { Hold } from "./settings.ts";
import type { Lineage, LogPosition, LogTerms, PauseMark, Pledge, SeenCluster, SeenLogs } from "./node_record.ts";
import type { Phase } from "./reason.ts";

/** Consecutive failed attempts to save a snapshot. */
export interface BackupFailure {
  readonly attempts: number;
  /** The last error. */
  readonly text: string;
}

/** What this process remembers of a peer after gossip has forgotten it. */
export interface RememberedPeer {
  readonly peerUrl: string;
  readonly hold?: Hold;
  readonly pause?: PauseMark;
  /** When the peer left gossip at a normal stop, by the own monotonic clock; undefined: it did not leave, or returned. */
  readonly leftAtMs?: number;
}

export type GossipState = "alive" | "suspect" | "dead" | "left";

/** The status of the original's protocol: 0, 1, 2 on the wire. */
export type Status = "unknown" | "pending" | "running";

/** What a peer reports of its data. `unknown`, reported during its inspection, never counts as `none`. */
export type PeerData =
  | { readonly kind: "unknown" }
  /** `lost`: by the record of that disk etcd ran on it, and the data-dir is absent (for example a volume not mounted). */
  | { readonly kind: "none"; readonly lost?: Lineage }
  | {
    readonly kind: "held";
    readonly clusterId: string;
    readonly memberId: string;
    readonly lineage: Lineage;
    readonly revision: number;
    /** The last entry of its raft log, while its etcd does not run or has no leader. */
    readonly lastLog?: LogPosition;
  }
  /** Damaged or unreadable: the data exists, and etcd cannot start on it. */
  | { readonly kind: "unusable"; readonly why: string };

/**
 * What nodes publish to each other beside the original's metadata. Legacy peers neither send nor receive it. The facts may
 * exceed the 512 bytes of gossip's metadata; the manager chooses the transport. Received facts replace the previous ones.
 */
export interface PeerFacts {
  readonly nonce: string;
  readonly formerNonces: readonly string[];
  /** Increases with each change of the facts within one process, so that older facts never replace newer ones. */
  readonly sequence: number;
  readonly requiredSize: number;
  readonly phase: Phase;
  readonly data: PeerData;
  /** Digest of the bootstrap plan that this node proposes. */
  readonly proposal?: string;
  /** Unresolved durable pledges, oldest first. */
  readonly pledges: readonly Pick<Pledge, "digest" | "token" | "initialMembers" | "verified">[];
  /** Tokens of the bootstrap plans that this node renounced for the one whose data it holds. */
  readonly renounced: readonly string[];
  /** Manifest hash of the source that this node has downloaded and verified for its proposal. */
  readonly verified?: string;
  /** Published by a survivor whose etcd had no leader, and whose other members were gone, for `--quorum-loss-timeout`. */
  readonly quorumLost?: {
    readonly lineage: Lineage;
    readonly revision: number;
    /** Ids of the members in its log as applied up to `raftIndex`. */
    readonly members: readonly string[];
    readonly raftIndex: number;
    /** The last entry of its raft log; the survivor with the latest one is the source of the recovery. */
    readonly lastLog: LogPosition;
  };
  /** Published by the survivor whose data is the source: the address and the contents of its export. */
  readonly offer?: { readonly hash: string; readonly revision: number; readonly url: string };
  /** The result of this node's snapshot lookup; it must be equal at all initial members. */
  readonly snapshotLookup?: LookupDigest;
  /** From its record. */
  readonly logs?: SeenLogs;
  /** Terms of committed entries of its own raft log. */
  readonly logTerms?: LogTerms;
  /** From its record. */
  readonly seen?: Omit<SeenCluster, "voters">;
  /** Plans that an operator approved at that node. */
  readonly approved: readonly string[];
  readonly pause?: PauseMark;
  readonly hold?: Hold;
  /** From its record. */
  readonly undecided?: Lineage;
  /** Published by the leader's node. */
  readonly backupFailure?: BackupFailure;
  /** Id of its own member, whose etcd stays silent after its node restarted it. */
  readonly etcdHung?: string;
}

/** `newest:` is followed by a digest of the store's contents (source.ts). */
export type LookupDigest = "unconfigured" | "absent" | "unreadable" | `newest:${string}`;

/** Another e2d node that gossip knows, legacy peers included. */
export interface GossipPeer {
  readonly name: string;
  readonly peerUrl: string;
  readonly clientUrl: string;
  readonly gossipAddr: string;
  readonly state: GossipState;
  /** When gossip last changed the state. */
  readonly sinceMs: number;
  readonly status: Status;
  /** Undefined for a legacy peer, and for a peer whose facts have not arrived yet. */
  readonly facts?: PeerFacts;
  /** True if the metadata lacks the mark of a node that publishes facts. */
  readonly isLegacy: boolean;
}

/**
 * A name that two live addresses claim at the same time. No member is removed and no data quarantined because of it, and no
 * rule treats one of the two as the other's stale member (docs/decisions.md, "Joining").
 */
export interface NameConflict {
  readonly name: string;
  /** host:port of both; this node's own gossip address comes first. */
  readonly addresses: readonly [string, string];
}

/** A node whose gossip cannot be decrypted. Its address is not authenticated. */
export interface KeyMismatch {
  readonly kind: "differs" | "peer_has_none" | "own_missing";
  /** host:port, or the host alone if it was seen only in incoming streams. */
  readonly address: string;
  /** `answer`: it answered this node; `stream`: it connected to this node; `packet`: the sender may be forged. */
  readonly evidence: "answer" | "stream" | "packet";
}

export interface GossipKeys {
  /** Of the key that this node encrypts with; undefined: it has none. */
  readonly fingerprint?: string;
  readonly mismatches: readonly KeyMismatch[];
}

/** True for a peer that is alive or suspect. */
export const isPresent = ({ state }: Pick<GossipPeer, "state">): boolean => state === "alive" || state === "suspect";
