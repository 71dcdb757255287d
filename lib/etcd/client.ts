/**
 * e2d's own client of etcd: the calls a manager makes, each to an endpoint it names, once, with a deadline of its own.
 * Idempotent ones take «it is so already» for success. Errors are E2dError with the codes of client_errors.ts, the
 * endpoint in the message, or the signal's reason.
 */
import { E2dError, isE2dError } from "../errors.ts";
import type { Clock, OpenGrpcStream } from "../ports.ts";
import { type CallOptions, EtcdChannels, type EtcdTls } from "./client_channel.ts";
import { isTransient, wasNeverSent } from "./client_errors.ts";
import {
  type Data,
  type KeyValue,
  type RangeOptions,
  type RangeResult,
  rangeResult,
  rawRange,
  rawTxn,
  toBytes,
  type Txn,
  type TxnResult,
  txnResult,
} from "./client_kv.ts";
import { methods } from "./client_messages.ts";
import { type EtcdProbeResult, probeEtcd, type ProbeRecord } from "./client_probe.ts";
import { openSnapshot, type SnapshotStream } from "./client_snapshot.ts";
import { type EtcdMemberInfo, type EtcdStatus, statusOf } from "./client_status.ts";
import { callSnapshot } from "./snapshot_call.ts";

export interface EtcdClientOptions {
  /** Client URLs that calls without `via` are made to, in this order. */
  readonly endpoints: readonly string[];
  /** For https endpoints. */
  readonly tls?: EtcdTls | undefined;
  readonly clock: Clock;
  /** Default 5,000. */
  readonly callTimeoutMs?: number;
  /** Carries snapshots faster than grpc-js, which does it without. */
  readonly openStream?: OpenGrpcStream | undefined;
}

/** Calls to any endpoint: the next one is asked when the one before cannot have done it. */
export interface AnywhereOptions extends CallOptions {
  /** Client URLs to try in order, each for `timeoutMs`; those of the client by default. */
  readonly via?: readonly string[] | undefined;
}

/** Loads gRPC; dials at the first call. On Deno `enableGrpcTls()` of lib/sys must have run. */
export async function openEtcd(options: EtcdClientOptions): Promise<EtcdClient> {
  const { default: grpc } = await import("@grpc/grpc-js");
  return new EtcdClient(
    new EtcdChannels(grpc, { clock: options.clock, callTimeoutMs: options.callTimeoutMs ?? 5_000, tls: options.tls }),
    options,
  );
}

/** A database of 8 GiB takes half a minute to defragment; slow disks take many times as long. */
const defragmentTimeoutMs = 600_000;

export class EtcdClient {
  readonly endpoints: readonly string[];
  readonly #channels: EtcdChannels;
  readonly #clock: Clock;
  readonly #openStream: OpenGrpcStream | undefined;

  constructor(
    channels: EtcdChannels,
    { endpoints, clock, openStream }: Pick<EtcdClientOptions, "endpoints" | "clock" | "openStream">,
  ) {
    this.endpoints = endpoints;
    this.#channels = channels;
    this.#clock = clock;
    this.#openStream = openStream;
  }

  // One member.

  async status(endpoint: string, options: CallOptions = {}): Promise<EtcdStatus> {
    return statusOf(
      await this.#channels.unary(endpoint, methods.status, {}, {
        ...options,
        readOnly: true,
        action: "ask the status",
      }),
    );
  }

  /** One answer within `timeoutMs` (default 1,000), also when there is none. */
  probe(
    endpoint: string,
    record: ProbeRecord,
    { timeoutMs = 1_000, signal }: CallOptions = {},
  ): Promise<EtcdProbeResult> {
    return probeEtcd(this, endpoint, { record, timeoutMs, signal, clock: this.#clock });
  }

  /** Resolves when the member has served one linearizable read: it runs, and there is a quorum. */
  async ready(endpoint: string, options: CallOptions = {}): Promise<void> {
    const request = rawRange("health", { keysOnly: true, limit: 1 });
    const call = { ...options, action: "read", requireLeader: true, readOnly: true };
    await this.#channels.unary(endpoint, methods.range, request, call);
  }

  /** Current as of the call, but for etcd 3.4, whose members answer from their own store. */
  async memberList(
    endpoint: string,
    { linearizable = true, ...options }: CallOptions & { linearizable?: boolean } = {},
  ): Promise<EtcdMemberInfo[]> {
    const call = { ...options, action: "list members", readOnly: true };
    return (await this.#channels.unary(endpoint, methods.memberList, { linearizable }, call)).members;
  }

  /** The hash of all keys up to a revision; members with the same `compactRevision` must have the same `hash`. */
  async hashKv(
    endpoint: string,
    revision: number,
    options: CallOptions = {},
  ): Promise<{ hash: number; compactRevision: number; revision: number }> {
    const call = { ...options, action: "hash the keys", readOnly: true };
    const { hash, compactRevision, header } = await this.#channels.unary(endpoint, methods.hashKv, { revision }, call);
    return { hash, compactRevision, revision: header?.revision ?? 0 };
  }

  /** Gives freed space back to the disk. The member serves nothing meanwhile. */
  async defragment(endpoint: string, options: CallOptions = {}): Promise<void> {
    const call = { timeoutMs: defragmentTimeoutMs, ...options, action: "defragment" };
    await this.#channels.unary(endpoint, methods.defragment, {}, call);
  }

  /** The member's database as a stream, read no faster than it is taken. See `openSnapshot`. */
  snapshot(endpoint: string, options: CallOptions = {}): Promise<SnapshotStream> {
    const open = this.#openStream;
    if (open === undefined || !/^https?:/.test(endpoint)) return openSnapshot(this.#channels, endpoint, options);
    return callSnapshot({ endpoint, open, tls: this.#channels.tls, clock: this.#clock }, options);
  }

  // Members of the cluster.

  /**
   * The id of the learner with this peer URL, added if it is not there. Throws E2dError `etcd_member_exists` when a
   * member of that URL has been started already.
   */
  addLearner(peerUrl: string, options: AnywhereOptions = {}): Promise<string> {
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      const present = await this.#unstarted(endpoint, peerUrl, options);
      if (present !== undefined) return present;
      const request = { peerUrls: [peerUrl], isLearner: true };
      try {
        const call = { ...options, action: `add learner "${peerUrl}"` };
        return (await this.#channels.unary(endpoint, methods.memberAdd, request, call)).member!.id;
      } catch (error) {
        if (!isE2dError(error, "etcd_member_exists")) throw error;
        // Another node was faster, or an earlier call of ours did it after all.
        const now = await this.#unstarted(endpoint, peerUrl, options);
        if (now !== undefined) return now;
        throw error;
      }
    });
  }

  /** Throws E2dError `etcd_not_ready_learner` while it lags behind the leader, and `etcd_member_not_found`. */
  promote(memberId: string, options: AnywhereOptions = {}): Promise<void> {
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      try {
        const call = { ...options, action: `promote member "${memberId}"` };
        await this.#channels.unary(endpoint, methods.memberPromote, { id: memberId }, call);
      } catch (error) {
        // It is a voter already.
        if (!isE2dError(error, "etcd_not_learner")) throw error;
      }
    });
  }

  remove(memberId: string, options: AnywhereOptions = {}): Promise<void> {
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      try {
        const call = { ...options, action: `remove member "${memberId}"` };
        await this.#channels.unary(endpoint, methods.memberRemove, { id: memberId }, call);
      } catch (error) {
        if (!isE2dError(error, "etcd_member_not_found")) throw error;
      }
    });
  }

  updateMember(memberId: string, peerUrls: readonly string[], options: AnywhereOptions = {}): Promise<void> {
    const call = { ...options, action: `change the peer URL of member "${memberId}"` };
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      await this.#channels.unary(endpoint, methods.memberUpdate, { id: memberId, peerUrls }, call);
    });
  }

  /** Asks the leader to hand over. Success when that member leads already. */
  async moveLeader(leaderEndpoint: string, toId: string, options: CallOptions = {}): Promise<void> {
    try {
      const call = { ...options, action: `move the leadership to member "${toId}"` };
      await this.#channels.unary(leaderEndpoint, methods.moveLeader, { targetId: toId }, call);
    } catch (error) {
      if (!isE2dError(error, "etcd_not_leader")) throw error;
      if ((await this.status(leaderEndpoint, options)).leaderId !== toId) throw error;
    }
  }

  /** Throws E2dError `etcd_unsupported` before 3.5 and `etcd_downgrade_refused`. */
  downgrade(
    action: "validate" | "enable" | "cancel",
    version: string,
    options: AnywhereOptions = {},
  ): Promise<{ clusterVersion: string }> {
    const request = { action: ["validate", "enable", "cancel"].indexOf(action), version };
    const call = { ...options, action: `${action} the downgrade to "${version}"` };
    return this.#anywhere(options, "once", async (endpoint) => {
      return { clusterVersion: (await this.#channels.unary(endpoint, methods.downgrade, request, call)).version };
    });
  }

  alarms(options: AnywhereOptions = {}): Promise<{ memberId: string; alarm: string }[]> {
    const call = { ...options, action: "list alarms", readOnly: true };
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      const { alarms } = await this.#channels.unary(endpoint, methods.alarm, { action: 0 }, call);
      return alarms.map(({ memberId, alarm }) => ({ memberId, alarm: alarmNames[alarm] ?? String(alarm) }));
    });
  }

  disarm(alarm: { memberId: string; alarm: string }, options: AnywhereOptions = {}): Promise<void> {
    const request = { action: 2, memberId: alarm.memberId, alarm: alarmNames.indexOf(alarm.alarm) };
    const call = { ...options, action: `disarm ${alarm.alarm} of member "${alarm.memberId}"` };
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      await this.#channels.unary(endpoint, methods.alarm, request, call);
    });
  }

  // Keys. Reads are linearizable unless told otherwise.

  async get(key: Data, options: AnywhereOptions = {}): Promise<KeyValue | undefined> {
    return (await this.range(key, {}, options)).kvs[0];
  }

  range(key: Data, range: RangeOptions = {}, options: AnywhereOptions = {}): Promise<RangeResult> {
    const call = { ...options, action: "read keys", readOnly: true };
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      return rangeResult(await this.#channels.unary(endpoint, methods.range, rawRange(key, range), call));
    });
  }

  put(
    key: Data,
    value: Data,
    { lease, ...options }: AnywhereOptions & { lease?: string } = {},
  ): Promise<{ revision: number }> {
    const request = { key: toBytes(key), value: toBytes(value), lease };
    return this.#anywhere(options, "once", async (endpoint) => {
      const { header } = await this.#channels.unary(endpoint, methods.put, request, {
        ...options,
        action: "put a key",
      });
      return { revision: header?.revision ?? 0 };
    });
  }

  delete(
    key: Data,
    { end, ...options }: AnywhereOptions & { end?: Data } = {},
  ): Promise<{ revision: number; deleted: number }> {
    const request = { key: toBytes(key), rangeEnd: end === undefined ? undefined : toBytes(end) };
    const call = { ...options, action: "delete keys" };
    return this.#anywhere(options, "once", async (endpoint) => {
      const { header, deleted } = await this.#channels.unary(endpoint, methods.deleteRange, request, call);
      return { revision: header?.revision ?? 0, deleted };
    });
  }

  /** Never made twice: when its outcome is unknown, that is what is thrown. */
  txn(
    txn: Txn,
    { requireLeader = false, ...options }: AnywhereOptions & { requireLeader?: boolean } = {},
  ): Promise<TxnResult> {
    const call = { ...options, requireLeader, action: "run a transaction" };
    return this.#anywhere(options, "once", async (endpoint) => {
      return txnResult(await this.#channels.unary(endpoint, methods.txn, rawTxn(txn), call));
    });
  }

  /** Forgets what was overwritten before `revision`. `physical` waits until it is gone from the asked member's disk. */
  compact(
    revision: number,
    { physical = false, ...options }: AnywhereOptions & { physical?: boolean } = {},
  ): Promise<void> {
    const call = { ...options, action: `compact to revision ${revision}` };
    return this.#anywhere(options, "once", async (endpoint) => {
      await this.#channels.unary(endpoint, methods.compact, { revision, physical }, call);
    });
  }

  // Leases.

  grant(ttlSeconds: number, options: AnywhereOptions = {}): Promise<{ id: string; ttlSeconds: number }> {
    return this.#anywhere(options, "once", async (endpoint) => {
      const call = { ...options, action: "grant a lease" };
      const { id, ttl } = await this.#channels.unary(endpoint, methods.leaseGrant, { ttl: ttlSeconds }, call);
      return { id, ttlSeconds: ttl };
    });
  }

  /** The seconds it has from now on. Throws E2dError `etcd_lease_not_found` when it is over. */
  keepAliveOnce(id: string, options: AnywhereOptions = {}): Promise<number> {
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      const call = { ...options, action: `keep lease "${id}"`, requireLeader: true };
      const { ttl } = await this.#channels.exchange(endpoint, methods.leaseKeepAlive, { id }, call);
      if (ttl > 0) return ttl;
      throw new E2dError("etcd_lease_not_found", `Cannot keep lease "${id}" at etcd "${endpoint}": it is over`);
    });
  }

  revoke(id: string, options: AnywhereOptions = {}): Promise<void> {
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      try {
        await this.#channels.unary(endpoint, methods.leaseRevoke, { id }, {
          ...options,
          action: `revoke lease "${id}"`,
        });
      } catch (error) {
        if (!isE2dError(error, "etcd_lease_not_found")) throw error;
      }
    });
  }

  // The client itself.

  /** After a renewal of certificates: calls from now on show the new ones, those under way end as they began. */
  useTls(tls: EtcdTls | undefined): void {
    this.#channels.useTls(tls);
  }

  close(): void {
    this.#channels.close();
  }

  /** The id of a member of this peer URL that was added and never started. */
  async #unstarted(endpoint: string, peerUrl: string, options: CallOptions): Promise<string | undefined> {
    const members = await this.memberList(endpoint, options);
    const present = members.find(({ peerUrls }) => peerUrls.includes(peerUrl));
    if (present === undefined || present.name === "") return present?.id;
    throw new E2dError(
      "etcd_member_exists",
      `Cannot add learner "${peerUrl}" at etcd "${endpoint}": member "${present.name}" (${present.id}) has that URL`,
      { hint: "remove that member first" },
    );
  }

  /**
   * Tries the endpoints in order. A call that must not be made twice goes on to the next one only when it certainly
   * never left this machine. Throws the failure that tells most: that of an endpoint that could be reached.
   */
  async #anywhere<T>(
    { via = this.endpoints }: AnywhereOptions,
    kind: "repeatable" | "once",
    call: (endpoint: string) => Promise<T>,
  ): Promise<T> {
    let failure: unknown;
    for (const endpoint of via) {
      try {
        return await call(endpoint);
      } catch (error) {
        if (failure === undefined || wasNeverSent(failure)) failure = error;
        if (!(kind === "repeatable" ? isTransient(error) : wasNeverSent(error))) throw error;
      }
    }
    throw failure ?? new E2dError("etcd_no_endpoint", "Cannot ask etcd: no endpoint was given");
  }
}

/** By their numbers on the wire. */
const alarmNames = ["NONE", "NOSPACE", "CORRUPT"];
