/**
 * Adapter between the core and the cluster: probes, member changes and e2d's keys through etcd's API. The client bounds
 * each call in time. It decides nothing; a concurrent change of a key fails the call.
 */
import { describeError, E2dError, isE2dError } from "../../errors.ts";
import type { Clock, Http } from "../../ports.ts";
import type { EtcdClient } from "../../etcd/client/client.ts";
import { type Operation, prefixRangeEnd } from "../../etcd/client/kv.ts";
import { reclaimSpace } from "./reclaim_space.ts";
import { ProbeDeadlines, probeTimeoutMaxMs, probeTimeoutMinMs } from "./probe_deadline.ts";
import { fetchRaftPeers } from "../../etcd/client/raft_peers.ts";
import { encodeClusterRecord, encodeClusterTable } from "../cluster_record.ts";
import {
  decodeLineage,
  decodePause,
  decodePlan,
  encodeFormerSizes,
  encodeLineage,
  encodePause,
  encodePlan,
  formerSizesKey,
  lineageKey,
  markerKey,
  pausedKey,
  planKey,
  readRecorded,
  readSizes,
  recordKey,
  recordKeys,
  restoredKey,
  restoredText,
  tableKey,
  volatilePrefix,
} from "./cluster_keys.ts";
import type { Plan } from "../../core/facts/plan.ts";
import type { EtcdProbe, MemberEndpoint, MemberHash, RaftProbe } from "../../core/facts/cluster.ts";
import type { Lineage } from "../../core/facts/node_record.ts";

export interface ClusterAdapter {
  /** Never rejects. Resolves within 4 s, or within 1 s for another node's endpoint that does not answer. */
  probe(endpoint: string): Promise<EtcdProbe>;
  /** Never rejects. Resolves within 4 s. */
  probeRaft(endpoint: string): Promise<RaftProbe>;
  /** True when the own etcd answers and knows a leader. */
  hasLeader(): Promise<boolean>;
  /** Adds a learner; returns its member id. Throws E2dError `members_changed` when the members' ids differ from `beside`. */
  addMember(via: readonly string[], peerUrl: string, beside: readonly string[]): Promise<string>;
  removeMember(via: readonly string[], memberId: string): Promise<void>;
  promoteMember(via: readonly string[], memberId: string): Promise<void>;
  updateMember(via: readonly string[], memberId: string, peerUrl: string): Promise<void>;
  /** `via`: the leader's client URL; default: the own etcd, which must lead. */
  moveLeader(to: string, via?: string): Promise<void>;
  defragment(endpoint: string): Promise<void>;
  allowDowngrade(to: string): Promise<void>;
  /** Returns a text about what takes the most space. Throws E2dError `space_not_reclaimed` when a database is still full. */
  reclaimSpace(endpoints: readonly string[]): Promise<string>;
  /** The hashes of the members that answer within 60 s. */
  hashMembers(members: readonly MemberEndpoint[], revision: number): Promise<readonly MemberHash[]>;
  disarmCorrupt(memberId: string): Promise<void>;
  checkRecord(requiredSize: number): Promise<{ size: number; formerSizes: readonly number[] }>;
  changeRecord(from: number, to: number): Promise<void>;
  readPlan(): Promise<Plan | undefined>;
  writePlan(plan: Plan | undefined): Promise<void>;
  /** Throws E2dError `pause_changed` when another node changes it concurrently, and what the client throws. */
  setPaused(paused: boolean): Promise<void>;
  clearVolatile(lineage: Lineage): Promise<void>;
  writeLineage(clusterId: string, lineage: Lineage): Promise<void>;
  compareHashes(endpoints: readonly string[]): Promise<{ equal: boolean; detail: string }>;
}

const hashTimeoutMs = 60_000;
const record = { keys: recordKeys, read: readRecorded };
/** The id of the only row in the Go original's table. */
const recordId = 1;

export interface ClusterOptions {
  /** Client URL of the own etcd. */
  readonly clientUrl: string;
  readonly clock: Clock;
  readonly quotaBytes?: number | undefined;
  /** Opens HTTP to etcd's metrics with this node's present client certificate; closed after each request. */
  readonly openHttp: () => Promise<{ http: Http; close(): void }>;
}

export class EtcdCluster implements ClusterAdapter {
  readonly #client: EtcdClient;
  readonly #own: string;
  readonly #clock: Clock;
  readonly #quotaBytes: number | undefined;
  readonly #deadlines: ProbeDeadlines;
  readonly #openHttp: ClusterOptions["openHttp"];
  /** Mod revision of the plan that was last read or written; the next write compares against it. */
  #planRevision = 0;

  constructor(
    client: EtcdClient,
    { clientUrl, clock, quotaBytes, openHttp }: ClusterOptions,
  ) {
    this.#openHttp = openHttp;
    this.#quotaBytes = quotaBytes;
    this.#client = client;
    this.#own = clientUrl;
    this.#deadlines = new ProbeDeadlines(clientUrl);
    this.#clock = clock;
  }

  async probe(endpoint: string): Promise<EtcdProbe> {
    const startedMs = this.#clock.monotonicMs();
    const timeoutMs = this.#deadlines.timeoutMs(endpoint);
    const probe = await this.#client.probe(endpoint, record, { timeoutMs });
    this.#deadlines.note(endpoint, probe, this.#clock.monotonicMs() - startedMs);
    return probe;
  }

  async probeRaft(endpoint: string): Promise<RaftProbe> {
    const overdue = new AbortController();
    const asked = new AbortController();
    void this.#clock.sleep(probeTimeoutMaxMs, asked.signal).then(() => overdue.abort(), () => {});
    try {
      const { http, close } = await this.#openHttp();
      try {
        return { kind: "answer", ...await fetchRaftPeers(endpoint, http, overdue.signal) };
      } finally {
        close();
      }
    } catch (error) {
      return { kind: "unreachable", code: isE2dError(error) ? error.code : "unexpected" };
    } finally {
      asked.abort();
    }
  }

  async hasLeader(): Promise<boolean> {
    try {
      return (await this.#client.status(this.#own, { timeoutMs: probeTimeoutMinMs })).leaderId !== undefined;
    } catch {
      return false;
    }
  }

  addMember(via: readonly string[], peerUrl: string, beside: readonly string[]): Promise<string> {
    return this.#client.addLearner(peerUrl, { via, beside });
  }

  removeMember(via: readonly string[], memberId: string): Promise<void> {
    return this.#client.remove(memberId, { via });
  }

  promoteMember(via: readonly string[], memberId: string): Promise<void> {
    return this.#client.promote(memberId, { via });
  }

  updateMember(via: readonly string[], memberId: string, peerUrl: string): Promise<void> {
    return this.#client.updateMember(memberId, [peerUrl], { via });
  }

  moveLeader(to: string, via = this.#own): Promise<void> {
    return this.#client.moveLeader(via, to);
  }

  defragment(endpoint: string): Promise<void> {
    return this.#client.defragment(endpoint);
  }

  async allowDowngrade(to: string): Promise<void> {
    const via = { via: [this.#own] };
    try {
      await this.#client.downgrade("validate", to, via);
      await this.#client.downgrade("enable", to, via);
    } catch (error) {
      // A former leader has already enabled it.
      if (!isE2dError(error, "etcd_downgrade_refused") || !/in progress|in process/i.test(describeError(error))) {
        throw error;
      }
    }
  }

  reclaimSpace(endpoints: readonly string[]): Promise<string> {
    return reclaimSpace(this.#client, { own: this.#own, endpoints, quotaBytes: this.#quotaBytes });
  }

  async hashMembers(members: readonly MemberEndpoint[], revision: number): Promise<readonly MemberHash[]> {
    const hashes = await Promise.all(members.map(async ({ memberId, endpoint }): Promise<MemberHash[]> => {
      try {
        const { hash, compactRevision } = await this.#client.hashKv(endpoint, revision, { timeoutMs: hashTimeoutMs });
        return [{ memberId, hash, compactRevision }];
      } catch (error) {
        if (isE2dError(error)) return [];
        throw error;
      }
    }));
    return hashes.flat();
  }

  disarmCorrupt(memberId: string): Promise<void> {
    return this.#client.disarm({ memberId, type: "CORRUPT" }, { via: [this.#own] });
  }

  async checkRecord(requiredSize: number): Promise<{ size: number; formerSizes: readonly number[] }> {
    // Read first: under the alarm NOSPACE etcd refuses transactions that may write, and a node must start then, too.
    const present = await this.#sizes();
    if (present.recordedSize !== undefined) return { size: present.recordedSize, formerSizes: present.formerSizes };
    // Both keys in one transaction: a Go node writes both under a lock, so whichever comes first wins as a whole.
    await this.#client.txn({
      compare: [{ key: recordKey, target: "createRevision", result: "=", value: 0 }],
      success: [
        {
          kind: "put",
          key: recordKey,
          value: encodeClusterRecord({ id: recordId, createdMs: this.#clock.wallMs(), requiredSize }),
        },
        { kind: "put", key: tableKey, value: encodeClusterTable() },
      ],
    });
    const { recordedSize, formerSizes } = await this.#sizes();
    if (recordedSize === undefined) {
      throw new E2dError("record_gone", `Cannot read key "${recordKey}": it was deleted after it was written`);
    }
    return { size: recordedSize, formerSizes };
  }

  async changeRecord(from: number, to: number): Promise<void> {
    const kv = await this.#client.get(recordKey);
    const { recordedSize, formerSizes } = await this.#sizes();
    if (recordedSize === to) return;
    if (kv === undefined || recordedSize !== from) {
      throw new E2dError(
        "record_changed",
        `Cannot change the cluster's size from ${from} to ${to}: the record has ${recordedSize}`,
      );
    }
    const { succeeded } = await this.#client.txn({
      compare: [{ key: recordKey, target: "modRevision", result: "=", value: kv.modRevision }],
      success: [
        {
          kind: "put",
          key: recordKey,
          value: encodeClusterRecord({ id: recordId, createdMs: this.#clock.wallMs(), requiredSize: to }),
        },
        {
          kind: "put",
          key: formerSizesKey,
          value: encodeFormerSizes([...new Set([...formerSizes, from])].filter((size) => size !== to)),
        },
      ],
    });
    if (!succeeded) {
      throw new E2dError(
        "record_changed",
        `Cannot change the cluster's size to ${to}: another node changes it concurrently`,
      );
    }
  }

  async readPlan(): Promise<Plan | undefined> {
    const plan = await this.#client.get(planKey);
    this.#planRevision = plan?.modRevision ?? 0;
    return plan === undefined ? undefined : decodePlan(plan.value);
  }

  async setPaused(paused: boolean): Promise<void> {
    const { clusterId } = await this.#client.status(this.#own);
    const kv = await this.#client.get(pausedKey);
    const before = decodePause(clusterId, kv?.value);
    if (before.paused === paused) return;
    // The key stays after a resume: its version shows a node that its own mark is outdated.
    const compare = [{ key: pausedKey, target: "modRevision", result: "=", value: kv?.modRevision ?? 0 }] as const;
    const value = encodePause({ clusterId, paused, version: before.version + 1 });
    const { succeeded } = await this.#client.txn({ compare, success: [{ kind: "put", key: pausedKey, value }] })
      .catch((error) => {
        // Under NOSPACE etcd refuses a put but accepts a delete. A pause that cannot end would keep the database full.
        if (paused || !isE2dError(error, "etcd_nospace")) throw error;
        return this.#client.txn({ compare, success: [{ kind: "delete", key: pausedKey }] });
      });
    if (!succeeded) {
      throw new E2dError("pause_changed", "Cannot change the pause: another node changes it concurrently", {
        hint: "check e2d status, then run the command again",
      });
    }
  }

  async writePlan(plan: Plan | undefined): Promise<void> {
    const { succeeded, revision } = await this.#client.txn({
      compare: [{ key: planKey, target: "modRevision", result: "=", value: this.#planRevision }],
      success: [
        plan === undefined ? { kind: "delete", key: planKey } : {
          kind: "put",
          key: planKey,
          value: encodePlan(plan),
        },
      ],
    });
    // The revision is not updated here: the next write would overwrite a plan that the core has not read.
    if (!succeeded) {
      throw new E2dError("plan_changed", "Cannot write the plan: another node has written one in the meantime");
    }
    this.#planRevision = plan === undefined ? 0 : revision;
  }

  async clearVolatile(lineage: Lineage): Promise<void> {
    const time = new Date(this.#clock.wallMs()).toISOString().replace(/\.\d+Z$/, "Z");
    // etcd refuses a transaction that deletes a range and puts a key inside it, so the ranges exclude the two keys.
    const kept = [restoredKey, markerKey].sort();
    const starts = [volatilePrefix, ...kept.map((key) => `${key}\0`)];
    const clear = starts.map((key, at): Operation => ({
      kind: "delete",
      key,
      end: kept[at] ?? prefixRangeEnd(volatilePrefix),
    }));
    await this.#client.txn({
      compare: [{ key: restoredKey, target: "value", result: "=", value: restoredText(lineage) }],
      success: [],
      failure: [
        ...clear,
        { kind: "put", key: restoredKey, value: restoredText(lineage) },
        { kind: "put", key: markerKey, value: time },
      ],
    });
  }

  async writeLineage(clusterId: string, lineage: Lineage): Promise<void> {
    const kv = await this.#client.get(lineageKey);
    // A cluster keeps its first lineage. A lineage that a restored snapshot contains has another cluster id, and is replaced.
    if (decodeLineage(clusterId, kv?.value) !== "absent") return;
    await this.#client.txn({
      compare: [{ key: lineageKey, target: "modRevision", result: "=", value: kv?.modRevision ?? 0 }],
      success: [{ kind: "put", key: lineageKey, value: encodeLineage(clusterId, lineage) }],
    });
  }

  async compareHashes(endpoints: readonly string[]): Promise<{ equal: boolean; detail: string }> {
    const { revision } = await this.#client.status(endpoints[0]!);
    const hashes = await Promise.all(
      endpoints.map(async (endpoint) => ({ endpoint, ...await this.#client.hashKv(endpoint, revision) })),
    );
    const texts = hashes.map(({ endpoint, hash, compactRevision }) => `${endpoint} ${hash}@${compactRevision}`);
    if (new Set(hashes.map(({ compactRevision }) => compactRevision)).size > 1) {
      throw new E2dError("hashes_incomparable", `Cannot compare the members' hashes: ${texts.join(", ")}`, {
        hint: "a compaction has not reached all members yet; the comparison is retried",
      });
    }
    return { equal: new Set(hashes.map(({ hash }) => hash)).size <= 1, detail: texts.join(", ") };
  }

  async #sizes(): Promise<{ recordedSize?: number; formerSizes: readonly number[] }> {
    const { ranges } = await this.#client.txn({
      compare: [],
      success: recordKeys.map((key) => ({ kind: "range", key })),
    });
    return readSizes(ranges.map((range) => range?.kvs[0]?.value));
  }
}
