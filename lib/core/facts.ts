/** What a node tells its peers: made from its state alone, without the sequence number. */
import { catalogueDigest } from "./founding.ts";
import { ownLineage } from "./lineage.ts";
import { selfQuorumLost } from "./quorum.ts";
import type { Turn } from "./turn.ts";
import type { PeerData, PeerFacts, SeenCluster } from "./view.ts";

export function publishedFacts(turn: Turn): Omit<PeerFacts, "sequence"> & { sequence: 0 } {
  turn.changed();
  const { node, view } = turn;
  const { progress, record } = node;
  const catalogue = catalogueDigest(view);
  const lineage = ownLineage(view);
  const lost = lineage !== undefined && view.data.kind === "valid" && selfQuorumLost(view);
  return {
    nonce: record.nonce,
    formerNonces: record.formerNonces ?? [],
    sequence: 0,
    requiredSize: node.settings.requiredSize,
    phase: node.phase,
    data: ownData(turn),
    pledges: record.pledges.map(({ digest, token, founders, verified }) => ({
      digest,
      token,
      founders,
      ...(verified === undefined ? {} : { verified }),
    })),
    renounced: record.started?.renounced ?? [],
    approved: node.settings.approved,
    ...(record.seen === undefined ? {} : { seen: seenFact(record.seen) }),
    ...(progress.founding === undefined ? {} : { proposal: progress.founding.digest }),
    ...(progress.verified === undefined ? {} : { verified: progress.verified }),
    ...(progress.offer === undefined ? {} : { offer: progress.offer }),
    ...(catalogue === undefined ? {} : { catalogue }),
    ...(lost && view.data.kind === "valid"
      ? {
        quorumLost: {
          lineage,
          revision: view.data.revision,
          members: view.data.members.map((member) => member.id),
          raftIndex: view.data.raftIndex,
        },
      }
      : {}),
  };
}

function ownData(turn: Turn): PeerData {
  const { node, view } = turn;
  const { data } = node;
  const lineage = ownLineage(view);
  if (data.kind === "valid" && lineage !== undefined) {
    const { clusterId, memberId } = data;
    // While it serves the revision moves all the time and nobody needs it; it is said when it may matter.
    const revision = node.phase === "serving" && node.leaderlessSinceMs === undefined ? 0 : data.revision;
    return { kind: "held", clusterId, memberId, lineage, revision };
  }
  // Committed to a founding or a join: data is about to be there, though etcd has not named its ids yet.
  if (lineage !== undefined) return { kind: "held", clusterId: "", memberId: "", lineage, revision: 0 };
  switch (data.kind) {
    case "unknown":
    case "valid":
      return { kind: "unknown" };
    case "absent":
    case "empty":
      return node.recordKept ? { kind: "none" } : { kind: "unknown" };
    case "damaged":
      return { kind: "unusable", why: data.what };
    case "unreadable":
      return { kind: "unusable", why: data.why };
    default:
      return data satisfies never;
  }
}

function seenFact({ clusterId, newCluster }: SeenCluster): NonNullable<PeerFacts["seen"]> {
  return { clusterId, ...(newCluster === undefined ? {} : { newCluster }) };
}
