/**
 * Probes one member: its status, then a linearizable read, which succeeds only with a quorum, then the member list, all
 * at the same endpoint. In this order the list is at least as new as the read (etcd 3.4 answers it from its own store,
 * which alone may be stale). A probe ends within its time-out and never throws for an unreachable member.
 */
import { E2dError } from "../../errors.ts";
import type { Clock } from "../../ports.ts";
import type { CallOptions } from "./channel.ts";
import type { Data, Txn, TxnResult } from "./kv.ts";
import type { EtcdAnswer, EtcdMember, EtcdStatus } from "../../facts/etcd.ts";

export type EtcdProbeResult =
  | EtcdAnswer
  | { readonly kind: "unreachable"; readonly code: string; readonly message: string };

export interface ProbeRecord {
  /** The keys of the cluster record and the keys that belong to it, read in one transaction. */
  readonly keys: readonly Data[];
  /** Parses their values; undefined for a key that does not exist. If it throws, nothing counts as recorded. */
  read(values: readonly (Uint8Array<ArrayBuffer> | undefined)[], clusterId: string): RecordedFacts;
}

/** The part of an answer that the cluster record and the keys that belong to it contain. */
export type RecordedFacts = Pick<EtcdAnswer, "recordedSize" | "formerSizes" | "lineage" | "pause">;

/** The calls of EtcdClient that a probe makes. */
export interface ProbedClient {
  status(endpoint: string, options: CallOptions): Promise<EtcdStatus>;
  txn(txn: Txn, options: CallOptions & { via: readonly string[]; requireLeader: boolean }): Promise<TxnResult>;
  memberList(endpoint: string, options: CallOptions & { linearizable: boolean }): Promise<EtcdMember[]>;
  /** Undefined while it is not agreed on, or not known. Throws only the signal's reason. */
  clusterVersion(endpoint: string, options: CallOptions): Promise<string | undefined>;
}

/** Share of the time-out that is reserved for the member list, which a member without a quorum can still answer. */
const listShare = 0.25;

/** Resolves within `timeoutMs` in every case. Throws only the signal's reason. */
export async function probeEtcd(
  client: ProbedClient,
  endpoint: string,
  { record, timeoutMs, signal, clock }: {
    record: ProbeRecord;
    timeoutMs: number;
    signal?: AbortSignal | undefined;
    clock: Clock;
  },
): Promise<EtcdProbeResult> {
  const endMs = clock.monotonicMs() + timeoutMs;
  const within = (share = 1) => ({
    signal,
    timeoutMs: Math.max(1, Math.floor((endMs - clock.monotonicMs()) * share)),
  });
  const unlessAborted = <T>(value: T) => (error: unknown): T => {
    signal?.throwIfAborted();
    if (error instanceof E2dError) return value;
    throw error;
  };
  let status: EtcdStatus;
  try {
    status = await client.status(endpoint, within());
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof E2dError)) throw error;
    return { kind: "unreachable", code: error.code, message: error.message };
  }
  const versionAsked = client.clusterVersion(endpoint, within(1 - listShare)).catch(unlessAborted(undefined));
  // Its rejection is handled where it is awaited.
  versionAsked.catch(() => {});
  // A learner refuses both further calls; without a leader the read would only wait.
  const read = status.isLearner || status.leaderId === undefined ? undefined : await client.txn(
    { compare: [], success: record.keys.map((key) => ({ kind: "range", key })) },
    { ...within(1 - listShare), via: [endpoint], requireLeader: true },
  ).catch(unlessAborted(undefined));
  const linearizable = read !== undefined;
  const members = status.isLearner
    ? []
    : await client.memberList(endpoint, { ...within(), linearizable }).catch(unlessAborted(undefined));
  const clusterVersion = await versionAsked;
  const recorded = read && readRecord(record, read, status.clusterId);
  return {
    kind: "answer",
    ...status,
    linearizable: linearizable && members !== undefined,
    members: members ?? [],
    ...(recorded?.recordedSize !== undefined && { recordedSize: recorded.recordedSize }),
    formerSizes: recorded?.formerSizes ?? [],
    ...(clusterVersion !== undefined && { clusterVersion }),
    ...(recorded?.lineage !== undefined && { lineage: recorded.lineage }),
    ...(recorded?.pause !== undefined && { pause: recorded.pause }),
  };
}

function readRecord(record: ProbeRecord, { ranges }: TxnResult, clusterId: string): RecordedFacts | undefined {
  try {
    return record.read(ranges.map((range) => range?.kvs[0]?.value), clusterId);
  } catch {
    return undefined;
  }
}
