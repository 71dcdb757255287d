/** Whether a member may be removed without harm to the quorum. */
import { type EtcdAnswer, type EtcdMember, quorumOf } from "../../facts/cluster.ts";
import type { View } from "../../facts/view.ts";
import { isHealthy } from "../../evidence/members.ts";

/** Why a member may not be removed now; undefined: it may. `cluster` is a linearizable answer. */
export function refusalToRemove(target: EtcdMember, cluster: EtcdAnswer, view: View): string | undefined {
  if (!cluster.linearizable || cluster.leaderId === undefined) return "the cluster has no quorum now";
  const voters = cluster.members.filter((member) => !member.isLearner);
  const healthy = voters.filter((member) => isHealthy(member, cluster, view));
  if (healthy.length < quorumOf(voters.length)) {
    return `only ${healthy.length} of ${voters.length} voters are seen healthy`;
  }
  if (target.isLearner) return undefined;
  const rest = voters.length - 1;
  const healthyRest = healthy.filter((member) => member.id !== target.id).length;
  if (healthyRest < quorumOf(rest)) {
    return `the ${rest} members that would remain have ${healthyRest} healthy, fewer than a quorum`;
  }
  if (rest >= quorumOf(view.settings.requiredSize)) return undefined;
  // One voter is no redundancy at all, and of two voters a dead one cannot be outvoted: only a live one would be lost.
  if (rest === 1) return `one voter alone would remain of -n ${view.settings.requiredSize}`;
  // Etcd adds nobody while a voter is down, so a waiting successor needs the dead one out first.
  if (!successorWaits(target, cluster, view)) {
    return `${rest} voters would be fewer than a quorum of -n ${view.settings.requiredSize}, and no successor waits`;
  }
  return undefined;
}

/**
 * True when a node without data is here to take the place of `target`: a peer, or this node. The node of a member that
 * lives is none, nor is one whose name another live node claims, too: it would not be let in.
 */
export function successorWaits(target: EtcdMember, cluster: EtcdAnswer, view: View): boolean {
  const live = cluster.members.filter((member) => member.id !== target.id || isHealthy(member, cluster, view));
  const mayStepIn = ({ name, peerUrl }: { name: string; peerUrl: string }) =>
    !view.nameConflicts.some((conflict) => conflict.name === name) &&
    !live.some((member) => member.name === name || member.peerUrls.includes(peerUrl));
  if ((view.data.kind === "absent" || view.data.kind === "empty") && mayStepIn(view.self)) return true;
  return view.peers.some((peer) =>
    peer.state === "alive" && mayStepIn(peer) &&
    (peer.isLegacy ? peer.status !== "running" : peer.facts?.data.kind === "none")
  );
}
