/** How each effect with an id is carried out through the adapters. Nothing here retries, or starts another effect. */
import { E2dError } from "../errors.ts";
import type { Clock, Files, Logger } from "../ports.ts";
import type { AnsweredEffect } from "../core/facts/effect.ts";
import type { DoneValue } from "../core/facts/event.ts";
import type { ClusterAdapter } from "./adapters/cluster_adapter.ts";
import type { EtcdAdapter } from "./adapters/etcd_adapter.ts";
import type { GossipAdapter } from "./adapters/gossip_adapter.ts";
import type { DecisionLog } from "./status/decision_log.ts";
import { quarantineDataDir } from "./data_dir/quarantine.ts";
import { writeRecord } from "./data_dir/node_record.ts";
import type { SnapshotAdapter } from "./adapters/snapshot_adapter.ts";
import type { DataDir } from "../core/facts/data_dir.ts";
import type { CommandAnswer } from "../core/facts/command.ts";
import type { Hold } from "../core/facts/settings.ts";
import type { PauseMark } from "../core/facts/node_record.ts";

export interface EffectAdapters {
  readonly dataDir: string;
  readonly clock: Clock;
  readonly files: Files;
  readonly log: Logger;
  readonly journal: DecisionLog;
  readonly inspectDataDir: () => Promise<DataDir>;
  readonly etcd: EtcdAdapter;
  readonly cluster: ClusterAdapter;
  /** Undefined for a single node, which runs no gossip. */
  readonly gossip: GossipAdapter | undefined;
  readonly snapshots: SnapshotAdapter;
  /** Persists the newest pause of the cluster that this node knows. */
  readonly keepPause: (mark: PauseMark) => void;
  /** The hold is on disk when it resolves. */
  readonly writeHold: (hold: Hold | undefined) => Promise<void>;
  /** Sends the answer to an operator's command. */
  readonly reply: (id: string, answer: CommandAnswer) => void;
  /** Installs the newest etcd of this minor version, and restarts the own etcd with it. */
  readonly upgradeEtcd: (minor: string) => Promise<void>;
}

type EffectOf<K extends AnsweredEffect["kind"]> = Extract<AnsweredEffect, { kind: K }>;

/** By the kind of effect; an effect whose handler resolves to nothing is done without a value. */
type Handlers = {
  readonly [K in AnsweredEffect["kind"]]: (
    effect: EffectOf<K>,
    adapters: EffectAdapters,
  ) => Promise<DoneValue | void>;
};

/** Throws an E2dError with the code of the failure. */
export async function execute<K extends AnsweredEffect["kind"]>(
  effect: EffectOf<K> & { readonly kind: K },
  adapters: EffectAdapters,
): Promise<DoneValue> {
  return await handlers[effect.kind](effect, adapters) ?? { kind: "nothing" };
}

const handlers: Handlers = {
  // On this machine.
  writeRecord: ({ record }, { files, dataDir }) => writeRecord(files, dataDir, record),
  quarantineData: async (effect, { etcd, files, dataDir, clock, log }) => {
    // A running etcd would keep writing to the renamed data-dir.
    if (etcd.running) throw new E2dError("etcd_running", `Cannot quarantine "${dataDir}": etcd runs on it`);
    const to = await quarantineDataDir(files, dataDir, { ...effect, wallMs: clock.wallMs() });
    if (to !== undefined) {
      log.warn("quarantined the data-dir: it was renamed, nothing was deleted", { dataDir, to });
    }
  },
  startEtcd: ({ start }, { etcd }) => etcd.start(start),
  provideEtcd: async ({ range }, { etcd }) => {
    await etcd.requireWithin(range);
    return { kind: "etcdProvided", version: etcd.programs.version };
  },
  stopEtcd: ({ withinMs }, { etcd }) => etcd.stop(withinMs),
  upgradeEtcd: ({ to }, { upgradeEtcd }) => upgradeEtcd(to),
  writeHold: ({ hold }, { writeHold }) => writeHold(hold),

  // Snapshots and sources of data.
  prepareSource: async ({ plan, from }, { snapshots }) => ({
    kind: "sourceVerified",
    hash: await snapshots.prepareSource(plan, from),
  }),
  exportSurvivor: async ({ plan }, { snapshots }) => ({ kind: "exported", ...await snapshots.exportSurvivor(plan) }),
  restoreData: ({ plan }, { snapshots }) => snapshots.restoreData(plan),
  takeSnapshot: async (effect, { snapshots }) => ({ kind: "snapshotTaken", ...await snapshots.take(effect) }),

  // Members of the cluster.
  memberAdd: async ({ via, peerUrl, beside }, { cluster }) => ({
    kind: "memberAdded",
    memberId: await cluster.addMember(via, peerUrl, beside),
  }),
  memberRemove: ({ via, memberId }, { cluster }) => cluster.removeMember(via, memberId),
  memberPromote: ({ via, memberId }, { cluster }) => cluster.promoteMember(via, memberId),
  memberUpdate: ({ via, memberId, peerUrl }, { cluster }) => cluster.updateMember(via, memberId, peerUrl),
  moveLeader: ({ to, via }, { cluster }) => cluster.moveLeader(to, via),
  defragment: ({ endpoint }, { cluster }) => cluster.defragment(endpoint),
  allowDowngrade: ({ to }, { cluster }) => cluster.allowDowngrade(to),
  reclaimSpace: async ({ endpoints }, { cluster }) => ({
    kind: "spaceReclaimed",
    detail: await cluster.reclaimSpace(endpoints),
  }),
  hashMembers: async ({ members, revision }, { cluster }) => ({
    kind: "membersHashed",
    hashes: await cluster.hashMembers(members, revision),
  }),
  disarmCorrupt: ({ memberId }, { cluster }) => cluster.disarmCorrupt(memberId),
  compareHashes: async ({ endpoints }, { cluster }) => ({
    kind: "hashesCompared",
    ...await cluster.compareHashes(endpoints),
  }),

  // Keys of e2d in etcd.
  checkRecord: async ({ requiredSize }, { cluster }) => ({
    kind: "recordChecked",
    ...await cluster.checkRecord(requiredSize),
  }),
  changeRecord: ({ from, to }, { cluster }) => cluster.changeRecord(from, to),
  writePlan: ({ plan }, { cluster }) => cluster.writePlan(plan),
  clearVolatile: ({ lineage }, { cluster }) => cluster.clearVolatile(lineage),
  writePause: ({ paused }, { cluster }) => cluster.setPaused(paused),
  writeLineage: ({ clusterId, lineage }, { cluster }) => cluster.writeLineage(clusterId, lineage),
};
