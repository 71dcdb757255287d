/**
 * The decision table: what a node without a running etcd does next, from what it sees. One outcome, with its reason.
 * Never guesses: whatever is unknown, unreadable or contradictory is waited for, for ever.
 */
import { lineageOfCluster, ownLineage, supersedes } from "./lineage.ts";
import { freshAnswer, survivorWithoutUs } from "./quorum.ts";
import { type EtcdAnswer, quorumOf, type Reason, type ValidData, type View } from "./view.ts";

export type StartOutcome =
  | { readonly kind: "wait"; readonly reason: Reason }
  /** End the process with an error: only for what no waiting can mend. */
  | { readonly kind: "refuse"; readonly reason: Reason }
  | { readonly kind: "restart"; readonly othersServe: boolean; readonly reason: Reason }
  /** Restart after telling the cluster the member's new peer URL. */
  | {
    readonly kind: "updateAddress";
    readonly via: readonly string[];
    readonly memberId: string;
    readonly reason: Reason;
  }
  | { readonly kind: "moveAside"; readonly label: "removed" | "superseded" | "damaged"; readonly reason: Reason }
  | { readonly kind: "join"; readonly cluster: RunningCluster; readonly reason: Reason }
  /** No data here and none to wait for: founding.ts and commit.ts go on. */
  | { readonly kind: "found"; readonly reason: Reason };

export interface RunningCluster {
  /** Client URLs that gave a linearizable answer. */
  readonly via: readonly string[];
  readonly answer: EtcdAnswer;
}

/** How long a node with data listens for proof against its data before it starts, when nobody answers at all. */
export const askPeersMs = 2_000;
/** How long it listens after the first peer has answered, so that the peers' facts can come. */
export const settleMs = 300;

/** A cluster with a quorum that the peers run; `contradiction` when peers run different ones. */
export function runningCluster(view: View): RunningCluster | { contradiction: string } | undefined {
  const found: { via: string; answer: EtcdAnswer }[] = [];
  for (const peer of view.peers) {
    if (peer.state !== "alive" && peer.state !== "suspect") continue;
    const answer = freshAnswer(view.endpoints.get(peer.clientUrl), view.nowMs);
    if (answer !== undefined && answer.linearizable && answer.leaderId !== undefined) {
      found.push({ via: peer.clientUrl, answer });
    }
  }
  const first = found[0];
  if (first === undefined) return undefined;
  const other = found.find(({ answer }) => answer.clusterId !== first.answer.clusterId);
  if (other !== undefined) {
    return {
      contradiction: `${first.via} serves cluster ${first.answer.clusterId}, ${other.via} ${other.answer.clusterId}`,
    };
  }
  // Of equal clusters the answer with the highest applied index is the newest.
  found.sort((a, b) => b.answer.raftAppliedIndex - a.answer.raftAppliedIndex);
  return { via: found.map(({ via }) => via), answer: found[0]!.answer };
}

const wait = (code: string, text: string, hint?: string): StartOutcome => ({
  kind: "wait",
  reason: { code, text, ...(hint === undefined ? {} : { hint }) },
});

/** A node without peers has nobody to wait for: an operator must look. */
const refuseData = (code: string, state: string): StartOutcome => ({
  kind: "refuse",
  reason: {
    code,
    text: `the data-dir ${state}; nothing was touched`,
    hint:
      "mend the disk or the permissions, or move the data-dir and its .e2d.json aside by hand and restore a snapshot",
  },
});

export function decideStart(view: View): StartOutcome {
  const { data } = view;
  if (data.kind === "unknown") return wait("inspecting", "looking at the own data-dir");
  if (data.kind === "unreadable") {
    if (!view.settings.gossip) return refuseData("data_unreadable", `cannot be read: ${data.why}`);
    return wait(
      "data_unreadable",
      `the data-dir cannot be read (${data.why}), and what cannot be read is never taken for empty`,
      "mend the disk or the permissions, or move the data-dir aside by hand",
    );
  }
  const cluster = runningCluster(view);
  if (cluster !== undefined && "contradiction" in cluster) {
    return wait("two_clusters", `the peers run two clusters: ${cluster.contradiction}`, "stop one of the two");
  }
  if (cluster !== undefined) {
    const { recordedSize, formerSizes } = cluster.answer;
    const size = view.settings.requiredSize;
    if (recordedSize !== undefined && recordedSize !== size && !formerSizes.includes(size)) {
      return {
        kind: "refuse",
        reason: {
          code: "size_contradicts_record",
          text: `-n ${size} contradicts the cluster's record, which says ${recordedSize}`,
          hint: `start this node with -n ${recordedSize}, or change the cluster with "e2d scale"`,
        },
      };
    }
  }
  if (data.kind === "damaged") {
    if (!view.settings.gossip) return refuseData("data_damaged", `is damaged: ${data.what}`);
    if (cluster === undefined) {
      return wait(
        "data_damaged",
        `the data-dir is damaged (${data.what}), and no running cluster could give this node its data anew`,
        "start the other members first",
      );
    }
    return {
      kind: "moveAside",
      label: "damaged",
      reason: {
        code: "data_damaged",
        text: `the data-dir is damaged (${data.what}); the running cluster has the data`,
      },
    };
  }
  if (data.kind === "valid") return decideRestart(view, data, cluster);
  if (cluster !== undefined) {
    return { kind: "join", cluster, reason: { code: "cluster_runs", text: "a running cluster was found" } };
  }
  const running = view.peers.filter((peer) => peer.state === "alive" && peer.status === "running");
  if (running.length > 0) {
    return wait(
      "running_peer_silent",
      `"${running[0]!.name}" says that its etcd runs, but no member answers with a quorum`,
    );
  }
  if (view.settings.gossip && view.gossipJoinedAtMs === undefined && view.settings.requiredSize > 1) {
    const asked = view.settings.seeds.filter((seed) => seed !== view.self.gossipAddr).join(", ");
    return wait(
      "nobody_answers",
      `no other node has answered by gossip yet${asked === "" ? "; no address of one is known" : `: asked ${asked}`}`,
    );
  }
  return { kind: "found", reason: { code: "no_data_anywhere", text: "nobody who can be reached holds data" } };
}

function decideRestart(view: View, data: ValidData, cluster: RunningCluster | undefined): StartOutcome {
  const own = ownLineage(view)!;
  const here = view.peers.filter((peer) => peer.state === "alive" || peer.state === "suspect");

  for (const peer of here) {
    const theirs = peer.facts?.data;
    if (theirs?.kind === "held" && supersedes(theirs.lineage, own)) {
      return {
        kind: "moveAside",
        label: "superseded",
        reason: {
          code: "newer_epoch",
          text: `"${peer.name}" holds epoch ${theirs.lineage.epoch} of this lineage, this node epoch ${own.epoch}`,
        },
      };
    }
  }
  if (
    view.catalogue.kind === "newest" && view.catalogue.lineage?.id === own.id && view.catalogue.epochMax > own.epoch
  ) {
    return {
      kind: "moveAside",
      label: "superseded",
      reason: {
        code: "newer_epoch_stored",
        text: `the store knows epoch ${view.catalogue.epochMax} of this lineage, this node holds epoch ${own.epoch}`,
      },
    };
  }
  if (cluster !== undefined && cluster.answer.clusterId !== data.clusterId) {
    const renounced = here.some((peer) => peer.facts?.renounced.includes(own.token));
    if (renounced) {
      return {
        kind: "moveAside",
        label: "superseded",
        reason: { code: "founding_renounced", text: "the founding of this data was left by its founders for another" },
      };
    }
    return wait(
      "other_cluster",
      `the data-dir belongs to cluster ${data.clusterId}, the peers run ${cluster.answer.clusterId}`,
      "point this node at its own cluster, or move its data-dir aside by hand",
    );
  }
  if (cluster !== undefined) {
    const listed = cluster.answer.members.find((member) => member.id === data.memberId);
    if (listed === undefined) {
      return {
        kind: "moveAside",
        label: "removed",
        reason: { code: "removed_member", text: `the cluster does not list member ${data.memberId} any more` },
      };
    }
    if (!listed.peerUrls.includes(view.self.peerUrl)) {
      return {
        kind: "updateAddress",
        via: cluster.via,
        memberId: data.memberId,
        reason: { code: "address_changed", text: `the cluster knows this member at ${listed.peerUrls.join(", ")}` },
      };
    }
    return {
      kind: "restart",
      othersServe: true,
      reason: { code: "still_listed", text: "the data-dir is valid, the cluster lists it" },
    };
  }
  const without = survivorWithoutUs(view);
  if (without !== undefined) {
    return {
      kind: "moveAside",
      label: "removed",
      reason: { code: "removed_member", text: `the newer log of "${without.name}" does not list this member any more` },
    };
  }
  const pledged = view.record.pledges.at(-1);
  if (pledged !== undefined && pledged.token !== own.token) {
    return wait(
      "recovery_pending",
      `this node pledged its data to the recovery ${pledged.digest.slice(0, 8)} and waits for its founders`,
      "bring its other founders back",
    );
  }
  const recovering = here.find((peer) =>
    peer.facts?.quorumLost?.lineage.id === own.id && peer.facts.pledges.length > 0
  );
  if (recovering !== undefined) {
    return wait("recovery_runs", `"${recovering.name}" is recovering this lineage; waiting for how that ends`);
  }
  if (view.settings.gossip && data.members.length > 1) {
    const joined = view.gossipJoinedAtMs;
    const askedEnough = joined === undefined
      ? view.nowMs - view.bootedAtMs >= askPeersMs
      : view.nowMs - joined >= settleMs && here.every((peer) => peer.go || peer.facts !== undefined) ||
        view.nowMs - joined >= askPeersMs;
    if (!askedEnough) return wait("asking_peers", "asking the peers for proof against the own data before starting");
    // A peer whose etcd says it runs can prove or disprove the membership: ask it before starting.
    const unasked = here.find((peer) =>
      peer.state === "alive" && peer.status === "running" && !view.endpoints.has(peer.clientUrl)
    );
    if (unasked !== undefined && view.nowMs - view.bootedAtMs < 2 * askPeersMs) {
      return wait("asking_peers", `asking the etcd beside "${unasked.name}" whether this member is still listed`);
    }
  }
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

/** The lineage a joiner takes over from the cluster. */
export function lineageToJoin(cluster: RunningCluster, view: View) {
  return lineageOfCluster(
    cluster.answer.clusterId,
    view.peers.flatMap((peer) => peer.state === "alive" && peer.facts !== undefined ? [peer.facts] : []),
  );
}
