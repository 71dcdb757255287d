/** What the core asks of the cluster, through etcd's API. Each call is bounded in time by the client. */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock } from "../ports.ts";
import type { Plan } from "../core/plan.ts";
import type { AskedMember, MemberHash } from "../core/replace_corrupt.ts";
import type { EtcdProbe, Lineage } from "../core/view.ts";
import type { EtcdClient } from "../etcd/client.ts";
import { type Operation, prefixEnd } from "../etcd/client_kv.ts";
import { makeRoom } from "./make_room.ts";
import { encodeClusterRecord, encodeClusterTable } from "../gossip/cluster_record.ts";
import {
  decodePlan,
  encodeFormerSizes,
  encodePlan,
  formerSizesKey,
  markerKey,
  pausedKey,
  planKey,
  readSizes,
  recordKey,
  recordKeys,
  restoredKey,
  restoredText,
  tableKey,
  volatilePrefix,
} from "./cluster_keys.ts";

export interface ClusterSide {
  /** Within a second, whatever happens. */
  probe(endpoint: string): Promise<EtcdProbe>;
  /** True when the own etcd answers and knows a leader. */
  hasLeader(): Promise<boolean>;
  addMember(via: readonly string[], peerUrl: string): Promise<string>;
  removeMember(via: readonly string[], memberId: string): Promise<void>;
  promoteMember(via: readonly string[], memberId: string): Promise<void>;
  updateMember(via: readonly string[], memberId: string, peerUrl: string): Promise<void>;
  moveLeader(to: string): Promise<void>;
  defragment(endpoint: string): Promise<void>;
  allowDowngrade(to: string): Promise<void>;
  /** What takes the most space, in words. Throws E2dError `no_room` when the databases are still full. */
  makeRoom(endpoints: readonly string[]): Promise<string>;
  /** Those that answer within a minute. */
  hashMembers(members: readonly AskedMember[], revision: number): Promise<readonly MemberHash[]>;
  disarmCorrupt(memberId: string): Promise<void>;
  checkRecord(requiredSize: number): Promise<{ size: number; formerSizes: readonly number[] }>;
  changeRecord(from: number, to: number): Promise<void>;
  readPlan(): Promise<{ plan: Plan | undefined; paused: boolean }>;
  writePlan(plan: Plan | undefined): Promise<void>;
  setPaused(paused: boolean): Promise<void>;
  clearVolatile(lineage: Lineage): Promise<void>;
  compareHashes(endpoints: readonly string[]): Promise<{ equal: boolean; detail: string }>;
}

const probeTimeoutMs = 1_000;
const hashTimeoutMs = 60_000;
const record = { keys: recordKeys, read: readSizes };
/** The one row of the original's table. */
const recordId = 1;

export class EtcdCluster implements ClusterSide {
  readonly #client: EtcdClient;
  readonly #own: string;
  readonly #clock: Clock;
  readonly #quotaBytes: number | undefined;
  /** Where the plan that was last read or written stands: its next writing is held against it. */
  #planRevision = 0;

  constructor(
    client: EtcdClient,
    { clientUrl, clock, quotaBytes }: { clientUrl: string; clock: Clock; quotaBytes?: number | undefined },
  ) {
    this.#quotaBytes = quotaBytes;
    this.#client = client;
    this.#own = clientUrl;
    this.#clock = clock;
  }

  probe(endpoint: string): Promise<EtcdProbe> {
    return this.#client.probe(endpoint, record, { timeoutMs: probeTimeoutMs });
  }

  async hasLeader(): Promise<boolean> {
    try {
      return (await this.#client.status(this.#own, { timeoutMs: probeTimeoutMs })).leaderId !== undefined;
    } catch {
      return false;
    }
  }

  addMember(via: readonly string[], peerUrl: string): Promise<string> {
    return this.#client.addLearner(peerUrl, { via });
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

  moveLeader(to: string): Promise<void> {
    return this.#client.moveLeader(this.#own, to);
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
      // The leader before this one has asked for it.
      if (!isE2dError(error, "etcd_downgrade_refused") || !/in progress|in process/i.test(describeError(error))) {
        throw error;
      }
    }
  }

  makeRoom(endpoints: readonly string[]): Promise<string> {
    return makeRoom(this.#client, { own: this.#own, endpoints, quotaBytes: this.#quotaBytes });
  }

  async hashMembers(members: readonly AskedMember[], revision: number): Promise<readonly MemberHash[]> {
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
    return this.#client.disarm({ memberId, alarm: "CORRUPT" }, { via: [this.#own] });
  }

  async checkRecord(requiredSize: number): Promise<{ size: number; formerSizes: readonly number[] }> {
    // Looked at first: under an alarm etcd refuses what might write, and a node that starts then must serve all the same.
    const present = await this.#sizes();
    if (present.recordedSize !== undefined) return { size: present.recordedSize, formerSizes: present.formerSizes };
    // Both in one transaction with both absent: a Go node does the same under a lock, and either one comes first.
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
      throw new E2dError("record_gone", `Cannot read key "${recordKey}": it went away after it was written`);
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
        `Cannot change the cluster's size from ${from} to ${to}: it is ${recordedSize}`,
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
      throw new E2dError("record_changed", `Cannot change the cluster's size to ${to}: somebody else changes it, too`);
    }
  }

  async readPlan(): Promise<{ plan: Plan | undefined; paused: boolean }> {
    const { ranges } = await this.#client.txn({
      compare: [],
      success: [planKey, pausedKey].map((key) => ({ kind: "range", key })),
    });
    const [plan, paused] = ranges.map((range) => range?.kvs[0]);
    this.#planRevision = plan?.modRevision ?? 0;
    return { plan: plan === undefined ? undefined : decodePlan(plan.value), paused: paused !== undefined };
  }

  async setPaused(paused: boolean): Promise<void> {
    if (paused) await this.#client.put(pausedKey, new Date(this.#clock.wallMs()).toISOString());
    else await this.#client.delete(pausedKey);
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
    // The next write goes by what the core has read: were the revision noted here, it would overwrite that plan.
    if (!succeeded) {
      throw new E2dError("plan_changed", "Cannot write the plan: another node has written one meanwhile");
    }
    this.#planRevision = plan === undefined ? 0 : revision;
  }

  async clearVolatile(lineage: Lineage): Promise<void> {
    const time = new Date(this.#clock.wallMs()).toISOString().replace(/\.\d+Z$/, "Z");
    // etcd refuses a transaction that deletes a range and puts a key inside of it, so the ranges end around the two.
    const kept = [restoredKey, markerKey].sort();
    const starts = [volatilePrefix, ...kept.map((key) => `${key}\0`)];
    const clear = starts.map((key, at): Operation => ({
      kind: "delete",
      key,
      end: kept[at] ?? prefixEnd(volatilePrefix),
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

  async compareHashes(endpoints: readonly string[]): Promise<{ equal: boolean; detail: string }> {
    const { revision } = await this.#client.status(endpoints[0]!);
    const hashes = await Promise.all(
      endpoints.map(async (endpoint) => ({ endpoint, ...await this.#client.hashKv(endpoint, revision) })),
    );
    const texts = hashes.map(({ endpoint, hash, compactRevision }) => `${endpoint} ${hash}@${compactRevision}`);
    if (new Set(hashes.map(({ compactRevision }) => compactRevision)).size > 1) {
      throw new E2dError("hashes_incomparable", `Cannot compare the members' hashes: ${texts.join(", ")}`, {
        hint: "a compaction is on its way to all of them; it is tried again",
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
