/** The etcd cluster as its members report it, and the node's own etcd process. */
import type { EtcdAnswer, RaftReceipts } from "../../facts/etcd.ts";

export type { EtcdAlarm, EtcdAnswer, EtcdMember } from "../../facts/etcd.ts";

/** The last answer of one member, and the index that its log on disk is known to reach (log_went_back.ts). */
export interface MemberAnswer {
  readonly clusterId: string;
  readonly atMs: number;
  /** The committed index that the member reported last. */
  readonly raftIndex: number;
  /** An index that the member's log on disk reached; 0: none is known. */
  readonly storedIndex: number;
}

export type EtcdProbe =
  | EtcdAnswer
  | { readonly kind: "unreachable"; readonly code: string };

/** How much the raft of one etcd has received from each other member since it started (raft_evidence.ts). */
export type RaftProbe =
  | { readonly kind: "answer" } & RaftReceipts
  | { readonly kind: "unreachable"; readonly code: string };

/** Consecutive readings of one leader's raft. */
export type RaftFacts =
  | {
    readonly kind: "read";
    readonly memberId: string;
    /** The time of the first and of the last of these readings. */
    readonly sinceMs: number;
    readonly atMs: number;
    readonly members: ReadonlyMap<string, { readonly receivedBytes: number; readonly heardAtMs?: number }>;
  }
  | { readonly kind: "unreadable"; readonly atMs: number };

/** The results of the probes of one endpoint. */
export interface EndpointFacts {
  readonly last: EtcdProbe;
  readonly atMs: number;
  /** Time of the first failure since the last success; undefined while the endpoint answers. */
  readonly failingSinceMs?: number;
  readonly failures: number;
  /** The highest applied index reported, and when it last increased: the progress of a learner. */
  readonly appliedIndex: number;
  readonly progressAtMs: number;
  /**
   * When this member last had every committed entry: a linearizable read succeeded on it. A learner serves no such read;
   * for it, the time when it had applied as much as the own, leading member. Undefined: never while this node watched it.
   */
  readonly currentAtMs?: number;
  /** The raft index of the own member at the time of the answer: the lag is counted from it. Undefined: not known. */
  readonly ownRaftIndex?: number;
}

/** The local etcd process. */
export type EtcdProcess =
  | { readonly kind: "stopped" }
  | { readonly kind: "starting"; readonly sinceMs: number }
  /** Its health check reports a leader. */
  | { readonly kind: "ready"; readonly sinceMs: number }
  | {
    readonly kind: "exited";
    readonly atMs: number;
    readonly code: number;
    /** `member_removed`, `cluster_mismatch` or `data_corrupt` if the log of etcd states it, else `unknown`. */
    readonly cause: string;
    readonly count: number;
  };

/** The number of voters, out of `voters`, that is a majority. */
export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** The results of HashKV on several members at one revision. */
export interface HashEvidence {
  readonly revision: number;
  readonly atMs: number;
  /** Ids of all voters at the time of the request, sorted. */
  readonly voters: readonly string[];
  /** The members that answered. Two hashes are comparable if their `compactRevision` is equal. */
  readonly hashes: readonly MemberHash[];
}

export interface MemberHash {
  readonly memberId: string;
  readonly hash: number;
  readonly compactRevision: number;
}

/** A member and the client URL at which it is called. */
export interface MemberEndpoint {
  readonly memberId: string;
  readonly endpoint: string;
}
