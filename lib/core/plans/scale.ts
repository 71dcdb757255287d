/**
 * The plan of `e2d scale N`, made once from the state of the cluster, and refused with a reason if the cluster is unhealthy.
 * The cluster record changes first in both directions: a higher size admits standby nodes, a lower size keeps removed
 * members from joining again. Then one member at a time; the leader moves the leadership before its member is removed.
 */
import { changeInProgress, isHealthy } from "../evidence/members.ts";
import type { View } from "../facts/view.ts";
import type { Operation, Plan } from "../facts/plan.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";

export type PlanOutcome = { readonly kind: "plan"; readonly plan: Plan } | {
  readonly kind: "refused";
  readonly why: string;
};

export const sizesAllowed: readonly number[] = [1, 3, 5, 7];

const refused = (why: string): PlanOutcome => ({ kind: "refused", why });

/** `own`: a fresh linearizable answer; `to`: the number of voters; `id`: random, the name of the plan. */
export function planScale(view: View, own: EtcdAnswer, to: number, id: string): PlanOutcome {
  const from = own.recordedSize ?? view.settings.requiredSize;
  if (!sizesAllowed.includes(to)) return refused(`${to} is not a valid cluster size: use ${sizesAllowed.join(", ")}`);
  if (to === from) return refused(`the cluster has ${from} members already`);
  if (!own.linearizable || own.leaderId === undefined) return refused("the cluster has no quorum now");
  const legacy = view.peers.find((peer) => peer.isLegacy && peer.state === "alive");
  if (legacy !== undefined) return refused(`"${legacy.name}" runs the Go e2d, which does not support scaling`);
  const busy = changeInProgress(own.members);
  if (busy !== undefined) return refused(`member ${busy.id} is joining; wait until it is a voter`);
  if (own.members.length !== from) {
    return refused(`the cluster has ${own.members.length} of its ${from} members; wait until it is complete`);
  }
  const unhealthy = own.members.find((member) => !isHealthy(member, own, view));
  if (unhealthy !== undefined) return refused(`member "${unhealthy.name}" is unhealthy`);

  const operations: Operation[] = view.settings.snapshots ? [{ kind: "snapshot" }] : [];
  operations.push({ kind: "resize", from, to });
  let text = `scale from ${from} to ${to}`;
  if (to > from) {
    const standbys = view.peers.filter((peer) => peer.state === "alive" && peer.facts?.data.kind === "none")
      .sort((a, b) => a.name < b.name ? -1 : 1).slice(0, to - own.members.length);
    if (own.members.length + standbys.length < to) {
      return refused(`${to - own.members.length} more nodes are needed; standby nodes now: ${standbys.length}`);
    }
    for (const { peerUrl } of standbys) operations.push({ kind: "add", peerUrl }, { kind: "promote", peerUrl });
    text += `: ${standbys.map((peer) => `"${peer.name}"`).join(", ")} join`;
  } else {
    // The leader stays if possible; among the others the last by name are removed.
    const leaving = own.members.filter((member) => member.id !== own.leaderId)
      .sort((a, b) => a.name < b.name ? 1 : -1).slice(0, own.members.length - to);
    for (const { id: memberId, name } of leaving) {
      operations.push({ kind: "moveLeaderFrom", memberId }, { kind: "remove", memberId, name });
    }
    text += `: ${leaving.map((member) => `"${member.name}"`).join(", ")} leave`;
  }
  return { kind: "plan", plan: { id, purpose: "scale", text, createdAtWallMs: view.nowWallMs, operations } };
}
