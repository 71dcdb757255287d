/**
 * Executes a plan: the next operation that is not done, if it is safe. The node of the current leader runs this; the plan is
 * stored in etcd.
 */
import { nextOperation, type PlanView } from "../plans/progress.ts";
import { digestOf } from "../facts/digest.ts";
import { isSafeToDefragUnasked, planDefrag, refusalToDefrag } from "../plans/defrag.ts";
import { isHealthy } from "../evidence/members.ts";
import type { Operation, Plan } from "../facts/plan.ts";
import { refusalToRemove } from "../rules/membership/removal_safety.ts";
import type { Turn } from "../state/turn.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import type { Reason } from "../facts/reason.ts";
import { legacyClusterToken } from "../evidence/lineage.ts";

/** True if there is a plan, or one is being written. */
export function executePlan(turn: Turn, own: EtcdAnswer): boolean {
  const { node } = turn;
  if (node.maintenance.plan === undefined) return proposeRequestedPlan(turn) || proposeAutoDefrag(turn, own);
  const plan = node.maintenance.plan;
  if (
    node.effects.inFlight.has("plan") || node.effects.inFlight.has("cluster") ||
    node.effects.inFlight.has("maintenance")
  ) {
    return true;
  }
  const next = nextOperation(plan, planViewOf(turn, own));
  if (next === undefined) {
    if (turn.request("plan", { kind: "writePlan" })) {
      turn.recordDecision("plan done", { code: "plan_done", text: `done: ${plan.text}` }, { plan: plan.id });
    }
    return true;
  }
  const refusal = refusalOf(next, plan, turn, own);
  if (refusal !== undefined) {
    turn.waitFor({ code: "plan_waits", text: `the plan "${plan.text}" waits: ${refusal}` });
    return true;
  }
  executeOperation(next, plan, turn, own);
  return true;
}

const nameOf = (memberId: string, { members }: EtcdAnswer) =>
  members.find(({ id, name }) => id === memberId && name !== "")?.name ?? memberId;

function planViewOf(turn: Turn, own: EtcdAnswer): PlanView {
  const { node } = turn;
  return {
    members: own.members,
    leaderId: own.leaderId,
    recordedSize: own.recordedSize,
    lastSnapshotAtWallMs: node.snapshots.lastSnapshotAtWallMs,
    clusterVersion: own.clusterVersion,
    endpoints: node.membership.endpoints,
  };
}

/** Writes the plan that an operator requested at this node. True if there is one. */
export function proposeRequestedPlan(turn: Turn): boolean {
  const { node } = turn;
  if (node.maintenance.requested === undefined) return false;
  if (turn.request("plan", { kind: "writePlan", plan: node.maintenance.requested })) {
    turn.recordDecision("plan", { code: "asked_by_operator", text: node.maintenance.requested.text }, {
      plan: node.maintenance.requested.id,
    });
  }
  return true;
}

/**
 * Proposes an automatic defragmentation if the settings allow it. A cluster of one member serves nothing meanwhile: there
 * only an operator starts it. True if the plan is being written.
 */
function proposeAutoDefrag(turn: Turn, own: EtcdAnswer): boolean {
  const { node, view } = turn;
  const { defrag } = node.settings;
  if (defrag === undefined || own.members.length < 2 || node.effects.inFlight.has("backup") || !turn.isFree("plan")) {
    return false;
  }
  if (!isSafeToDefragUnasked(view, own)) return false;
  const id = digestOf("defrag", node.process.seed, String(node.effects.nextId)).slice(0, 8);
  const outcome = planDefrag(view, own, defrag, id);
  if (outcome.kind === "refused") return false;
  const { plan } = outcome;
  if (turn.request("plan", { kind: "writePlan", plan })) {
    turn.recordDecision("plan", { code: "space_is_free", text: plan.text }, { plan: plan.id });
  }
  return true;
}

/** Upgrades the own etcd if that is the next operation of the plan. */
export function upgradeSelf(turn: Turn, own: EtcdAnswer, plan: Plan): void {
  // Only the leader's node knows whether the snapshot is taken: a follower's node assumes that it is.
  const view = { ...planViewOf(turn, own), lastSnapshotAtWallMs: plan.createdAtWallMs };
  const next = nextOperation(plan, view);
  if (next?.kind !== "upgrade" || next.memberId !== own.memberId) return;
  if (own.members.some((member) => member.id !== own.memberId && !isHealthy(member, own, turn.view))) return;
  if (turn.request("local", { kind: "upgradeEtcd", to: next.to })) {
    turn.recordDecision("upgrade", { code: "plan_goes_on", text: plan.text }, { plan: plan.id, to: next.to });
  }
}

/** Why an operation must not be done now. */
function refusalOf(next: Operation, plan: Plan, turn: Turn, own: EtcdAnswer): string | undefined {
  const { view } = turn;
  switch (next.kind) {
    case "remove": {
      const target = own.members.find((member) => member.id === next.memberId);
      const unhealthy = own.members.find((member) => member.id !== next.memberId && !isHealthy(member, own, view));
      if (plan.purpose === "scale" && unhealthy !== undefined) return `member "${unhealthy.name}" is unhealthy`;
      return target === undefined ? undefined : refusalToRemove(target, own, view);
    }
    case "moveLeaderFrom":
    case "upgrade":
    case "allowDowngrade":
    case "resize": {
      const unhealthy = own.members.find((member) => !isHealthy(member, own, view));
      return unhealthy === undefined ? undefined : `member "${unhealthy.name}" is unhealthy`;
    }
    case "defragment":
      return turn.node.effects.inFlight.has("backup") ? "a snapshot is being taken" : refusalToDefrag(view, own);
    case "snapshot":
    case "add":
    case "promote":
    case "clusterVersion":
      return undefined;
    default:
      return next satisfies never;
  }
}

function executeOperation(next: Operation, plan: Plan, turn: Turn, own: EtcdAnswer): void {
  const { node } = turn;
  const via = [node.self.clientUrl];
  const reason: Reason = { code: "plan_goes_on", text: plan.text };
  const facts = { plan: plan.id, operation: next.kind };
  switch (next.kind) {
    case "snapshot":
      if (!node.settings.snapshots) {
        turn.waitFor({
          code: "plan_waits",
          text: `the plan "${plan.text}" waits for a snapshot, and no store is configured`,
        });
        return;
      }
      // The first snapshot of a plan ignores the interval. If the data has not changed, the operation is done, too.
      turn.request("backup", {
        kind: "takeSnapshot",
        format: node.gossip.peers.some((peer) => peer.isLegacy && peer.state === "alive") ? "go-v1" : "v2",
        lineage: node.disk.record.started?.lineage ?? { id: own.clusterId, epoch: 0, token: legacyClusterToken },
        lastRevision: 0,
      });
      return;
    case "moveLeaderFrom": {
      const to = own.members.find((member) =>
        member.id !== next.memberId && !member.isLearner && isHealthy(member, own, turn.view)
      );
      if (to !== undefined && turn.request("cluster", { kind: "moveLeader", to: to.id })) {
        turn.recordDecision("moveLeader", reason, facts);
      }
      return;
    }
    case "remove":
      if (turn.request("cluster", { kind: "memberRemove", via, memberId: next.memberId })) {
        turn.recordDecision("remove", reason, facts);
      }
      return;
    case "resize":
      if (turn.request("cluster", { kind: "changeRecord", from: next.from, to: next.to })) {
        turn.recordDecision("resize", reason, facts);
      }
      return;
    case "promote":
    case "add":
      // The joiner adds itself, and replace.ts promotes a learner that has caught up.
      turn.waitFor({
        code: "plan_waits",
        text: `the plan "${plan.text}" waits until ${next.peerUrl} is a ${next.kind === "add" ? "member" : "voter"}`,
      });
      return;
    case "allowDowngrade":
      if (turn.request("cluster", { kind: "allowDowngrade", to: next.to })) {
        turn.recordDecision("allowDowngrade", reason, facts);
      }
      return;
    case "upgrade":
      if (next.memberId === own.memberId) return upgradeSelf(turn, own, plan);
      turn.waitFor({
        code: "plan_waits",
        text: `the plan "${plan.text}" waits until "${nameOf(next.memberId, own)}" runs etcd ${next.to}`,
        hint: "e2d why on that node shows its progress",
      });
      return;
    case "clusterVersion":
      turn.waitFor({
        code: "plan_waits",
        text: `the plan "${plan.text}" waits until etcd raises the cluster version to ${next.to}`,
      });
      return;
    case "defragment": {
      const member = own.members.find(({ id }) => id === next.memberId);
      const endpoint = member?.clientUrls[0];
      if (endpoint !== undefined && turn.request("maintenance", { kind: "defragment", endpoint })) {
        const text = `"${member!.name}" is defragmented and serves no requests meanwhile`;
        turn.recordDecision("defragment", { ...reason, text }, { ...facts, member: next.memberId, name: member!.name });
      }
      return;
    }
    default:
      return next satisfies never;
  }
}
