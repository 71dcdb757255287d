/**
 * e2d's own client of etcd: each call goes to one named endpoint, with its own deadline. An idempotent call succeeds when
 * the requested state exists already. A call that may have changed something is never repeated. Errors are E2dError with
 * the codes of errors.ts and the endpoint in the message, or the signal's reason.
 */
import { E2dError, isE2dError } from "../../errors.ts";
import type { EtcdAlarm, EtcdMember, EtcdStatus } from "../../facts/etcd.ts";
import type { Clock, DirectGet, OpenGrpcStream } from "../../ports.ts";
import { type CallOptions, type EtcdCalls, EtcdChannels, type EtcdTls } from "./channel.ts";
import { isTransient, wasNeverSent } from "./errors.ts";
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
} from "./kv.ts";
import { methods } from "./messages.ts";
import { clusterVersionIn } from "./cluster_version.ts";
import { type EtcdProbeResult, probeEtcd, type ProbeRecord } from "./probe.ts";
import { openSnapshot, type SnapshotStream } from "./snapshot.ts";
import { statusOf } from "./status.ts";
import { callSnapshot } from "./snapshot_call.ts";

export interface EtcdClientOptions {
  /** Client URLs that calls without `via` are made to, in this order. */
  readonly endpoints: readonly string[];
  /** For https endpoints. */
  readonly tls?: EtcdTls | undefined;
  readonly clock: Clock;
  /** Default 5,000. */
  readonly callTimeoutMs?: number;
  /** Transfers snapshots faster than grpc-js, which is used without it. */
  readonly openStream?: OpenGrpcStream | undefined;
  /** For the cluster version, which gRPC does not return; without it, the version stays unknown. */
  readonly get?: DirectGet | undefined;
}

/** For calls that any endpoint can serve. */
export interface AnywhereOptions extends CallOptions {
  /** Client URLs to try in order, each for `timeoutMs`. Default: those of the client. */
  readonly via?: readonly string[] | undefined;
}

/** Loads gRPC and connects at the first call. On Deno, `enableGrpcTls()` of lib/sys must have run. */
export async function openEtcd(options: EtcdClientOptions): Promise<EtcdClient> {
  const { default: grpc } = await import("@grpc/grpc-js");
  return new EtcdClient(
    new EtcdChannels(grpc, { clock: options.clock, callTimeoutMs: options.callTimeoutMs ?? 5_000, tls: options.tls }),
    options,
  );
}

/** Cached this long: the cluster version changes with an upgrade only. */
const clusterVersionCacheMs = 2_000;

/** Defragmenting 8 GiB takes half a minute, on slow disks many times as long. */
const defragmentTimeoutMs = 600_000;

export class EtcdClient {
  readonly endpoints: readonly string[];
  readonly #channels: EtcdCalls;
  readonly #clock: Clock;
  readonly #openStream: OpenGrpcStream | undefined;
  readonly #get: DirectGet | undefined;
  readonly #clusterVersions = new Map<string, { readonly atMs: number; readonly version: string | undefined }>();

  constructor(
    channels: EtcdCalls,
    { endpoints, clock, openStream, get }: Pick<EtcdClientOptions, "endpoints" | "clock" | "openStream" | "get">,
  ) {
    this.#get = get;
    this.endpoints = endpoints;
    this.#channels = channels;
    this.#clock = clock;
    this.#openStream = openStream;
  }

  // Calls to one member.

  async status(endpoint: string, options: CallOptions = {}): Promise<EtcdStatus> {
    return statusOf(
      await this.#channels.unary(endpoint, methods.status, {}, {
        ...options,
        readOnly: true,
        action: "read the status",
      }),
    );
  }

  /** Resolves within `timeoutMs` (default 1,000), also for an unreachable member. See `probeEtcd`. */
  probe(
    endpoint: string,
    record: ProbeRecord,
    { timeoutMs = 1_000, signal }: CallOptions = {},
  ): Promise<EtcdProbeResult> {
    return probeEtcd(this, endpoint, { record, timeoutMs, signal, clock: this.#clock });
  }

  /** Resolves when the member has served a linearizable read: it runs, and there is a quorum. */
  async ready(endpoint: string, options: CallOptions = {}): Promise<void> {
    const request = rawRange("health", { keysOnly: true, limit: 1 });
    const call = { ...options, action: "read", requireLeader: true, readOnly: true };
    await this.#channels.unary(endpoint, methods.range, request, call);
  }

  /** By a linearizable read: not lower than any revision that was committed before the call. */
  async currentRevision(endpoint: string, options: CallOptions = {}): Promise<number> {
    const request = rawRange("health", { keysOnly: true, limit: 1 });
    const call = { ...options, action: "read the revision", requireLeader: true, readOnly: true };
    return (await this.#channels.unary(endpoint, methods.range, request, call)).header?.revision ?? 0;
  }

  /** Linearizable, except on etcd 3.4, whose members answer from their own store. */
  async memberList(
    endpoint: string,
    { linearizable = true, ...options }: CallOptions & { linearizable?: boolean } = {},
  ): Promise<EtcdMember[]> {
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

  /** Returns reclaimable space to the file system. The member serves nothing meanwhile. Default time-out: 10 minutes. */
  async defragment(endpoint: string, options: CallOptions = {}): Promise<void> {
    const call = { timeoutMs: defragmentTimeoutMs, ...options, action: "defragment" };
    await this.#channels.unary(endpoint, methods.defragment, {}, call);
  }

  /** The member's database as a stream with backpressure. See `openSnapshot`. */
  snapshot(endpoint: string, options: CallOptions = {}): Promise<SnapshotStream> {
    const open = this.#openStream;
    if (open === undefined || !/^https?:/.test(endpoint)) return openSnapshot(this.#channels, endpoint, options);
    return callSnapshot({ endpoint, open, tls: this.#channels.tls, clock: this.#clock }, options);
  }

  // Membership.

  /**
   * The id of the learner with this peer URL, which is added unless it exists. With `beside`, only if the members are
   * exactly these. Throws E2dError `members_changed`, or `etcd_member_exists` when a started member has that URL.
   */
  addLearner(peerUrl: string, options: AnywhereOptions & { beside?: readonly string[] } = {}): Promise<string> {
    const { beside } = options;
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      const { id: present, members } = await this.#unstarted(endpoint, peerUrl, options);
      if (present !== undefined) return present;
      // etcd admits one learner at a time, so only a caller that was suspended during a whole join gets here.
      if (beside !== undefined && members.map(({ id }) => id).sort().join() !== [...beside].sort().join()) {
        throw new E2dError("members_changed", `Cannot add learner "${peerUrl}": the member list has changed`);
      }
      const request = { peerUrls: [peerUrl], isLearner: true };
      try {
        const call = { ...options, action: `add learner "${peerUrl}"` };
        return (await this.#channels.unary(endpoint, methods.memberAdd, request, call)).member!.id;
      } catch (error) {
        if (!isE2dError(error, "etcd_member_exists")) throw error;
        // Another node added it meanwhile, or an earlier call of this node succeeded after its time-out.
        const { id: now } = await this.#unstarted(endpoint, peerUrl, options);
        if (now !== undefined) return now;
        throw error;
      }
    });
  }

  /** Throws E2dError `etcd_not_ready_learner` while the learner lags behind the leader, or `etcd_member_not_found`. */
  promote(memberId: string, options: AnywhereOptions = {}): Promise<void> {
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      try {
        const call = { ...options, action: `promote member "${memberId}"` };
        await this.#channels.unary(endpoint, methods.memberPromote, { id: memberId }, call);
      } catch (error) {
        // The member is a voter already.
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

  /** Succeeds when that member leads already. */
  async moveLeader(leaderEndpoint: string, toId: string, options: CallOptions = {}): Promise<void> {
    try {
      const call = { ...options, action: `move the leadership to member "${toId}"` };
      await this.#channels.unary(leaderEndpoint, methods.moveLeader, { targetId: toId }, call);
    } catch (error) {
      if (!isE2dError(error, "etcd_not_leader")) throw error;
      if ((await this.status(leaderEndpoint, options)).leaderId !== toId) throw error;
    }
  }

  /** Throws E2dError `etcd_unsupported` (before 3.5) or `etcd_downgrade_refused`. */
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

  alarms(options: AnywhereOptions = {}): Promise<EtcdAlarm[]> {
    const call = { ...options, action: "list alarms", readOnly: true };
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      const { alarms } = await this.#channels.unary(endpoint, methods.alarm, { action: 0 }, call);
      return alarms.map(({ memberId, alarm }) => ({ memberId, type: alarmTypes[alarm] ?? String(alarm) }));
    });
  }

  disarm({ memberId, type }: EtcdAlarm, options: AnywhereOptions = {}): Promise<void> {
    const request = { action: 2, memberId, alarm: alarmTypes.indexOf(type) };
    const call = { ...options, action: `disarm ${type} of member "${memberId}"` };
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      await this.#channels.unary(endpoint, methods.alarm, request, call);
    });
  }

  // Keys. Reads are linearizable by default.

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

  /** Sent at most once: an unknown outcome is an error. */
  txn(
    txn: Txn,
    { requireLeader = false, ...options }: AnywhereOptions & { requireLeader?: boolean } = {},
  ): Promise<TxnResult> {
    const call = { ...options, requireLeader, action: "run a transaction" };
    return this.#anywhere(options, "once", async (endpoint) => {
      return txnResult(await this.#channels.unary(endpoint, methods.txn, rawTxn(txn), call));
    });
  }

  /** Discards history before `revision`. `physical` waits until the member has removed it from its database. */
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

  /** The remaining seconds. Throws E2dError `etcd_lease_not_found` when the lease has expired. */
  keepAliveOnce(id: string, options: AnywhereOptions = {}): Promise<number> {
    return this.#anywhere(options, "repeatable", async (endpoint) => {
      const call = { ...options, action: `keep lease "${id}"`, requireLeader: true };
      const { ttl } = await this.#channels.exchange(endpoint, methods.leaseKeepAlive, { id }, call);
      if (ttl > 0) return ttl;
      throw new E2dError("etcd_lease_not_found", `Cannot keep lease "${id}" at etcd "${endpoint}": it has expired`);
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

  /**
   * The cluster version as this member has applied it, "3.6.0"; undefined while the cluster has none, and when the member
   * does not answer. May be two seconds old. Throws only the signal's reason.
   */
  async clusterVersion(endpoint: string, { timeoutMs = 1_000, signal }: CallOptions = {}): Promise<string | undefined> {
    if (this.#get === undefined) return undefined;
    const nowMs = this.#clock.monotonicMs();
    const known = this.#clusterVersions.get(endpoint);
    if (known !== undefined && nowMs - known.atMs < clusterVersionCacheMs) return known.version;
    let version: string | undefined;
    try {
      const body = await this.#get(`${endpoint}/version`, this.#channels.tls, { timeoutMs, signal });
      version = clusterVersionIn(body);
    } catch {
      signal?.throwIfAborted();
      this.#clusterVersions.delete(endpoint);
      return undefined;
    }
    this.#clusterVersions.set(endpoint, { atMs: nowMs, version });
    return version;
  }

  // Connections.

  /** After a renewal of certificates: for future calls; those in flight keep their connection. */
  useTls(tls: EtcdTls | undefined): void {
    this.#channels.useTls(tls);
  }

  close(): void {
    this.#channels.close();
  }

  /** The members, and the id of the member with this peer URL if it was added but never started. */
  async #unstarted(
    endpoint: string,
    peerUrl: string,
    options: CallOptions,
  ): Promise<{ members: readonly EtcdMember[]; id: string | undefined }> {
    const members = await this.memberList(endpoint, options);
    const present = members.find(({ peerUrls }) => peerUrls.includes(peerUrl));
    if (present === undefined || present.name === "") return { members, id: present?.id };
    throw new E2dError(
      "etcd_member_exists",
      `Cannot add learner "${peerUrl}" at etcd "${endpoint}": member "${present.name}" (${present.id}) has that URL`,
      { hint: "remove that member first" },
    );
  }

  /**
   * Tries the endpoints in order. A call of kind `once` is tried at the next endpoint only if it never left this machine.
   * Throws the failure of the first endpoint that could be reached, or else the first failure.
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
    throw failure ?? new E2dError("etcd_no_endpoint", "Cannot call etcd: no endpoint is configured");
  }
}

/** By their numbers in the API. */
const alarmTypes = ["NONE", "NOSPACE", "CORRUPT"];
