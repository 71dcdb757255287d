/**
 * One member's answer to the question that e2d's decisions rest on. Asked in this order, all at the same member: its
 * status; a linearizable read, which proves that there is a quorum; the list of members, which so is at least as new as
 * the read (etcd 3.4 answers it from its own store, which alone could be old).
 */
import { E2dError } from "../errors.ts";
import type { Clock } from "../ports.ts";
import type { CallOptions } from "./client_channel.ts";
import type { Data, Txn, TxnResult } from "./client_kv.ts";
import type { EtcdMemberInfo, EtcdStatus } from "./client_status.ts";

export interface EtcdProbeAnswer extends EtcdStatus {
  readonly kind: "answer";
  /** True when the read succeeded: there was a quorum and `members` is current. */
  readonly linearizable: boolean;
  /** Empty when the member would not list them, as learners do. */
  readonly members: readonly EtcdMemberInfo[];
  readonly recordedSize?: number;
  readonly formerSizes: readonly number[];
}

export type EtcdProbeResult =
  | EtcdProbeAnswer
  | { readonly kind: "unreachable"; readonly code: string; readonly message: string };

export interface ProbeRecord {
  /** The keys of the cluster record and what belongs to it, read together. */
  readonly keys: readonly Data[];
  /** What their values say; undefined for a key that does not exist. What it throws counts as nothing recorded. */
  read(values: readonly (Uint8Array<ArrayBuffer> | undefined)[]): {
    recordedSize?: number | undefined;
    formerSizes?: readonly number[] | undefined;
  };
}

/** What a probe asks; the parts of EtcdClient it uses. */
export interface ProbedClient {
  status(endpoint: string, options: CallOptions): Promise<EtcdStatus>;
  txn(txn: Txn, options: CallOptions & { via: readonly string[]; requireLeader: boolean }): Promise<TxnResult>;
  memberList(endpoint: string, options: CallOptions & { linearizable: boolean }): Promise<EtcdMemberInfo[]>;
}

/** Kept back from the read for the list of members, which a member without quorum answers from its own store. */
const listShare = 0.25;

/** Answers within `timeoutMs`, whatever happens. Throws nothing but the signal's reason. */
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
  // A learner refuses both further questions, and without a leader the first would only wait.
  const asked = status.isLearner || status.leaderId === undefined ? undefined : await client.txn(
    { compare: [], success: record.keys.map((key) => ({ kind: "range", key })) },
    { ...within(1 - listShare), via: [endpoint], requireLeader: true },
  ).catch(unlessAborted(undefined));
  const linearizable = asked !== undefined;
  const members = status.isLearner
    ? []
    : await client.memberList(endpoint, { ...within(), linearizable }).catch(unlessAborted(undefined));
  const recorded = asked && readRecord(record, asked);
  return {
    kind: "answer",
    ...status,
    linearizable: linearizable && members !== undefined,
    members: members ?? [],
    ...(recorded?.recordedSize !== undefined && { recordedSize: recorded.recordedSize }),
    formerSizes: recorded?.formerSizes ?? [],
  };
}

function readRecord(record: ProbeRecord, { ranges }: TxnResult): ReturnType<ProbeRecord["read"]> | undefined {
  try {
    return record.read(ranges.map((range) => range?.kvs[0]?.value));
  } catch {
    return undefined;
  }
}
