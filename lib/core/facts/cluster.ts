/** The etcd cluster, as its members answer, and the node's own etcd process. */
import type { EtcdAnswer, RaftReceipts } from "../../facts/etcd.ts";

export type { EtcdAlarm, EtcdAnswer, EtcdMember } from "../../facts/etcd.ts";

/** The last answer of one member, and how far its log on disk is known to reach (log_went_back.ts). */
export interface MemberAnswer {
  readonly clusterId: string;
  readonly atMs: number;
  /** The committed index that it reported last. */
  readonly raftIndex: number;
  /** An index that its log on disk reached; 0: none is known. */
  readonly storedIndex: number;
}

export type EtcdProbe =
  | EtcdAnswer
  | { readonly kind: "unreachable"; readonly code: string };

/** What the raft of one etcd has received from each other member since it started (raft_evidence.ts). */
export type RaftProbe =
  | { readonly kind: "answer" } & RaftReceipts
  | { readonly kind: "unreachable"; readonly code: string };

/** The readings of one leader's raft, one after another. */
export type RaftFacts =
  | {
    readonly kind: "read";
    readonly memberId: string;
    /** The first reading of this row, and the last. */
    readonly sinceMs: number;
    readonly atMs: number;
    readonly members: ReadonlyMap<string, { readonly receivedBytes: number; readonly heardAtMs?: number }>;
  }
  | { readonly kind: "unreadable"; readonly atMs: number };

/** What is known of one endpoint, kept by the core from probe to probe. */
export interface EndpointFacts {
  readonly last: EtcdProbe;
  readonly atMs: number;
  /** First failure since the last success; undefined while it answers. */
  readonly failingSinceMs?: number;
  readonly failures: number;
  /** The highest applied index seen, and when it last rose: a learner's progress. */
  readonly appliedIndex: number;
  readonly progressAtMs: number;
  /**
   * When this member last had all that was committed: a linearizable read succeeded there; of a learner, which serves
   * none, when it had applied what the own, leading member had. Undefined: not since this node watches it.
   */
  readonly currentAtMs?: number;
  /** The own member's raft index as it was known when this came: the lag is counted from it. Undefined: not known. */
  readonly ownRaftIndex?: number;
}

/** The local etcd process. */
export type EtcdProcess =
  | { readonly kind: "stopped" }
  | { readonly kind: "starting"; readonly sinceMs: number }
  /** Answers its health question with a leader. */
  | { readonly kind: "ready"; readonly sinceMs: number }
  | {
    readonly kind: "exited";
    readonly atMs: number;
    readonly code: number;
    /** `member_removed` when its log says so, `data_corrupt`, `cluster_mismatch`, else `unknown`. */
    readonly cause: string;
    readonly count: number;
  };

export function quorumOf(voters: number): number {
  return Math.floor(voters / 2) + 1;
}

/** What HashKV said, of members asked at one revision. */
export interface HashEvidence {
  readonly revision: number;
  readonly atMs: number;
  /** Ids of all voters when it was asked for, sorted. */
  readonly voters: readonly string[];
  /** Those that answered. Hashes can be compared where `compactRevision` is the same. */
  readonly hashes: readonly MemberHash[];
}

export interface MemberHash {
  readonly memberId: string;
  readonly hash: number;
  readonly compactRevision: number;
}

export interface AskedMember {
  readonly memberId: string;
  readonly endpoint: string;
}
