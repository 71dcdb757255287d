/**
 * The plan of `e2d scale N`: made once from the cluster as it is, refused with a reason when the cluster is not well.
 * The record changes first, both ways: growing, that is what lets waiting standbys in; shrinking, it is what keeps those
 * who leave from coming back. Then one member at a time, the leader's place handed over before its member goes.
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

/** `own` is a fresh linearizable answer; `id` is random and names the plan. */
export function planScale(view: View, own: EtcdAnswer, to: number, id: string): PlanOutcome {
  const from = own.recordedSize ?? view.settings.requiredSize;
  if (!sizesAllowed.includes(to)) return refused(`${to} is no size for a cluster: ${sizesAllowed.join(", ")} are`);
  if (to === from) return refused(`the cluster has ${from} members already`);
  if (!own.linearizable || own.leaderId === undefined) return refused("the cluster has no quorum now");
  const go = view.peers.find((peer) => peer.isLegacy && peer.state === "alive");
  if (go !== undefined) return refused(`"${go.name}" is a node of the original, which knows no change of size`);
  const busy = changeInProgress(own.members);
  if (busy !== undefined) return refused(`member ${busy.id} is joining; wait until it votes`);
  if (own.members.length !== from) {
    return refused(`the cluster has ${own.members.length} of its ${from} members; wait until it is whole`);
  }
  const sick = own.members.find((member) => !isHealthy(member, own, view));
  if (sick !== undefined) return refused(`member "${sick.name}" is sick`);

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
    // The leader stays where it can; among the others the last by name go.
    const leaving = own.members.filter((member) => member.id !== own.leaderId)
      .sort((a, b) => a.name < b.name ? 1 : -1).slice(0, own.members.length - to);
    for (const { id: memberId, name } of leaving) {
      operations.push({ kind: "moveLeaderFrom", memberId }, { kind: "remove", memberId, name });
    }
    text += `: ${leaving.map((member) => `"${member.name}"`).join(", ")} leave`;
  }
  return { kind: "plan", plan: { id, purpose: "scale", text, createdAtWallMs: view.nowWallMs, operations } };
}
