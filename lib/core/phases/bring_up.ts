/**
 * From a started etcd to a serving node: wait for a leader, be promoted, yield to a newer epoch, take part in a disaster
 * recovery.
 */
import { advanceBootstrap, beginCommit, clearProposal } from "./bootstrap.ts";
import { decideBootstrap } from "../rules/bootstrap/commit.ts";
import { correctAddress } from "./correct_address.ts";
import {
  challenger,
  endLifeDigest,
  isApproved,
  judgeRival,
  lifeChoices,
  type RivalLife,
  rivalLife,
  withChoices,
} from "../evidence/order.ts";
import { ownLineage } from "../evidence/lineage.ts";
import { freshAnswer } from "../evidence/members.ts";
import { readOwnLog } from "../watch/log_terms.ts";
import { rememberCluster, rememberUndecided } from "../watch/node_record.ts";
import { reclaimSpace, serve } from "./serve.ts";
import { reportStoredLife } from "../watch/stored_life.ts";
import { stopOfChange } from "../rules/stops.ts";
import type { View } from "../facts/view.ts";
import { leaderlessReason } from "./no_leader.ts";
import { movedEntry, runsElsewhere } from "../rules/start/address_change.ts";
import { renouncedFor } from "../rules/start/restart.ts";
import { isPresent } from "../facts/peer.ts";
import { quorumLost, selfQuorumLost, survivorWithoutUs } from "../rules/quorum_loss.ts";
import { leads, runningCluster } from "../evidence/running_cluster.ts";
import type { Turn } from "../state/turn.ts";
import type { Lineage } from "../facts/node_record.ts";

/** etcd runs and this node does not serve yet: waits for a leader and the promotion, and compares the cluster record. */
export function bringUp(turn: Turn): void {
  const { node, view } = turn;
  if (stopCopy(turn) || yieldToNewerEpoch(turn) || recover(turn)) return;
  if (stopWrongMember(turn)) return;
  correctAddress(turn);
  if (
    node.ownEtcd.etcd.kind !== "ready" || node.disk.data.kind !== "valid" ||
    node.ownEtcd.leaderlessSinceMs !== undefined
  ) {
    const { reason, level } = leaderlessReason(turn);
    const starts = { code: "etcd_starts", text: "etcd is running and has no leader yet" };
    const late = ["no_quorum", "etcd_apart", "members_unusable", "two_epochs"].includes(reason.code);
    return turn.waitFor(late ? reason : starts, late ? level : "info");
  }
  const { memberId, members } = node.disk.data;
  const me = members.find((member) => member.id === memberId);
  if (me === undefined) return turn.waitFor({ code: "etcd_starts", text: "etcd does not list this member yet" });
  if (me.isLearner) {
    turn.enter("joining", { code: "is_learner", text: "this member is a learner" });
    const cluster = runningCluster(view, node.disk.data.clusterId);
    const stop = stopOfChange(view);
    if (stop !== undefined) return turn.waitFor(stop);
    if (cluster !== undefined && !("contradiction" in cluster)) {
      turn.request("cluster", { kind: "memberPromote", via: cluster.via, memberId });
    }
    return turn.waitFor({ code: "catching_up", text: "the learner is catching up; then it is promoted" });
  }
  // Before the first write of a client: a power failure may follow at any time.
  rememberCluster(turn);
  // The snapshot contains the cluster record of the former cluster, which does not apply to this one.
  if (node.disk.record.started?.how === "restored" && !node.bootstrap.volatileKeysCleared) {
    // The snapshot of a full database contains its alarm NOSPACE: etcd rejects the transaction until space is reclaimed.
    const own = freshAnswer(view.endpoints.get(node.self.clientUrl), view.nowMs);
    if (own !== undefined && leads(own) && stopOfChange(view, own) === undefined && reclaimSpace(turn, own)) return;
    turn.request("record", { kind: "clearVolatile", lineage: node.disk.record.started.lineage });
    return turn.waitFor({
      code: "clearing_volatile",
      text: "deleting the volatile keys of the cluster before the restore",
    });
  }
  if (!node.membership.clusterRecordVerified) {
    turn.request("record", { kind: "checkRecord", requiredSize: node.settings.requiredSize });
    return turn.waitFor({ code: "record_check", text: "comparing -n with the cluster record" });
  }
  node.bootstrap.progress = {};
  node.membership.added = undefined;
  turn.setStatus("running");
  turn.enter("serving", { code: "etcd_ready", text: "etcd is ready and this member votes" });
  serve(turn);
}

/**
 * Stops an etcd without a leader at an unregistered address if its member is seen elsewhere: the one at the registered
 * address stands. With a leader it stays: a quorum works with this etcd, and an operator must find the other one.
 */
function stopCopy(turn: Turn): boolean {
  const { node, view } = turn;
  if (node.ownEtcd.leaderlessSinceMs === undefined || node.disk.data.kind !== "valid") return false;
  const moved = movedEntry(view, node.disk.data);
  const elsewhere = moved && runsElsewhere(view, moved, undefined);
  if (elsewhere?.reason.code !== "member_runs_twice") return false;
  if (turn.request("local", { kind: "stopEtcd" })) turn.recordDecision("stopEtcd", elsewhere.reason, {}, "warn");
  return true;
}

/**
 * Stops an etcd that did not take the member id under which this node was added: a member that lags gave it the id of a
 * removed one. The running cluster does not list that id, and the data is quarantined as that of a removed member.
 */
function stopWrongMember(turn: Turn): boolean {
  const { membership: { added }, disk: { data } } = turn.node;
  if (added === undefined || data.kind !== "valid" || data.memberId === added) return false;
  const text = `this node was added as member ${added}, and its etcd took the id ${data.memberId} of an earlier member`;
  if (turn.request("local", { kind: "stopEtcd" })) turn.recordDecision("stopEtcd", { code: "removed_member", text });
  return true;
}

/**
 * Compares the own life with another life of the own lineage. True if the own etcd is stopped for it, or the node waits for
 * the decision between the two.
 */
export function yieldToNewerEpoch(turn: Turn): boolean {
  const { node, view } = turn;
  reportOtherLives(turn);
  if (node.disk.data.kind !== "valid") return false;
  // The own life has a quorum: no evidence outranks it.
  if (node.ownEtcd.leaderlessSinceMs === undefined && node.ownEtcd.etcd.kind === "ready") return false;
  const verdict = judgeRival(view, node.disk.data);
  switch (verdict.kind) {
    case "alone":
      return unlisted(turn);
    case "stands":
      return false;
    case "waits":
      turn.waitFor(verdict.reason, verdict.level);
      if (verdict.reason.code === "two_epochs") rememberUndecided(turn);
      return true;
    case "yields":
      if (turn.request("local", { kind: "stopEtcd" })) turn.recordDecision("stopEtcd", verdict.reason);
      return true;
    default:
      return verdict satisfies never;
  }
}

/** Updates the reports of another life among the peers and in the store. */
function reportOtherLives(turn: Turn): void {
  const { node, view } = turn;
  const own = ownLineage(view);
  const rival = own === undefined ? undefined : otherLife(view, own);
  if (rival === undefined || own === undefined) turn.resolve("two_epochs");
  else {
    const text =
      `"${rival.holder}" holds another life of this cluster (epoch ${rival.lineage.epoch}, this node epoch ` +
      `${own.epoch}): an operator must choose`;
    const hint = "stop the side that is to be discarded; its data-dirs are quarantined, not deleted";
    const reason = withChoices({ code: "two_epochs", text }, lifeChoices(own, rival.lineage), hint);
    // The only life that serves stays in service, and so does the one that an operator chose.
    const keepsReady = !rival.living || isApproved(view, endLifeDigest(rival.lineage, own));
    turn.report("error", reason, { keepsReady });
    const stands = node.phase === "serving" && node.ownEtcd.leaderlessSinceMs === undefined;
    if (stands && rival.lineage.epoch > own.epoch && node.disk.record.rival?.token !== rival.lineage.token) {
      turn.request("local", { kind: "writeRecord", record: { ...node.disk.record, rival: rival.lineage } });
    }
  }
  reportStoredLife(turn);
}

/** Another life of the own lineage: of a newer epoch, or another restore of the same epoch. */
function otherLife(view: View, own: Lineage): RivalLife | undefined {
  const newer = rivalLife(view, own);
  if (newer !== undefined && (newer.living || newer.holder !== view.self.name)) return newer;
  return challenger(view, own);
}

/**
 * Stops an etcd without a leader if the running cluster does not list this member any more, or if its initial members left
 * its bootstrap for another one: this node may have started before it heard of either.
 */
function unlisted(turn: Turn): boolean {
  const { node, view, now } = turn;
  if (
    node.ownEtcd.leaderlessSinceMs === undefined || now.monotonicMs - node.ownEtcd.leaderlessSinceMs < unlistedAfterMs
  ) return false;
  if (node.disk.data.kind !== "valid") return false;
  const { memberId, clusterId } = node.disk.data;
  const cluster = runningCluster(view, clusterId);
  if (cluster === undefined || "contradiction" in cluster) {
    const renounced = renouncedFor(view, node.disk.data, ownLineage(view)!, view.peers.filter(isPresent));
    if (renounced === undefined) return false;
    if (turn.request("local", { kind: "stopEtcd" })) turn.recordDecision("stopEtcd", renounced.reason);
    return true;
  }
  if (cluster.answer.members.some((member) => member.id === memberId)) return false;
  const reason = { code: "removed_member", text: "this member was removed from the cluster" };
  if (turn.request("local", { kind: "stopEtcd" })) turn.recordDecision("stopEtcd", reason);
  return true;
}

const unlistedAfterMs = 3_000;

/** etcd runs without a leader: if the quorum counts as lost, takes part in a disaster recovery from a survivor. */
export function recover(turn: Turn): boolean {
  const { node, view } = turn;
  const pledge = node.disk.record.pledges.at(-1);
  const own = ownLineage(view);
  // A life that has a leader again is not ended by a pledge from the time when it had none.
  if (pledge !== undefined && pledge.token !== own?.token && node.ownEtcd.leaderlessSinceMs !== undefined) {
    const step = decideBootstrap(view, node.bootstrap.progress);
    if (step.kind === "commit") {
      beginCommit(turn, step.pledge, step.reason);
      return true;
    }
  }
  if (node.ownEtcd.leaderlessSinceMs !== undefined) readLogEnd(turn);
  const takesPart = selfQuorumLost(view) || survivorWithoutUs(view) !== undefined;
  if (!takesPart || quorumLost(view) === undefined) {
    clearProposal(turn);
    return false;
  }
  advanceBootstrap(turn);
  return true;
}

const readLogEveryMs = 5_000;

/** The end of the own raft log decides between survivors: it is read from the disk before the quorum loss is published. */
function readLogEnd(turn: Turn): void {
  const { node, now } = turn;
  if (node.disk.logReadMs !== undefined && now.monotonicMs - node.disk.logReadMs < readLogEveryMs) return;
  node.disk.logReadMs = now.monotonicMs;
  readOwnLog(turn);
}
