/** Whether a node's valid data-dir may be started as it is, given the cluster and the peers it sees. */
import type { View } from "../../facts/view.ts";
import type { ValidData } from "../../facts/data_dir.ts";
import { type StartOutcome, wait } from "./outcome.ts";
import { decideAddressChange, decideAllMoved, movedEntry, runsElsewhere } from "./address_change.ts";
import { decideLog, decideMemberAhead, decideOverwritten } from "./doubtful_data.ts";
import { askPeersMs, type RunningCluster, settleMs } from "../../evidence/running_cluster.ts";
import { ownLineage, supersedes } from "../../evidence/lineage.ts";
import { countDisks, judgeRival, judgeStore, livingClusters } from "../../evidence/order.ts";
import { judgeStoredRevision } from "../../evidence/store_ahead.ts";
import { mayUpdateLearner } from "./learner_address.ts";
import { survivorWithoutUs } from "../quorum_loss.ts";
import { quorumOf } from "../../facts/cluster.ts";
import type { Lineage, Pledge } from "../../facts/node_record.ts";
import { type GossipPeer, isPresent } from "../../facts/peer.ts";

/** Why data must not start where no quorum lists it: a copy of a member that runs elsewhere, or an older copy. */
export function doubtsOf(view: View, data: ValidData): StartOutcome | undefined {
  const moved = movedEntry(view, data);
  return moved && runsElsewhere(view, moved, undefined) || decideLog(view, data) || decideOverwritten(view, data);
}

export function decideRestart(view: View, data: ValidData, cluster: RunningCluster | undefined): StartOutcome {
  // A member of the own cluster's quorum is told by that quorum alone.
  return cluster === undefined ? decideAlone(view, data) : decideBesideCluster(view, data, cluster);
}

/** A quorum of the own cluster answers. */
function decideBesideCluster(view: View, data: ValidData, cluster: RunningCluster): StartOutcome {
  const unread = withoutTerms(view, data, cluster);
  if (unread !== undefined && view.nowMs - view.bootedAtMs < askTermsMs) {
    return wait("asking_peers", `waiting for the log terms of "${unread}", to compare them with the own log`);
  }
  const listed = cluster.answer.members.find((member) => member.id === data.memberId);
  if (listed === undefined) {
    const ahead = decideMemberAhead(view, data, cluster, "removed");
    if (ahead !== undefined) return ahead;
    return {
      kind: "quarantine",
      label: "removed",
      reason: { code: "removed_member", text: `the cluster does not list member ${data.memberId} any more` },
    };
  }
  const change = listed.peerUrls.includes(view.self.peerUrl)
    ? undefined
    : decideAddressChange(view, listed, cluster.answer);
  if (change?.kind === "wait") return change;
  const back = decideLog(view, data) ?? decideMemberAhead(view, data, cluster, "listed");
  if (back !== undefined) return back;
  if (change !== undefined && listed.isLearner && !mayUpdateLearner(listed, cluster.answer, view)) {
    const text = "this learner starts at its new address and reports it once it votes: an etcd of the cluster would " +
      "clear the learner mark with the old address";
    return { kind: "restart", othersServe: true, reason: { code: "address_changed", text } };
  }
  if (change !== undefined) {
    return { ...change, kind: "updateAddress", via: cluster.via, memberId: data.memberId };
  }
  return {
    kind: "restart",
    othersServe: true,
    reason: { code: "still_listed", text: "the data-dir is valid, the cluster lists it" },
  };
}

/** No quorum of the own cluster answers. */
function decideAlone(view: View, data: ValidData): StartOutcome {
  const own = ownLineage(view)!;
  const here = view.peers.filter(isPresent);
  const doubt = doubtsOf(view, data);
  const rival = judgeRival(view, data);
  switch (rival.kind) {
    case "yields":
      return { kind: "quarantine", label: "superseded", reason: rival.reason };
    case "waits":
      return { kind: "wait", reason: rival.reason, level: rival.level };
    case "stands":
      if (doubt !== undefined) return doubt;
      return { kind: "restart", othersServe: false, reason: { code: "own_data", text: rival.reason.text } };
    case "alone":
      break;
    default:
      return rival satisfies never;
  }
  const renounced = renouncedFor(view, data, own, here);
  if (renounced !== undefined) return renounced;
  const stored = judgeStore(view, data);
  if (stored.kind === "waits") return { kind: "wait", reason: stored.reason, level: stored.level };
  const without = survivorWithoutUs(view);
  if (without !== undefined) {
    // Not quarantined on the word of one log: what replaces the cluster is agreed between all its initial members.
    const text = `the newer log of "${without.name}" does not list this member any more: its data counts for nothing`;
    return { kind: "bootstrap", reason: { code: "removed_member", text } };
  }
  if (doubt !== undefined) return doubt;
  const awaited = recoveryAwaited(view, data, own, here) ?? decideAllMoved(view, data) ??
    peersUnasked(view, data, here);
  if (awaited !== undefined) return awaited;
  const behind = judgeStoredRevision(view, data);
  if (behind.kind === "waits") return { kind: "wait", reason: behind.reason, level: behind.level };
  if (view.etcd.kind === "exited" && view.etcd.cause === "member_removed") {
    // One peer's word ends an etcd, and one peer may have a false list. Only a quorum removes a member.
    return {
      kind: "restart",
      othersServe: false,
      reason: {
        code: "removal_unproven",
        text: "a peer told its etcd that it is no member any more, and no quorum says so: it tries again",
        hint: "a peer that turns all others away has a false list of members: stop that one, and replace its data",
      },
    };
  }
  const others = data.members.filter((member) => !member.isLearner).length;
  return {
    kind: "restart",
    othersServe: false,
    reason: {
      code: "own_data",
      text: others > 1
        ? `the data-dir is valid and nothing speaks against it; ${quorumOf(others)} of ${others} voters make a quorum`
        : "the data-dir is valid",
    },
  };
}

/** A recovery that this data is pledged to, or that recovers its life. */
function recoveryAwaited(
  view: View,
  data: ValidData,
  own: Lineage,
  here: readonly GossipPeer[],
): StartOutcome | undefined {
  const pledged = view.record.pledges.at(-1);
  if (pledged?.replaces === data.clusterId && pledged.token !== own.token && !outranks(view, data, pledged, here)) {
    return wait(
      "recovery_pending",
      `this node pledged its data to the recovery ${pledged.digest.slice(0, 8)} and waits for its initial members`,
      "bring its other initial members back",
    );
  }
  // One that recovers an earlier life, perhaps into the very life that this node has already, waits for this node.
  const recovering = here.find((peer) => {
    const lost = peer.facts?.quorumLost?.lineage;
    return lost?.id === own.id && !supersedes(own, lost) && peer.facts!.pledges.length > 0;
  });
  if (recovering !== undefined) {
    return wait("recovery_runs", `"${recovering.name}" is recovering this lineage; waiting for how that ends`);
  }
  return undefined;
}

/** Before this data starts, the peers had the time to prove or disprove its membership. */
function peersUnasked(view: View, data: ValidData, here: readonly GossipPeer[]): StartOutcome | undefined {
  if (!view.settings.gossip || data.members.length <= 1) return undefined;
  const joined = view.gossipJoinedAtMs;
  const askedEnough = joined === undefined
    ? view.nowMs - view.bootedAtMs >= askPeersMs
    : view.nowMs - joined >= settleMs && here.every((peer) => peer.isLegacy || hasLooked(peer)) ||
      view.nowMs - joined >= askPeersMs;
  if (!askedEnough) return wait("asking_peers", "asking the peers for proof against the own data before starting");
  // A peer whose etcd says it runs can prove or disprove the membership: ask it before starting.
  const unasked = here.find((peer) =>
    peer.state === "alive" && peer.status === "running" && !view.endpoints.has(peer.clientUrl)
  );
  if (unasked !== undefined && view.nowMs - view.bootedAtMs < 2 * askPeersMs) {
    return wait("asking_peers", `asking the etcd beside "${unasked.name}" whether this member is still listed`);
  }
  return undefined;
}

/** Gossip carries the terms within a second; a node of an earlier release of e2d publishes none. */
const askTermsMs = 10_000;

/**
 * The name of a node beside an answering member whose log terms are not known yet, if those of none are: before this data
 * starts or is quarantined, its log must have been compared with the cluster's (log_terms.ts).
 */
function withoutTerms({ logTerms: own, peers }: View, { clusterId }: ValidData, { via }: RunningCluster) {
  if (own === undefined || own.starts.length === 0) return undefined;
  const members = peers.filter((peer) => !peer.isLegacy && via.includes(peer.clientUrl));
  return members.some(({ facts }) => facts?.logTerms?.clusterId === clusterId) ? undefined : members[0]?.name;
}

/** A peer that inspects its disk has not said yet what its record knows of this member. */
const hasLooked = ({ facts }: GossipPeer) => facts !== undefined && facts.data.kind !== "unknown";

/** A quorum of the own life's disks is here, and no node has data of what was pledged instead: the disks decide. */
export function outranks(view: View, data: ValidData, pledged: Pledge, here: readonly GossipPeer[]): boolean {
  const { holding, voters } = countDisks(view, data);
  const begun = here.some(({ facts }) => facts?.data.kind === "held" && facts.data.lineage.token === pledged.token);
  return holding.length >= quorumOf(voters) && !begun;
}

/**
 * The bootstrap of this data was left by its initial members for another one: it never had a quorum. Peers publish that,
 * and a quorum of the cluster that they left it for must answer.
 */
export function renouncedFor(
  view: View,
  data: ValidData,
  own: Lineage,
  here: readonly GossipPeer[],
): StartOutcome | undefined {
  const clusters = livingClusters(view);
  const witness = here.find(({ facts }) =>
    facts?.renounced.includes(own.token) && facts.data.kind === "held" &&
    clusters.some(({ answer }) => facts.data.kind === "held" && answer.clusterId === facts.data.clusterId)
  );
  if (witness === undefined) return undefined;
  const { holding, voters } = countDisks(view, data);
  if (holding.length >= quorumOf(voters)) return undefined;
  const text = `the bootstrap of this data was left by its initial members for another one ("${witness.name}")`;
  return { kind: "quarantine", label: "superseded", reason: { code: "bootstrap_renounced", text } };
}
