/** The reason that a node reports while its etcd runs without a leader. */
import { quotedNames, type Reason } from "../facts/reason.ts";
import type { Turn } from "../state/turn.ts";
import { clockText, electionsMs, recoveryOutlook, stoppedInOrder } from "../rules/recovery_outlook.ts";
import { runningCluster } from "../evidence/running_cluster.ts";
import { unusableMajority } from "../rules/quorum_loss.ts";
import { challenger, endLifeDigest, isApproved, lifeChoices, withChoices } from "../evidence/order.ts";
import { ownLineage } from "../evidence/lineage.ts";
import { restartDueMs } from "../watch/etcd.ts";

/** Codes of the waits that end when there is a leader. */
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

/** The most specific reason for the missing leader. */
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
    const text = `${quotedNames(stopped)} stopped normally; writes are stopped until enough members return`;
    return { level: "info", reason: { code: "members_stopped", text } };
  }
  if (forMs < electionsMs) {
    return { level: "info", reason: { code: "electing", text: "etcd has no leader, and elects one" } };
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
    const hint = "start the members of the life that must continue";
    return { level: "error", reason: withChoices({ code: "two_epochs", text }, lifeChoices(own, other.lineage), hint) };
  }
  const outlook = recoveryOutlook(view);
  const text = "no quorum: etcd has no leader, and writes are stopped";
  switch (outlook.kind) {
    case "at": {
      const at = clockText(view, outlook.atMs);
      const hint = `start the missing members; otherwise the disaster recovery from a survivor begins at ${at} UTC; ` +
        "to prevent it, run on this node: e2d hold";
      return { level: "warn", reason: { code: "no_quorum", text, hint } };
    }
    case "blocked":
      return {
        level: outlook.needsOperator ? "error" : "warn",
        reason: {
          code: "no_quorum",
          text: `${text}; no disaster recovery begins: ${outlook.text}`,
          hint: outlook.hint,
        },
      };
    default:
      return outlook satisfies never;
  }
}

export const apart: Reason = {
  code: "etcd_apart",
  text: "the cluster has a quorum, and the etcd of this node is not part of it",
  hint: "check the network between this node and the other members, and the log of etcd",
};

/** The reason if the own etcd was ready and does not answer: its quorum is unknown then. Undefined: it answers. */
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
      text: "the etcd of this node is running and does not answer",
      hint: "check the disk and the load of this machine" +
        (at === undefined ? "" : `; etcd is restarted at ${at} UTC unless it shows progress`),
    },
  };
}
