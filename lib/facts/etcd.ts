/**
 * What etcd reports about itself, in one vocabulary: lib/etcd reads it from etcd's API and from data-dirs, lib/core
 * decides over it. Plain data, and the few functions that both sides need on it.
 *
 * Ids that etcd prints as uint64 are lower-case hexadecimal text without leading zeros, so that no precision is lost.
 */
import type { Lineage, LogPosition } from "./lineage.ts";

export interface EtcdMember {
  readonly id: string;
  /** Empty while the member was added but never started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Empty while the member was added but never started. */
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

/** An alarm that etcd keeps for one member until it is disarmed. */
export interface EtcdAlarm {
  /** "NOSPACE" or "CORRUPT"; a type that a later release adds passes through. */
  readonly type: string;
  /** "0": etcd does not know which member it concerns. */
  readonly memberId: string;
}

/** The answer of one member to etcd's call Status. */
export interface EtcdStatus {
  readonly clusterId: string;
  readonly memberId: string;
  /** Undefined: this member knows no leader. */
  readonly leaderId?: string;
  readonly isLearner: boolean;
  readonly raftTerm: number;
  /** Committed. */
  readonly raftIndex: number;
  readonly raftAppliedIndex: number;
  readonly revision: number;
  /** Of the running program: "3.6.14". */
  readonly version: string;
  /** The version whose data format is on its disk, "3.6.0"; undefined before 3.6. */
  readonly storageVersion?: string;
  readonly dbSizeBytes: number;
  readonly dbInUseBytes: number;
  /** Of all members, as this member has applied them. */
  readonly alarms: readonly EtcdAlarm[];
  /** Other errors of the status, in etcd's words. A missing leader is not among them: see `leaderId`. */
  readonly statusErrors: readonly string[];
}

/**
 * One member's status together with a linearizable read of the cluster record and the member list, asked in this order
 * on the same endpoint, so that `members` is at least as new as the read (etcd 3.4 answers member lists from its own
 * store, which alone could be stale).
 */
export interface EtcdAnswer extends EtcdStatus {
  readonly kind: "answer";
  /**
   * The version of the cluster as this member has applied it, "3.6.0": never newer than the oldest member, and raised
   * some seconds after the last one. Undefined: not agreed on yet, or not known.
   */
  readonly clusterVersion?: string;
  /** True when the linearizable read succeeded: there was a quorum and `members` is current. */
  readonly linearizable: boolean;
  /** Empty when the member did not list them; a learner never does. */
  readonly members: readonly EtcdMember[];
  /** The cluster record's size (`/_e2d/Cluster/1`); undefined when there is none or it could not be read. */
  readonly recordedSize?: number;
  /** Sizes this cluster had before `e2d scale` changed it: a node started with one of them adopts the recorded one. */
  readonly formerSizes: readonly number[];
  /** Whether this cluster is paused (`/_e2d/paused`); undefined: not read. */
  readonly pause?: RecordedPause;
  /** The lineage that this cluster keeps in itself (`/_e2d/lineage`); undefined: not read, "absent": it keeps none. */
  readonly lineage?: Lineage | "absent";
}

/** The pause of a cluster as it is stored in etcd. */
export interface RecordedPause {
  readonly paused: boolean;
  /** Counts the pauses and resumes of this cluster; 0: there was none. */
  readonly version: number;
}

/** How much the raft of one etcd has received from each other member since that etcd started. */
export interface RaftReceipts {
  /** The member whose metrics these are. */
  readonly memberId: string;
  readonly peers: readonly { readonly memberId: string; readonly receivedBytes: number }[];
}

/** A data-dir that etcd can start on. */
export interface ValidData {
  readonly kind: "valid";
  /** Empty when the member was stopped before it had published its name to the cluster. */
  readonly name: string;
  readonly memberId: string;
  readonly clusterId: string;
  readonly peerUrls: readonly string[];
  /** The members that the data-dir itself lists (the last that this member applied). */
  readonly members: readonly EtcdMember[];
  /** The newest revision in the database file; what is only in the log does not count. */
  readonly revision: number;
  readonly raftTerm: number;
  /** Applied last. etcd 3.4 writes it with changes of keys alone, so `members` may be newer. */
  readonly raftIndex: number;
  /** The oldest minor version of etcd that starts on it, "3.6"; undefined: the data-dir does not show one. */
  readonly etcdAtLeast?: string;
  /** Ids of members that it lists both as members and as removed; undefined: not read. */
  readonly contradictory?: readonly string[];
  /** The end of its raft log on disk, committed or not; undefined: not read since its etcd was last seen. */
  readonly lastLog?: LogPosition;
  /** The entries of that log that begin a term, oldest first, as far back as its newest file shows without a gap. */
  readonly termStarts?: readonly LogPosition[];
}

export interface InitialMember {
  readonly name: string;
  readonly peerUrl: string;
}

/** How etcd starts: on its data-dir, as an initial member of a new cluster, or as a learner that was added. */
export type EtcdStartState =
  /**
   * The data-dir contains the whole configuration. `othersServe`: the cluster answers without this member, so etcd can
   * compare its data with theirs before it serves.
   */
  | { readonly state: "restart"; readonly othersServe: boolean }
  | { readonly state: "new"; readonly initialCluster: readonly InitialMember[]; readonly token: string }
  | { readonly state: "existing"; readonly initialCluster: readonly InitialMember[] };

/** True under this alarm of any member, or of the given one. */
export function hasAlarm({ alarms }: Pick<EtcdStatus, "alarms">, type: string, memberId?: string): boolean {
  return alarms.some((alarm) => alarm.type === type && (memberId === undefined || alarm.memberId === memberId));
}

/** An alarm as operators see it: "NOSPACE" of the reporting member itself, "NOSPACE of <id>" of another one. */
export function alarmText({ type, memberId }: EtcdAlarm, reporterId: string): string {
  return memberId === reporterId ? type : `${type} of ${memberId}`;
}

/** All alarms and other errors of a status, as operators see them. */
export function alarmTexts({ memberId, alarms, statusErrors }: EtcdStatus): string[] {
  return [...alarms.map((alarm) => alarmText(alarm, memberId)), ...statusErrors];
}
