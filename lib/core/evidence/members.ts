/**
 * Arithmetic of voters: what may be taken out without harm, and when a majority counts as lost. Only numbers and
 * facts; who acts is decided in replace.ts and proposal.ts.
 */
import { clientEvidence, mayBeNodeOf, nodesOf } from "./member_evidence.ts";
import { hasAlarm } from "../../facts/etcd.ts";
import type { View } from "../facts/view.ts";
import type { EndpointFacts, EtcdAnswer, EtcdMember } from "../facts/cluster.ts";
import { type GossipPeer, isPresent } from "../facts/peer.ts";

/** An answer older than this says nothing about now. */
export const answerFreshMs = 5_000;

/** The newest answer of an endpoint, unless it is old or the endpoint fails. */
export function freshAnswer(facts: EndpointFacts | undefined, nowMs: number): EtcdAnswer | undefined {
  if (facts === undefined || facts.last.kind !== "answer" || nowMs - facts.atMs > answerFreshMs) return undefined;
  return facts.last;
}

/** A member's own fresh answer, found by its client URLs. */
export function answerOf(member: EtcdMember, view: View): EtcdAnswer | undefined {
  for (const url of member.clientUrls) {
    const answer = freshAnswer(view.endpoints.get(url), view.nowMs);
    if (answer?.memberId === member.id) return answer;
  }
  return undefined;
}

/** Healthy: answers, in this cluster, behind this leader, and not known to be corrupt. */
export function isHealthy(member: EtcdMember, cluster: EtcdAnswer, view: View): boolean {
  const answer = member.id === cluster.memberId ? cluster : answerOf(member, view);
  return answer !== undefined && answer.clusterId === cluster.clusterId && answer.leaderId !== undefined &&
    answer.leaderId === cluster.leaderId && !hasAlarm(answer, "CORRUPT", answer.memberId);
}

/** A change in progress that must end before the next begins: a learner, or a member that never started. */
export function changeInProgress(members: readonly EtcdMember[]): EtcdMember | undefined {
  return members.find((member) => member.isLearner || member.name === "");
}

export function peerOf(member: EtcdMember, view: View): GossipPeer | undefined {
  return view.peers.find((peer) => member.peerUrls.includes(peer.peerUrl)) ??
    view.peers.find((peer) => mayBeNodeOf(peer, member));
}

/** For how long gossip has held this member for gone; undefined: it is there. Never counts time we did not watch. */
export function goneForMs(member: EtcdMember, view: View): number | undefined {
  const nodes = nodesOf(member, view);
  if (nodes.some((peer) => isPresent(peer))) return undefined;
  return view.nowMs - Math.max(view.watchingSinceMs, ...nodes.map((peer) => peer.sinceMs));
}

/** For how long none of the member's client URLs has answered; 0 while one does, or was not asked. */
export function unreachableForMs(member: EtcdMember, view: View): number {
  const evidence = clientEvidence(member, view);
  return evidence.kind === "silent" ? evidence.forMs : 0;
}
