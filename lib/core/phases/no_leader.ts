/** What a node reports while its etcd runs without a leader. */
import { quotedNames, type Reason } from "../facts/reason.ts";
import type { Turn } from "../state/turn.ts";
import { clockText, electionsMs, recoveryOutlook, stoppedInOrder } from "../rules/recovery_outlook.ts";
import { runningCluster } from "../evidence/running_cluster.ts";
import { unusableMajority } from "../rules/quorum_loss.ts";
import { challenger, endLifeDigest, isApproved, lifeChoices, withChoices } from "../evidence/order.ts";
import { ownLineage } from "../evidence/lineage.ts";
import { restartDueMs } from "../watch/etcd.ts";

/** Waits that end with a leader. */
export const leaderlessCodes = new Set([
  "no_quorum",
  "electing",
  "members_stopped",
  "plan_goes_on",
  "etcd_silent",
  "etcd_apart",
  "members_unusable",
  "two_epochs",
]);

export interface Leaderless {
  readonly level: "info" | "warn" | "error";
  readonly reason: Reason;
}

/** For a node whose etcd runs without a leader. */
export function leaderlessReason(turn: Turn): Leaderless {
  const { node, view } = turn;
  const forMs = view.nowMs - Math.max(node.ownEtcd.leaderlessSinceMs ?? view.nowMs, view.watchingSinceMs);
  if (node.effects.inFlight.get("local")?.kind === "upgradeEtcd") {
    return {
      level: "info",
      reason: { code: "plan_goes_on", text: "this member restarts with another version of etcd" },
    };
  }
  const silent = ownEtcdSilent(turn);
  if (silent !== undefined) return silent;
  const stopped = stoppedInOrder(view);
  if (stopped.length > 0) {
    const text = `${quotedNames(stopped)} stopped in order; nothing can be written until enough members are back`;
    return { level: "info", reason: { code: "members_stopped", text } };
  }
  if (forMs < electionsMs) {
    return { level: "info", reason: { code: "electing", text: "etcd has no leader at the moment" } };
  }
  const cluster = runningCluster(view);
  if (cluster !== undefined && !("contradiction" in cluster) && view.data.kind === "valid") {
    if (cluster.answer.clusterId === view.data.clusterId) return { level: "warn", reason: apart };
  }
  const unusable = unusableMajority(view);
  if (unusable !== undefined) return { level: "error", reason: unusable };
  const own = ownLineage(view);
  const other = own === undefined ? undefined : challenger(view, own);
  if (own !== undefined && other !== undefined && !isApproved(view, endLifeDigest(other.lineage, own))) {
    const text = `etcd has no leader, and "${other.holder}" holds another life of this cluster (epoch ` +
      `${other.lineage.epoch}, this node epoch ${own.epoch}): an operator must choose`;
    const hint = "bring the members of the life that is to stay back";
    return { level: "error", reason: withChoices({ code: "two_epochs", text }, lifeChoices(own, other.lineage), hint) };
  }
  const outlook = recoveryOutlook(view);
  const text = "no quorum: etcd has no leader, and nothing can be written";
  switch (outlook.kind) {
    case "at": {
      const at = clockText(view, outlook.atMs);
      const hint = `bring members back; if it stays so, recovery from what is left begins at ${at} UTC; ` +
        "to stop that, run on this node: e2d hold";
      return { level: "warn", reason: { code: "no_quorum", text, hint } };
    }
    case "blocked":
      return {
        level: outlook.needsOperator ? "error" : "warn",
        reason: { code: "no_quorum", text: `${text}; no recovery begins: ${outlook.text}`, hint: outlook.hint },
      };
    default:
      return outlook satisfies never;
  }
}

export const apart: Reason = {
  code: "etcd_apart",
  text: "the cluster has a quorum, and etcd of this node is not part of it",
  hint: "look at the network between this node and the other members, and at the log of etcd",
};

/** The own etcd served once and does not answer: of its quorum nothing is known here. */
export function ownEtcdSilent(turn: Turn): Leaderless | undefined {
  const { node, view } = turn;
  const sinceMs = view.endpoints.get(view.self.clientUrl)?.failingSinceMs;
  if (node.ownEtcd.etcd.kind !== "ready" || sinceMs === undefined) return undefined;
  const dueMs = restartDueMs(turn);
  const at = dueMs === undefined ? undefined : clockText(view, dueMs);
  const forMs = view.nowMs - Math.max(sinceMs, view.watchingSinceMs);
  return {
    level: forMs < electionsMs ? "info" : "warn",
    reason: {
      code: "etcd_silent",
      text: "etcd of this node runs and does not answer",
      hint: "look at the disk and the load of this machine" +
        (at === undefined ? "" : `; etcd is restarted at ${at} UTC unless it shows progress`),
    },
  };
}
