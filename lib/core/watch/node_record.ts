/** Keeps the node record up to date: the cluster last seen with a quorum, and the origin of the own data. */
import { withoutUndefined } from "../../without_undefined.ts";
import { lineageToAdopt, startedOf, supersedes } from "../evidence/lineage.ts";
import { lifeToRemember } from "../evidence/order.ts";
import { seenLogs } from "../evidence/log_went_back.ts";
import type { Turn } from "../state/turn.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import type { Lineage, NodeRecord } from "../facts/node_record.ts";

/** The maximum age of the ends of the members' logs in the record. */
const logsEveryMs = 60_000;

/**
 * Writes the record after a change of the last cluster seen with a quorum, of its voters or of the origin of the own data,
 * and once a minute with the ends of the members' logs.
 */
export function rememberCluster(turn: Turn): void {
  const { node } = turn;
  const record = withoutPledges(turn, withLogs(turn, withData(turn, withSeen(turn))));
  if (record === node.disk.record) return;
  if (turn.request("local", { kind: "writeRecord", record })) node.disk.logsWrittenMs = turn.now.monotonicMs;
}

function withSeen({ node: { membership: { lastCluster }, disk: { record }, settings } }: Turn): NodeRecord {
  if (lastCluster === undefined) return record;
  const { clusterId, voters } = lastCluster;
  const known = record.seen?.clusterId === clusterId;
  const newCluster = known ? record.seen?.newCluster : settings.newCluster;
  const { lineageId, token } = lastCluster.lineageId !== undefined || !known ? lastCluster : record.seen ?? lastCluster;
  const seen = {
    clusterId,
    voters,
    ...withoutUndefined({ lineageId }),
    ...withoutUndefined({ token }),
    ...withoutUndefined({ newCluster }),
  };
  const same = known && lineageId === record.seen?.lineageId && token === record.seen?.token &&
    JSON.stringify(record.seen?.voters) === JSON.stringify(voters);
  return same ? record : { ...record, seen };
}

/**
 * While the own life has a quorum, the pledges that this node made before are void. Otherwise an initial member that
 * returns with an old pledge would end a life that serves.
 */
function withoutPledges({ node }: Turn, record: NodeRecord): NodeRecord {
  const lives = ownWithQuorum(node) !== undefined && node.ownEtcd.leaderlessSinceMs === undefined;
  if (!lives) return record;
  const { undecided: _, ...rest } = record;
  // The own life runs: an operator has chosen it, or it never stopped.
  const decided = record.undecided === undefined ? record : rest;
  return decided.pledges.length > 0 ? { ...decided, pledges: [] } : decided;
}

/** Records that this data waits for an operator to choose between it and a later life, which may be invisible later. */
export function rememberUndecided(turn: Turn): void {
  const undecided = lifeToRemember(turn.view);
  if (undecided === undefined) return;
  turn.request("local", { kind: "writeRecord", record: { ...turn.node.disk.record, undecided } });
}

/** The last answer of the own etcd if it had a quorum. */
function ownWithQuorum({ membership: { endpoints }, self }: Turn["node"]): EtcdAnswer | undefined {
  const own = endpoints.get(self.clientUrl)?.last;
  return own?.kind === "answer" && own.linearizable ? own : undefined;
}

/** Binds the record to the cluster and member of the running etcd, and adopts the cluster's lineage if it has none. */
function withData({ node, view }: Turn, record: NodeRecord): NodeRecord {
  const own = ownWithQuorum(node);
  if (own === undefined || node.disk.data.kind !== "valid") return record;
  const { clusterId, memberId } = own;
  const started = startedOf(clusterId, record);
  const lineage = lineageToAdopt(view, own) ?? started?.lineage;
  if (lineage === undefined || lineage.id === "") return record;
  const { how, renounced } = started ?? { how: "joined" as const, renounced: [] };
  // A later life that this disk held before is superseded once an operator has started this one.
  const former = record.former?.filter((each) => !supersedes(each.lineage, lineage));
  const same = record.started !== undefined && record.started === started && started.lineage === lineage &&
    started.clusterId === clusterId && started.memberId === memberId && former?.length === record.former?.length;
  if (same) return record;
  const { former: _, ...rest } = record;
  return {
    ...rest,
    started: { lineage, how, renounced, clusterId, memberId },
    ...(former === undefined || former.length === 0 ? {} : { former }),
  };
}

/** The lineage that the leader's node writes to etcd; undefined: etcd has it, or it is not certain. */
export function lineageToKeep({ node: { disk: { record } } }: Turn, own: EtcdAnswer): Lineage | undefined {
  const { started } = record;
  if (own.lineage !== "absent" || started === undefined || started.clusterId !== own.clusterId) return undefined;
  return started.lineage.epoch === 0 ? undefined : started.lineage;
}

/** Adds the ends of the members' logs once a minute, and whenever the record is written for another reason. */
function withLogs({ node, now }: Turn, record: NodeRecord): NodeRecord {
  if (node.membership.lastCluster === undefined) return record;
  const writtenMs = node.disk.logsWrittenMs ?? node.process.bootedAtMs;
  if (record === node.disk.record && now.monotonicMs - writtenMs < logsEveryMs) return record;
  const listed = new Set(node.membership.memberSinceMs.keys());
  const logs = seenLogs(record, node.membership.memberAnswers, {
    clusterId: node.membership.lastCluster.clusterId,
    listed,
  });
  return logs === undefined || JSON.stringify(logs) === JSON.stringify(record.logs) ? record : { ...record, logs };
}
