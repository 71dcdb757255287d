/**
 * The decisions of each phase: calls the rules that apply and requests the effects of their outcome. Every branch uses the
 * whole view again, so that a lost answer or a crash at any point leads to the same decision.
 */
import { bringUp, recover, yieldToNewerEpoch } from "./bring_up.ts";
import { advanceBootstrap, beginCommit, clearProposal, endKeptPledge, executeCommit } from "./bootstrap.ts";
import { decideBootstrap } from "../rules/bootstrap/commit.ts";
import { correctAddress } from "./correct_address.ts";
import type { InitialMember } from "../facts/effect.ts";
import { explainSilence } from "../rules/gossip_keys.ts";
import { rangeToJoin, rangeToRestart } from "../rules/etcd_range.ts";
import { beginAnew, lineageOfCluster, lostData } from "../evidence/lineage.ts";
import { scheduleProbes } from "../watch/probes.ts";
import { rememberCluster, rememberUndecided } from "../watch/node_record.ts";
import { serve } from "./serve.ts";
import { decideStart } from "../rules/start/start.ts";
import type { StartOutcome } from "../rules/start/outcome.ts";
import { stopOfBootstrap, stopOfChange } from "../rules/stops.ts";
import { isWithin, rangeText } from "../facts/etcd_range.ts";
import { reportNameConflict } from "../watch/name_conflicts.ts";
import { decideJoin, type JoinStep } from "../rules/start/join.ts";
import { type RunningCluster, runningCluster, settleMs } from "../evidence/running_cluster.ts";
import type { Turn } from "../state/turn.ts";
import type { Reason } from "../facts/reason.ts";

export function decide(turn: Turn): void {
  const { node } = turn;
  reportNameConflict(turn);
  switch (node.phase) {
    case "booting":
      scheduleProbes(turn);
      if (node.disk.data.kind === "unknown") return;
      turn.enter("gathering", { code: "data_inspected", text: `the data-dir is ${node.disk.data.kind}` });
      return gather(turn);
    case "gathering":
    case "joining":
    case "bootstrapping":
    case "restoring":
    case "restarting":
      scheduleProbes(turn);
      if (node.bootstrap.committing !== undefined) return executeCommit(turn, node.bootstrap.committing);
      return node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready" ? bringUp(turn) : gather(turn);
    case "serving":
      scheduleProbes(turn);
      if (node.ownEtcd.etcd.kind !== "starting" && node.ownEtcd.etcd.kind !== "ready") {
        turn.setStatus("unknown");
        turn.enter("gathering", { code: "etcd_gone", text: "etcd has stopped" });
        return gather(turn);
      }
      rememberCluster(turn);
      if (yieldToNewerEpoch(turn) || recover(turn)) return;
      correctAddress(turn);
      return serve(turn);
    case "leaving":
      return leave(turn);
    case "stopped":
    case "failed":
      return;
    default:
      return node.phase satisfies never;
  }
}

/** etcd does not run: decides between waiting, quarantine, restart, joining and bootstrap. */
function gather(turn: Turn): void {
  const { node, view } = turn;
  if (node.effects.inFlight.has("local")) return;
  const none = node.disk.data.kind === "absent" || node.disk.data.kind === "empty";
  if (none && !node.disk.recordPersisted) {
    // Pledges of other nodes may contain this node's nonce: it must be on disk before.
    turn.request("local", { kind: "writeRecord", record: node.disk.record });
    return;
  }
  // A pledge that all other initial members have made is carried out, unless the life of the own data has a quorum.
  const own = node.disk.data.kind === "valid" ? node.disk.data.clusterId : lostData(node.disk.record)?.clusterId;
  const lives = own !== undefined && runningCluster(view, own) !== undefined;
  if (
    node.disk.record.pledges.length > 0 && !lives && node.disk.data.kind !== "unknown" &&
    node.disk.data.kind !== "unreadable"
  ) {
    const step = decideBootstrap(view, node.bootstrap.progress);
    if (step.kind === "commit") return beginCommit(turn, step.pledge, step.reason);
  }
  const outcome = decideStart(view);
  if (
    node.phase === "joining" && turn.probesJustInvalidated && (outcome.kind === "wait" || outcome.kind === "bootstrap")
  ) {
    return;
  }
  carryOut(turn, outcome);
}

function carryOut(turn: Turn, outcome: StartOutcome): void {
  const { node, view } = turn;
  switch (outcome.kind) {
    case "wait":
      return waitGathering(turn, outcome);
    case "refuse":
      node.process.ending = { code: 1, reason: outcome.reason };
      turn.enter("leaving", outcome.reason);
      return leave(turn);
    case "quarantine":
      clearProposal(turn);
      if (turn.request("local", { kind: "quarantineData", label: outcome.label, keepRecord: false })) {
        turn.recordDecision("quarantine", outcome.reason, {}, "warn");
      }
      return;
    case "updateAddress": {
      const stop = stopOfChange(view);
      if (stop !== undefined) return turn.waitFor(stop);
      if (
        turn.request("cluster", {
          kind: "memberUpdate",
          via: outcome.via,
          memberId: outcome.memberId,
          peerUrl: outcome.peerUrl,
        })
      ) turn.recordDecision("updateAddress", outcome.reason);
      return;
    }
    case "restart": {
      clearProposal(turn);
      const range = node.disk.data.kind === "valid" ? rangeToRestart(node.disk.data, view) : {};
      if (range === undefined) return turn.waitFor(askingVersions);
      if (endKeptPledge(turn)) return;
      const { othersServe } = outcome;
      if (!turn.request("local", { kind: "startEtcd", start: { state: "restart", othersServe, range } })) return;
      turn.setStatus(legacyPeersWait(turn) ? "pending" : "unknown");
      turn.enter("restarting", outcome.reason);
      return;
    }
    case "join":
      return join(turn, outcome.cluster, outcome.reason);
    case "bootstrap":
      if (node.phase !== "gathering") turn.enter("gathering", outcome.reason);
      return advanceBootstrap(turn);
    default:
      return outcome satisfies never;
  }
}

function waitGathering(turn: Turn, outcome: Extract<StartOutcome, { kind: "wait" }>): void {
  const { node, view } = turn;
  if (node.phase !== "gathering") turn.enter("gathering", outcome.reason);
  clearProposal(turn);
  turn.setStatus(legacyPeersWait(turn) ? "pending" : "unknown");
  turn.waitFor(
    outcome.reason.code === "recovery_pending"
      ? stopOfBootstrap(view) ?? outcome.reason
      : explainSilence(outcome.reason, view),
    outcome.level,
  );
  if (outcome.reason.code === "two_epochs") rememberUndecided(turn);
  if (outcome.reason.code === "recovery_pending" || outcome.reason.code === "asking_peers") {
    turn.wakeIn(settleMs);
    if (outcome.reason.code === "recovery_pending") recoverWithoutEtcd(turn);
  }
}

const askingVersions: Reason = {
  code: "etcd_needed",
  text: "asking the members for their versions of etcd, which decide the version that this node may run",
};

/** Legacy peers with data start only if enough nodes have the status "pending", including nodes with data. */
function legacyPeersWait(turn: Turn): boolean {
  const go = turn.node.gossip.peers.filter((peer) => peer.isLegacy && peer.state === "alive");
  return go.length > 0 && turn.node.disk.data.kind === "valid" && go.every((peer) => peer.status !== "running");
}

function join(turn: Turn, cluster: RunningCluster, reason: Reason): void {
  const { node, view } = turn;
  clearProposal(turn);
  turn.setStatus("unknown");
  turn.enter("joining", reason, { cluster: cluster.answer.clusterId });
  rememberCluster(turn);
  const step = decideJoin(view, cluster.answer, node.membership.added);
  const range = rangeToJoin(cluster.answer, view);
  if (range === undefined && step.kind !== "wait") return turn.waitFor(askingVersions);
  switch (step.kind) {
    case "wait":
      return turn.waitFor(step.reason, step.level);
    case "removeStaleMember":
    case "add":
      // A member that cannot start weakens the quorum: the joiner installs its etcd before it changes the members.
      if (node.ownEtcd.provided === undefined || !isWithin(node.ownEtcd.provided, range!)) {
        turn.request("local", { kind: "provideEtcd", range: range! });
        return turn.waitFor({
          code: "etcd_needed",
          text: `installing etcd ${rangeText(range!)} before this node joins`,
        });
      }
      return changeMembers(turn, step, cluster);
    case "start": {
      if (node.effects.inFlight.has("cluster")) return;
      const lineage = lineageOfCluster(cluster.answer, view);
      if (lineage === undefined) {
        return turn.waitFor({
          code: "lineage_unknown",
          text: "waiting for a peer to publish the lineage of the cluster",
        });
      }
      const { started } = node.disk.record;
      if (started?.lineage.token !== lineage.token || started.lineage.id !== lineage.id) {
        // A join renounces no pledge: only another plan does.
        turn.request("local", {
          kind: "writeRecord",
          record: beginAnew({
            ...node.disk.record,
            pledges: [],
            started: { lineage, how: "joined", renounced: [], clusterId: cluster.answer.clusterId },
          }),
        });
        return;
      }
      const others: InitialMember[] = cluster.answer.members
        .filter((member) => member.id !== step.member.id && member.name !== "")
        .flatMap((member) => member.peerUrls.map((peerUrl) => ({ name: member.name, peerUrl })));
      const initialCluster = [...others, { name: node.self.name, peerUrl: node.self.peerUrl }];
      turn.request("local", { kind: "startEtcd", start: { state: "existing", initialCluster, range: range! } });
      return;
    }
    default:
      return step satisfies never;
  }
}

/** The joiner changes the members itself, through any member with a quorum. */
function changeMembers(
  turn: Turn,
  step: Extract<JoinStep, { kind: "removeStaleMember" | "add" }>,
  { via, answer }: RunningCluster,
): void {
  if (step.kind === "add") {
    const beside = answer.members.map(({ id }) => id);
    if (turn.request("cluster", { kind: "memberAdd", via, peerUrl: turn.node.self.peerUrl, beside })) {
      turn.recordDecision("add", step.reason);
    }
    return;
  }
  const { id } = step.member;
  if (turn.request("cluster", { kind: "memberRemove", via, memberId: id })) {
    turn.recordDecision("removeStaleMember", step.reason, { member: id }, "warn");
  }
}

/** A survivor that restarts after its pledge carries out that pledge. */
function recoverWithoutEtcd(turn: Turn): void {
  const step = decideBootstrap(turn.view, turn.node.bootstrap.progress);
  if (step.kind === "commit") beginCommit(turn, step.pledge, step.reason);
}

function leave(turn: Turn): void {
  const { node } = turn;
  if (node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready") {
    turn.request("local", { kind: "stopEtcd" });
    return;
  }
  if (node.effects.inFlight.has("local")) return;
  const ending = node.process.ending ?? { code: 1, reason: { code: "unknown", text: "leaving without a reason" } };
  turn.setStatus("unknown");
  turn.enter(ending.code === 0 ? "stopped" : "failed", ending.reason);
  turn.emit({ kind: "exit", code: ending.code, reason: ending.reason });
}
