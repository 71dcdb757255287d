/** When a majority counts as lost, and which survivor's log ends last. */
import type { View } from "../facts/view.ts";
import type { Reason } from "../facts/reason.ts";
import { quorumOf } from "../facts/cluster.ts";
import { type GossipPeer, isPresent, type PeerData } from "../facts/peer.ts";
import { ownLineage, supersedes } from "../evidence/lineage.ts";
import { compareLogs } from "../evidence/log_position.ts";
import type { Lineage, LogPosition } from "../facts/node_record.ts";
import { goneForMs, unreachableForMs } from "../evidence/members.ts";

/** Quoted names of the nodes that have data and cannot use it: damaged is not absent, and nobody recovers over it. */
export function unusablePeers(view: View): string[] {
  return view.peers.filter((peer) => isPresent(peer) && peer.facts?.data.kind === "unusable").map(({ name }) =>
    `"${name}"`
  ).sort();
}

/** Why a member with valid data has no quorum, and what an operator does, when the others' data is unusable. */
export function unusableMajority(view: View): Reason | undefined {
  const { data } = view;
  const names = unusablePeers(view);
  if (data.kind !== "valid" || names.length === 0) return undefined;
  const voters = data.members.filter((member) => !member.isLearner).length;
  if (voters - names.length >= quorumOf(voters)) return undefined;
  return {
    code: "members_unusable",
    text: `${names.join(", ")} have damaged or unreadable data, and ${
      quorumOf(voters)
    } of ${voters} voters make a quorum`,
    hint: 'repair them; or run the "e2d restore approve" that each of them names in its "e2d status": ' +
      "this node's data becomes the cluster's once --quorum-loss-timeout is over",
  };
}

/** A survivor whose log is at least as new as the own, and does not list this member any more. */
export function survivorWithoutUs(view: View): GossipPeer | undefined {
  const { data } = view;
  const own = ownLineage(view);
  if (data.kind !== "valid" || own === undefined) return undefined;
  return view.peers.find((peer) => {
    const lost = peer.state === "alive" ? peer.facts?.quorumLost : undefined;
    return lost !== undefined && lost.lineage.token === own.token && lost.raftIndex >= data.raftIndex &&
      data.lastLog !== undefined && compareLogs(data.lastLog, lost.lastLog) < 0 &&
      !lost.members.includes(data.memberId);
  });
}

export interface QuorumLoss {
  readonly lineage: Lineage;
  /** Names of all who still hold data, sorted. */
  readonly survivors: readonly string[];
  /** The survivor whose log ends last, and its revision. */
  readonly name: string;
  readonly revision: number;
  /** Names of all whose data is of an earlier life and no quorum of it: they wait for the end of the recovery. */
  readonly outlived: readonly string[];
}

export function anotherHolds(view: View, clusterId: string): boolean {
  return view.peers.some((peer) =>
    isPresent(peer) && peer.facts?.data.kind === "held" &&
    peer.facts.data.clusterId === clusterId && peer.facts.quorumLost === undefined
  );
}

/**
 * A peer's disk that holds no current member's data. `unmounted`: a member's own disk may only not be mounted there,
 * because the disk's record names data that is not on it, or it holds data of a member that the own, newer log does not
 * list any more; such a disk gets the time-out. Undefined: it holds data that may count, or is not known yet.
 */
export function diskWithoutMember({ facts }: GossipPeer, view: View): "empty" | "unmounted" | undefined {
  if (facts?.data.kind === "none") return facts.data.lost === undefined ? "empty" : "unmounted";
  const { data } = view;
  const lineage = ownLineage(view);
  if (facts?.data.kind !== "held" || data.kind !== "valid" || lineage === undefined || data.lastLog === undefined) {
    return undefined;
  }
  const members = data.members.map(({ id }) => id);
  return wasRemoved(facts.data, { lineage, lastLog: data.lastLog, members }) ? "unmounted" : undefined;
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
      isPresent(peer) && peer.facts?.data.kind === "held" &&
      peer.facts.data.memberId === member.id && peer.facts.data.clusterId === clusterId
    );
    if (holder !== undefined) {
      holding++;
      continue;
    }
    // An empty disk under the same address or name shows that this member is gone.
    const isReplaced = view.peers.some((peer) => {
      const disk = peer.state === "alive" ? diskWithoutMember(peer, view) : undefined;
      if (disk === undefined) return false;
      // A name alone can be a copy: then the member itself must have been silent for as long.
      const same = member.peerUrls.includes(peer.peerUrl) ||
        member.name !== "" && member.name === peer.name && unreachableForMs(member, view) >= timeoutMs;
      return same &&
        (disk === "empty" || view.nowMs - Math.max(peer.sinceMs, view.watchingSinceMs) >= timeoutMs);
    });
    if (isReplaced) continue;
    if ((goneForMs(member, view) ?? 0) < timeoutMs || unreachableForMs(member, view) < timeoutMs) return false;
  }
  return holding < quorumOf(voters.length);
}

export interface Survivor {
  readonly memberId: string;
  readonly name: string;
  readonly revision: number;
  readonly lineage: Lineage;
  readonly lastLog: LogPosition;
  /** Ids that its log lists. */
  readonly members: readonly string[];
}

/** A node with data that does not report the loss of its quorum. */
interface Holder {
  readonly name: string;
  readonly data: Extract<PeerData, { kind: "held" }>;
  /** It waits for an operator to choose between its life and another one. */
  readonly isUndecided: boolean;
}

/**
 * All nodes with data agree that their quorum is lost; undefined: they do not, or none holds data. The log that ends
 * last decides: it holds every write that any of the other survivors' logs has committed. A node whose member that log
 * does not list was removed: its data counts for nothing, and its word is not needed. Neither is that of a node with data
 * of an earlier life, unless there may be a quorum of that life: it keeps its data and takes no part.
 */
export function quorumLost(view: View): QuorumLoss | undefined {
  const survivors: Survivor[] = [];
  const others: Holder[] = [];
  for (const peer of view.peers) {
    if (!isPresent(peer)) continue;
    if (peer.facts?.data.kind !== "held") continue;
    if (peer.facts.quorumLost === undefined) {
      others.push({ name: peer.name, data: peer.facts.data, isUndecided: peer.facts.undecided !== undefined });
    } else survivors.push({ name: peer.name, memberId: peer.facts.data.memberId, ...peer.facts.quorumLost });
  }
  if (view.data.kind === "valid" && survivorWithoutUs(view) === undefined) {
    const lineage = ownLineage(view);
    const { lastLog, members, revision, memberId } = view.data;
    if (lineage === undefined || lastLog === undefined || !selfQuorumLost(view)) return undefined;
    const listed = members.map(({ id }) => id);
    survivors.push({ name: view.self.name, memberId, revision, lineage, lastLog, members: listed });
  }
  survivors.sort((a, b) => compareLogs(b.lastLog, a.lastLog) || b.revision - a.revision || (a.name < b.name ? -1 : 1));
  const [best] = survivors;
  if (best === undefined) return undefined;
  const { lineage } = best;
  if (survivors.some((each) => each.lineage.id !== lineage.id || each.lineage.token !== lineage.token)) {
    return undefined;
  }
  const blocking = others.filter(({ data }) => !wasRemoved(data, best));
  if (!areOutlived(blocking, best, view)) return undefined;
  // One that the best log has removed counts itself out, too (survivorWithoutUs): all must see the same survivors.
  const listed = survivors.filter(({ memberId, lastLog }) =>
    best.members.includes(memberId) || compareLogs(lastLog, best.lastLog) === 0
  );
  return {
    lineage,
    survivors: listed.map((each) => each.name).sort(),
    name: best.name,
    revision: best.revision,
    outlived: blocking.map((each) => each.name).sort(),
  };
}

/** True if all of them have data of earlier lives, and there is no quorum of any: none of them says so, and few are here. */
function areOutlived(holders: readonly Holder[], best: Survivor, { settings }: View): boolean {
  return holders.length < quorumOf(settings.requiredSize) &&
    holders.every(({ data, isUndecided }) => supersedes(best.lineage, data.lineage) && !isUndecided);
}

/** Data of a member that the newer log of the same cluster does not list: it was removed before the log's end. */
export function wasRemoved(
  { lineage, memberId, lastLog }: Extract<PeerData, { kind: "held" }>,
  best: Pick<Survivor, "lineage" | "lastLog" | "members">,
): boolean {
  return lineage.token === best.lineage.token && lastLog !== undefined && compareLogs(lastLog, best.lastLog) < 0 &&
    !best.members.includes(memberId);
}
