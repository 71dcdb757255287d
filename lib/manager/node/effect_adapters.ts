/** Joins the adapters of one node to the effect runner, and combines the inspection of the data-dir with etcd's last exit. */
import type { DataDir } from "../../core/facts/data_dir.ts";
import { exitCause } from "../../etcd/process/exit_cause.ts";
import type { AdminRequests } from "../admin_requests.ts";
import type { EtcdAdapter } from "../adapters/etcd_adapter.ts";
import { membershipContradiction, requireConsistentMembers } from "../data_dir/membership_contradiction.ts";
import type { EffectAdapters } from "../execute_effect.ts";
import type { DecisionLog } from "../status/decision_log.ts";
import type { System } from "../system.ts";
import type { Adapters } from "./adapters.ts";

export function effectAdapters(
  dataDir: string,
  system: System,
  { etcd, cluster, gossip, snapshots, settings, stops }: Adapters,
  { journal, admin }: { journal: DecisionLog; admin: AdminRequests },
): EffectAdapters {
  const { clock, files, log } = system;
  return {
    dataDir,
    clock,
    files,
    log,
    journal,
    inspectDataDir: async () => asEtcdSaw(await system.inspectDataDir(dataDir), etcd),
    etcd,
    cluster,
    gossip,
    snapshots,
    writeHold: (hold) => settings.setHold(hold),
    reply: (id, answer) => admin.reply(id, answer),
    keepPause: (mark) => void stops.keepPause(mark),
    upgradeEtcd: async (minor) => {
      const programs = await system.provideEtcd({ minor });
      requireConsistentMembers(await system.inspectDataDir(dataDir), programs.version);
      await etcd.change(programs);
    },
  };
}

/** Data that etcd refuses as corrupt is damaged, whatever the inspection of the files returned. */
function asEtcdSaw(data: DataDir, { lastExit, programs }: EtcdAdapter): DataDir {
  const contradiction = membershipContradiction(data, programs.version);
  if (contradiction !== undefined) {
    return { kind: "damaged", what: `${contradiction}: etcd ${programs.version} would reject them` };
  }
  if (data.kind !== "valid" || lastExit?.cause !== "data_corrupt") return data;
  const line = lastExit.tail.findLast((each) => exitCause([each]) === "data_corrupt") ?? "";
  return { kind: "damaged", what: `etcd refuses it: ${line.slice(0, 300)}` };
}
