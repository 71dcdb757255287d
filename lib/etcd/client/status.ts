/** Translates etcd's answer to the call Status into the vocabulary of lib/facts. */
import type { EtcdAlarm, EtcdStatus } from "../../facts/etcd.ts";
import type { Answer, methods } from "./messages.ts";

export function statusOf(raw: Answer<typeof methods.status>): EtcdStatus {
  const alarms: EtcdAlarm[] = [];
  const statusErrors: string[] = [];
  for (const text of raw.errors) {
    const alarm = alarmIn(text);
    if (alarm !== undefined) alarms.push(alarm);
    // A missing leader is reported as an empty `leader`, too.
    else if (text !== "etcdserver: no leader") statusErrors.push(text);
  }
  return {
    clusterId: raw.header?.clusterId ?? "0",
    memberId: raw.header?.memberId ?? "0",
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
    alarms,
    statusErrors,
  };
}

/** Status reports alarms as text: "memberID:9372538179322589801 alarm:NOSPACE "; 3.7 writes two spaces. */
function alarmIn(text: string): EtcdAlarm | undefined {
  const [, id, type] = /^memberID:(\d{1,20}) {1,2}alarm:(\w+)/.exec(text) ?? [];
  return id === undefined ? undefined : { type: type!, memberId: BigInt(id).toString(16) };
}
