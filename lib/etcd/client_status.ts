/** What one etcd member says of itself and of the cluster, in the words of the rest of e2d. */
import type { Answer, methods } from "./client_messages.ts";

/** Ids are lower-case hexadecimal text without leading zeros. */
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
  /** Of the program that runs: "3.6.14". */
  readonly version: string;
  /** The version whose data format is on disk, "3.6.0"; undefined before 3.6. */
  readonly storageVersion?: string;
  readonly dbSizeBytes: number;
  readonly dbInUseBytes: number;
  /** "NOSPACE" and "CORRUPT" are this member's own; of others "NOSPACE of <id>"; then other errors, as etcd words them. */
  readonly alarms: readonly string[];
}

export interface EtcdMemberInfo {
  readonly id: string;
  /** Empty while the member was added but never started. */
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** Empty while the member was added but never started. */
  readonly clientUrls: readonly string[];
  readonly isLearner: boolean;
}

export function statusOf(raw: Answer<typeof methods.status>): EtcdStatus {
  const memberId = raw.header?.memberId ?? "0";
  return {
    clusterId: raw.header?.clusterId ?? "0",
    memberId,
    ...(raw.leader !== "0" && { leaderId: raw.leader }),
    isLearner: raw.isLearner,
    raftTerm: raw.raftTerm,
    raftIndex: raw.raftIndex,
    raftAppliedIndex: raw.raftAppliedIndex,
    revision: raw.header?.revision ?? 0,
    version: raw.version,
    ...(raw.storageVersion !== "" && { storageVersion: raw.storageVersion }),
    dbSizeBytes: raw.dbSize,
    dbInUseBytes: raw.dbSizeInUse,
    alarms: raw.errors.flatMap((text) => alarmOf(text, memberId)),
  };
}

/** Status errors are texts: "memberID:9372538179322589801 alarm:NOSPACE ", of 3.7 with two spaces, or an error. */
function alarmOf(text: string, ownId: string): string[] {
  const match = /^memberID:(\d{1,20}) {1,2}alarm:(\w+)/.exec(text);
  if (match !== null) {
    const id = BigInt(match[1]!).toString(16);
    return [id === ownId ? match[2]! : `${match[2]} of ${id}`];
  }
  // That there is no leader is said by the status itself.
  return text === "etcdserver: no leader" ? [] : [text];
}
