/**
 * The decision table: what a node without a running etcd does next, from what it sees. One outcome, with its reason.
 * Never guesses: whatever is unknown, unreadable or contradictory is waited for, for ever.
 */
import { decideDamaged, decideDamagedNewer } from "./doubtful_data.ts";
import { namedCluster, ownCluster, twoClusters } from "../../evidence/foreign_peers.ts";
import { lineageOfCluster } from "../../evidence/lineage.ts";
import { nameConflictReason } from "../../evidence/name_conflict.ts";
import type { View } from "../../facts/view.ts";
import type { EtcdAnswer } from "../../facts/cluster.ts";
import { problem, refuseData, type StartOutcome, wait } from "./outcome.ts";
import { runningCluster } from "../../evidence/running_cluster.ts";
import { decideRestart } from "./restart.ts";

/** How long a joiner waits for the store's answer: a store that stalls must not keep a member out. */
const askStoreMs = 15_000;

export function decideStart(view: View): StartOutcome {
  const { data } = view;
  if (data.kind === "unknown") return wait("inspecting", "looking at the own data-dir");
  if (data.kind === "unreadable") {
    if (!view.settings.gossip) return refuseData("data_unreadable", `cannot be read: ${data.why}`);
    return wait(
      "data_unreadable",
      `the data-dir cannot be read (${data.why}), and what cannot be read is never taken for empty`,
      "mend the disk or the permissions, or move the data-dir aside by hand",
    );
  }
  const cluster = runningCluster(view, data.kind === "valid" ? data.clusterId : undefined);
  if (cluster !== undefined && "contradiction" in cluster) {
    return wait("two_clusters", `the peers run two clusters: ${cluster.contradiction}`, "stop one of the two");
  }
  const otherSize = cluster === undefined ? undefined : otherSizeRecorded(view, cluster.answer);
  if (otherSize !== undefined) return otherSize;
  const foreign = cluster === undefined || data.kind === "valid" ? undefined : foreignCluster(view, cluster.answer);
  if (foreign !== undefined) return foreign;
  if (data.kind === "damaged") {
    if (!view.settings.gossip) return refuseData("data_damaged", `is damaged: ${data.what}`);
    if (cluster === undefined) return decideDamaged(view, data);
    const newer = decideDamagedNewer(view, data, lineageOfCluster(cluster.answer, view));
    if (newer !== undefined) return newer;
    return {
      kind: "quarantine",
      label: "damaged",
      reason: {
        code: "data_damaged",
        text: `the data-dir is damaged (${data.what}); the running cluster has the data`,
      },
    };
  }
  if (data.kind === "valid") return decideRestart(view, data, cluster);
  const two = ownCluster(view) === undefined ? twoClusters(view) : undefined;
  if (two !== undefined) return { kind: "wait", reason: two };
  if (cluster !== undefined) {
    return { kind: "join", cluster, reason: { code: "cluster_runs", text: "a running cluster was found" } };
  }
  const running = view.peers.filter((peer) => peer.state === "alive" && peer.status === "running");
  if (running.length > 0) {
    return wait(
      "running_peer_silent",
      `"${running[0]!.name}" says that its etcd runs, but no member answers with a quorum`,
    );
  }
  if (view.settings.gossip && view.gossipJoinedAtMs === undefined && view.settings.requiredSize > 1) {
    const asked = view.settings.seeds.filter((seed) => seed !== view.self.gossipAddr).join(", ");
    return wait(
      "no_peer_answers",
      `no other node has answered by gossip yet${asked === "" ? "; no address of one is known" : `: asked ${asked}`}`,
    );
  }
  const [named] = view.nameConflicts;
  if (named !== undefined) return { kind: "wait", level: "error", reason: nameConflictReason(named) };
  return { kind: "bootstrap", reason: { code: "no_data_anywhere", text: "nobody who can be reached holds data" } };
}

/** `-n` contradicts the size that the cluster's record has, and was not one of its former sizes. */
function otherSizeRecorded(view: View, { recordedSize, formerSizes }: EtcdAnswer): StartOutcome | undefined {
  const size = view.settings.requiredSize;
  if (recordedSize === undefined || recordedSize === size || formerSizes.includes(size)) return undefined;
  return {
    kind: "refuse",
    reason: {
      code: "size_contradicts_record",
      text: `-n ${size} contradicts the cluster's record, which says ${recordedSize}`,
      hint: `start this node with -n ${recordedSize}, or change the cluster with "e2d scale"`,
    },
  };
}

/**
 * Why the cluster that the peers run is not the one to join: this node's record, or the store that it was given, is of
 * another lineage. Unknown on either side is no difference.
 */
function foreignCluster(view: View, answer: EtcdAnswer): StartOutcome | undefined {
  const { record, settings, snapshotLookup } = view;
  // An operator gave the former cluster up.
  if (settings.newCluster !== undefined && settings.newCluster !== record.seen?.newCluster) return undefined;
  const theirs = lineageOfCluster(answer, view);
  if (theirs === undefined) {
    return wait("lineage_unknown", "waiting for the peers to publish which lineage the cluster has");
  }
  if (theirs.epoch === 0) return undefined;
  // What was only seen is less than what the whole bootstrap list names.
  const seen = namedCluster({ ...view, known: view.peers }) === undefined ? record.seen?.lineageId : undefined;
  const lived = [seen, record.lost?.lineage.id].find((id) => id !== undefined);
  if (record.seen?.clusterId !== answer.clusterId && lived !== undefined && lived !== theirs.id) {
    return problem(
      "other_cluster",
      `the peers run cluster ${answer.clusterId}, and this node's record is of another cluster, ${lived}`,
      "take the addresses of the other cluster out of --bootstrap-addrs, or pass --new-cluster NAME to give the former one up",
    );
  }
  if (!settings.snapshots) return undefined;
  if (snapshotLookup.kind === "unknown" && view.nowMs - view.bootedAtMs < askStoreMs) {
    return wait("snapshot_unknown", "asking the store which lineage its snapshots have");
  }
  const stored = snapshotLookup.kind === "newest"
    ? [snapshotLookup.lineage, ...snapshotLookup.lives?.map(({ lineage }) => lineage) ?? []]
    : [];
  const others = stored.every((lineage) => lineage !== undefined && lineage.epoch > 0 && lineage.id !== theirs.id);
  if (stored.length === 0 || !others || theirs.name !== undefined) return undefined;
  return problem(
    "other_lineage_stored",
    `the peers run cluster ${answer.clusterId}, and the snapshots in this node's store are of another cluster`,
    "give this node the addresses and the --snapshot-backup-url of one cluster; to join the running one, change the URL",
  );
}
