/**
 * Etcd runs and this node does not serve yet, or not any more: wait for a leader, be promoted, give way to a newer
 * epoch, recover from a lost majority.
 */
import { beginCommit, found, withoutProposal } from "./carry_founding.ts";
import { decideFounding } from "./commit.ts";
import { ownLineage, supersedes } from "./lineage.ts";
import { quorumLost, selfQuorumLost, survivorWithoutUs } from "./quorum.ts";
import { rememberCluster } from "./remember.ts";
import { serve } from "./serve.ts";
import { runningCluster } from "./start.ts";
import type { Turn } from "./turn.ts";

/** Etcd runs and this node does not serve yet: wait for a leader, be promoted, check the record. */
export function accompany(turn: Turn): void {
  const { node, view } = turn;
  if (standDown(turn) || recover(turn)) return;
  if (node.etcd.kind !== "ready" || node.data.kind !== "valid" || node.leaderlessSinceMs !== undefined) {
    return turn.waitFor({ code: "etcd_starts", text: "etcd runs and has no leader yet" });
  }
  const { memberId, members } = node.data;
  const me = members.find((member) => member.id === memberId);
  if (me === undefined) return turn.waitFor({ code: "etcd_starts", text: "etcd does not list this member yet" });
  if (me.isLearner) {
    turn.enter("joining", { code: "is_learner", text: "this member is a learner" });
    const cluster = runningCluster(view);
    if (cluster !== undefined && !("contradiction" in cluster) && !node.settings.paused) {
      turn.ask("cluster", { kind: "memberPromote", via: cluster.via, memberId });
    }
    return turn.waitFor({ code: "catching_up", text: "the learner is catching up; then it is promoted" });
  }
  // Not later: a power cut may come as soon as clients have written.
  rememberCluster(turn);
  if (!me.peerUrls.includes(node.self.peerUrl)) correctAddress(turn, memberId);
  // The record of the cluster that the snapshot was taken from says nothing of this one.
  if (node.record.started?.how === "restored" && !node.cleared) {
    turn.ask("record", { kind: "clearVolatile", lineage: node.record.started.lineage });
    return turn.waitFor({
      code: "clearing_volatile",
      text: "clearing what belonged to the cluster before the restore",
    });
  }
  if (!node.recordChecked) {
    turn.ask("record", { kind: "checkRecord", requiredSize: node.settings.requiredSize });
    return turn.waitFor({ code: "record_check", text: "comparing -n with the cluster's record" });
  }
  node.progress = {};
  node.added = undefined;
  turn.status("running");
  turn.enter("serving", { code: "etcd_ready", text: "etcd is ready and this member votes" });
  serve(turn);
}

/**
 * This member was started at another address while there was no quorum to tell. Etcd carries its messages over the
 * connections that it opens itself; now the others can be told.
 */
function correctAddress(turn: Turn, memberId: string): void {
  const { node } = turn;
  const deed = { kind: "memberUpdate", via: [node.self.clientUrl], memberId, peerUrl: node.self.peerUrl } as const;
  if (turn.ask("cluster", deed)) {
    turn.decide("updateAddress", { code: "address_changed", text: `this member is at ${node.self.peerUrl} now` });
  }
}

/** A newer epoch among the peers ends an older one that has no quorum. True when it was ended. */
export function standDown(turn: Turn): boolean {
  const { node, view } = turn;
  const own = ownLineage(view);
  if (own === undefined) return false;
  const here = view.peers.filter((peer) => peer.state === "alive" || peer.state === "suspect");
  const newer = here.find((peer) => peer.facts?.data.kind === "held" && supersedes(peer.facts.data.lineage, own));
  const left = here.find((peer) => peer.facts?.renounced.includes(own.token));
  const proof = newer ?? left;
  if (proof === undefined) return unlisted(turn);
  if (node.leaderlessSinceMs === undefined && node.etcd.kind === "ready") {
    turn.waitFor({
      code: "two_epochs",
      text: `this cluster has a quorum, and "${proof.name}" holds a newer epoch of it: a human must choose`,
      hint: "stop the side that is to be given up; its data-dirs are moved aside, not removed",
    }, "error");
    return false;
  }
  if (turn.ask("local", { kind: "stopEtcd" })) {
    turn.decide("stopEtcd", { code: "newer_epoch", text: `"${proof.name}" holds a newer epoch than this node` });
  }
  return true;
}

/** Etcd runs without a leader while the cluster has one and does not list this member: it was removed meanwhile. */
function unlisted(turn: Turn): boolean {
  const { node, view, now } = turn;
  if (node.leaderlessSinceMs === undefined || now.monotonicMs - node.leaderlessSinceMs < unlistedAfterMs) return false;
  if (node.data.kind !== "valid") return false;
  const { memberId, clusterId } = node.data;
  const cluster = runningCluster(view);
  if (cluster !== undefined && !("contradiction" in cluster)) {
    if (cluster.answer.clusterId !== clusterId) {
      turn.waitFor({
        code: "other_cluster",
        text:
          `this node's data is of cluster ${clusterId}, which has no quorum; the peers run ${cluster.answer.clusterId}`,
        hint: "point this node at its own cluster, or stop it and move its data-dir aside by hand",
      }, "warn");
      return true;
    }
    if (cluster.answer.members.some((member) => member.id === memberId)) return false;
  } else if (survivorWithoutUs(view) === undefined) return false;
  if (turn.ask("local", { kind: "stopEtcd" })) {
    turn.decide("stopEtcd", { code: "removed_member", text: "the cluster does not list this member any more" });
  }
  return true;
}

const unlistedAfterMs = 3_000;

/** Etcd runs without a leader: when the quorum counts as lost, take part in founding anew from what survives. */
export function recover(turn: Turn): boolean {
  const { node, view } = turn;
  const pledge = node.record.pledges.at(-1);
  const own = ownLineage(view);
  if (pledge !== undefined && pledge.token !== own?.token) {
    const step = decideFounding(view, node.progress);
    if (step.kind === "commit") {
      beginCommit(turn, step.pledge, step.reason);
      return true;
    }
  }
  if (!selfQuorumLost(view) || quorumLost(view) === undefined) {
    withoutProposal(turn);
    return false;
  }
  found(turn);
  return true;
}
