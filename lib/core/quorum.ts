/**
 * Arithmetic of voters: what may be taken out without harm, and when a majority counts as lost. Only numbers and
 * facts; who acts is decided in replace.ts and founding.ts.
 */
import { ownLineage } from "./lineage.ts";
import {
  type EndpointFacts,
  type EtcdAnswer,
  type EtcdMember,
  type GossipPeer,
  type Lineage,
  quorumOf,
  type View,
} from "./view.ts";

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
    answer.leaderId === cluster.leaderId && !answer.alarms.includes("CORRUPT");
}

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
  // Etcd adds nobody while a voter is down, so a waiting successor needs the dead one out first.
  if (rest < quorumOf(view.settings.requiredSize) && !successorWaits(view)) {
    return `${rest} voters would be fewer than a quorum of -n ${view.settings.requiredSize}, and no successor waits`;
  }
  return undefined;
}

/** True when a node without data is here to step in: a peer, or this node itself. */
function successorWaits(view: View): boolean {
  if (view.data.kind === "absent" || view.data.kind === "empty") return true;
  return view.peers.some((peer) =>
    peer.state === "alive" && (peer.go ? peer.status !== "running" : peer.facts?.data.kind === "none")
  );
}

/** A change in progress that must end before the next begins: a learner, or a member that never started. */
export function changeInProgress(members: readonly EtcdMember[]): EtcdMember | undefined {
  return members.find((member) => member.isLearner || member.name === "");
}

export function peerOf(member: EtcdMember, view: View): GossipPeer | undefined {
  return view.peers.find((peer) => member.peerUrls.includes(peer.peerUrl)) ??
    view.peers.find((peer) => peer.name === member.name && member.name !== "");
}

/** For how long gossip has held this member for gone; undefined: it is there. Never counts time we did not watch. */
export function goneForMs(member: EtcdMember, view: View): number | undefined {
  const same = view.peers.filter((peer) => member.peerUrls.includes(peer.peerUrl) || peer.name === member.name);
  if (same.some((peer) => peer.state === "alive" || peer.state === "suspect")) return undefined;
  const since = same.length === 0 ? view.watchingSinceMs : Math.max(...same.map((peer) => peer.sinceMs));
  return view.nowMs - Math.max(since, view.watchingSinceMs);
}

/** For how long none of the member's client URLs has answered; 0 while one does. */
export function unreachableForMs(member: EtcdMember, view: View): number {
  const urls = member.clientUrls.length > 0 ? member.clientUrls : [peerOf(member, view)?.clientUrl ?? ""];
  let since = view.watchingSinceMs;
  for (const url of urls) {
    const facts = view.endpoints.get(url);
    if (facts === undefined) continue;
    if (facts.last.kind === "answer" && facts.last.memberId === member.id) return 0;
    if (facts.failingSinceMs !== undefined) since = Math.max(since, facts.failingSinceMs);
  }
  return view.nowMs - since;
}

/** A survivor whose log is at least as new as the own, and does not list this member any more. */
export function survivorWithoutUs(view: View): GossipPeer | undefined {
  const { data } = view;
  const own = ownLineage(view);
  if (data.kind !== "valid" || own === undefined) return undefined;
  return view.peers.find((peer) => {
    const lost = peer.state === "alive" ? peer.facts?.quorumLost : undefined;
    return lost !== undefined && lost.lineage.token === own.token && lost.raftIndex >= data.raftIndex &&
      !lost.members.includes(data.memberId);
  });
}

export interface QuorumLoss {
  readonly lineage: Lineage;
  /** Names of all who still hold data, sorted. */
  readonly survivors: readonly string[];
  /** The survivor with the newest data, and its revision. */
  readonly name: string;
  readonly revision: number;
}

function anotherHolds(view: View, clusterId: string): boolean {
  return view.peers.some((peer) =>
    (peer.state === "alive" || peer.state === "suspect") && peer.facts?.data.kind === "held" &&
    peer.facts.data.clusterId === clusterId && peer.facts.quorumLost === undefined
  );
}

/** True when this node holds data, has had no leader for the time-out, and the others are gone for as long. */
export function selfQuorumLost(view: View): boolean {
  const timeoutMs = view.settings.quorumLossTimeoutMs;
  if (timeoutMs === "never" || view.settings.paused || view.data.kind !== "valid") return false;
  const lineage = ownLineage(view);
  if (lineage === undefined || view.leaderlessSinceMs === undefined) return false;
  if (view.nowMs - Math.max(view.leaderlessSinceMs, view.watchingSinceMs) < timeoutMs) return false;
  const { memberId, clusterId } = view.data;
  const voters = view.data.members.filter((member) => !member.isLearner);
  // A learner's data has no vote, yet it may be all that is left.
  let holding = voters.some((member) => member.id === memberId) ? 1 : 0;
  if (holding === 0 && anotherHolds(view, clusterId)) return false;
  for (const member of voters) {
    if (member.id === memberId) continue;
    const holder = view.peers.find((peer) =>
      (peer.state === "alive" || peer.state === "suspect") && peer.facts?.data.kind === "held" &&
      peer.facts.data.memberId === member.id && peer.facts.data.clusterId === clusterId
    );
    if (holder !== undefined) {
      holding++;
      continue;
    }
    // An empty disk under the same address or name is proof enough that this member is gone.
    const emptied = view.peers.some((peer) =>
      peer.state === "alive" && peer.facts?.data.kind === "none" &&
      (member.peerUrls.includes(peer.peerUrl) || member.name !== "" && member.name === peer.name)
    );
    if (emptied) continue;
    if ((goneForMs(member, view) ?? 0) < timeoutMs || unreachableForMs(member, view) < timeoutMs) return false;
  }
  return holding < quorumOf(voters.length);
}

/** All who hold data agree that their quorum is lost; undefined: they do not, or nobody holds data. */
export function quorumLost(view: View): QuorumLoss | undefined {
  const survivors: { name: string; revision: number; lineage: Lineage }[] = [];
  for (const peer of view.peers) {
    if (peer.state !== "alive" && peer.state !== "suspect") continue;
    if (peer.facts?.data.kind !== "held") continue;
    if (peer.facts.quorumLost === undefined) return undefined;
    survivors.push({ name: peer.name, ...peer.facts.quorumLost });
  }
  if (view.data.kind === "valid") {
    const lineage = ownLineage(view);
    if (lineage === undefined || !selfQuorumLost(view)) return undefined;
    survivors.push({ name: view.self.name, revision: view.data.revision, lineage });
  }
  const first = survivors[0];
  if (first === undefined) return undefined;
  const same = survivors.every(({ lineage }) =>
    lineage.id === first.lineage.id && lineage.token === first.lineage.token
  );
  if (!same) return undefined;
  survivors.sort((a, b) => b.revision - a.revision || (a.name < b.name ? -1 : 1));
  const best = survivors[0]!;
  return {
    lineage: best.lineage,
    survivors: survivors.map((each) => each.name).sort(),
    name: best.name,
    revision: best.revision,
  };
}
