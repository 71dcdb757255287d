/** Which lineage a node's data belongs to, and which of two data-dirs is the newer. */
import { goClusterToken } from "./effect.ts";
import type { Lineage, NodeRecord, PeerFacts, View } from "./view.ts";

/** Data that e2d's own record says nothing of (the original's, or an adopted etcd): its cluster id, epoch 0. */
export function lineageOfData(clusterId: string, record: NodeRecord): Lineage {
  const lineage = record.started?.lineage;
  // Founded the original's way: the id could not be known before etcd made it.
  if (lineage === undefined || lineage.id === "") return { id: clusterId, epoch: 0, token: goClusterToken };
  return lineage;
}

/** The own lineage, as far as it is known: of valid data, or of an etcd that runs. */
export function ownLineage(view: View): Lineage | undefined {
  if (view.data.kind === "valid") return lineageOfData(view.data.clusterId, view.record);
  return view.record.started?.lineage;
}

/** True when `other` descends from the same founding and was rebuilt after `own`. */
export function supersedes(other: Lineage, own: Lineage): boolean {
  return other.id === own.id && other.epoch > own.epoch;
}

/** The lineage that peers report for a running cluster; for a cluster of Go nodes its id at epoch 0. */
export function lineageOfCluster(clusterId: string, facts: readonly PeerFacts[]): Lineage {
  for (const { data } of facts) {
    if (data.kind === "held" && data.clusterId === clusterId) return data.lineage;
  }
  return { id: clusterId, epoch: 0, token: goClusterToken };
}

/** What is begun anew has nothing to do with the data that was lost. */
export function withoutLost({ lost: _, ...record }: NodeRecord): NodeRecord {
  return record;
}
