/** The facts that a node publishes to its peers: a function of its state, without the sequence number. */
import { withoutUndefined } from "../without_undefined.ts";
import { backupFailure } from "./watch/backups.ts";
import { ownEtcdHung } from "./watch/etcd.ts";
import { lookupDigest } from "./rules/bootstrap/source.ts";
import { lostData, ownLineage } from "./evidence/lineage.ts";
import { selfQuorumLost } from "./rules/quorum_loss.ts";
import type { Turn } from "./state/turn.ts";
import type { PeerData, PeerFacts } from "./facts/peer.ts";
import type { SeenCluster } from "./facts/node_record.ts";

export function publishedFacts(turn: Turn): Omit<PeerFacts, "sequence"> & { sequence: 0 } {
  turn.invalidateView();
  const { node, view } = turn;
  const { bootstrap: { progress }, disk: { record } } = node;
  const snapshotLookup = lookupDigest(view);
  const lineage = ownLineage(view);
  const lastLog = view.data.kind === "valid" ? view.data.lastLog : undefined;
  const lost = lineage !== undefined && lastLog !== undefined && selfQuorumLost(view);
  const hung = ownEtcdHung(turn);
  const failure = backupFailure(turn);
  return {
    nonce: record.nonce,
    formerNonces: record.formerNonces ?? [],
    sequence: 0,
    requiredSize: node.settings.requiredSize,
    phase: node.phase,
    data: ownData(turn),
    pledges: record.pledges.map(({ digest, token, initialMembers, verified }) => ({
      digest,
      token,
      initialMembers,
      ...withoutUndefined({ verified }),
    })),
    renounced: record.started?.renounced ?? [],
    approved: node.settings.approved,
    ...withoutUndefined({ backupFailure: failure }),
    ...withoutUndefined({ etcdHung: hung }),
    ...withoutUndefined({ pause: node.operator.pauseMark }),
    ...withoutUndefined({ hold: node.settings.hold }),
    ...withoutUndefined({ undecided: record.undecided }),
    ...withoutUndefined({ logs: record.logs }),
    ...withoutUndefined({ logTerms: node.disk.publishedTerms }),
    ...(record.seen === undefined ? {} : { seen: seenFact(record.seen) }),
    ...(progress.plan === undefined ? {} : { proposal: progress.plan.digest }),
    ...withoutUndefined({ verified: progress.verified }),
    ...withoutUndefined({ offer: progress.offer }),
    ...withoutUndefined({ snapshotLookup }),
    ...(lost && view.data.kind === "valid"
      ? {
        quorumLost: {
          lineage,
          revision: view.data.revision,
          members: view.data.members.map((member) => member.id),
          raftIndex: view.data.raftIndex,
          lastLog,
        },
      }
      : {}),
  };
}

function ownData(turn: Turn): PeerData {
  const { node, view } = turn;
  const { disk: { data } } = node;
  const lineage = ownLineage(view);
  if (data.kind === "valid" && lineage !== undefined) {
    const { clusterId, memberId } = data;
    // While the cluster serves, the revision changes with each write and no rule uses it.
    const serves = node.phase === "serving" && node.ownEtcd.leaderlessSinceMs === undefined;
    const revision = serves ? 0 : data.revision;
    const lastLog = serves ? undefined : data.lastLog;
    return { kind: "held", clusterId, memberId, lineage, revision, ...withoutUndefined({ lastLog }) };
  }
  // Unusable data is not held, whatever the record states.
  if (data.kind === "damaged") return { kind: "unusable", why: data.what };
  if (data.kind === "unreadable") return { kind: "unusable", why: data.why };
  // After the commitment to a bootstrap or a join the data is about to exist; etcd has not reported its ids yet.
  if (lineage !== undefined) return { kind: "held", clusterId: "", memberId: "", lineage, revision: 0 };
  switch (data.kind) {
    case "unknown":
    case "valid":
      return { kind: "unknown" };
    case "absent":
    case "empty": {
      if (!node.disk.recordPersisted) return { kind: "unknown" };
      // A bootstrap in which etcd was never started has lost no data.
      const gone = lostData(node.disk.record);
      return { kind: "none", ...(gone === undefined ? {} : { lost: gone.lineage }) };
    }
    default:
      return data satisfies never;
  }
}

function seenFact({ voters: _, ...seen }: SeenCluster): NonNullable<PeerFacts["seen"]> {
  return seen;
}
