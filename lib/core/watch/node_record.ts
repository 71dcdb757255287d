/** What a node has seen run, and which data is its own, outlives its process: `NodeRecord`. */
import { lineageToAdopt, startedOf, supersedes } from "../evidence/lineage.ts";
import { lifeToRemember } from "../evidence/order.ts";
import { seenLogs } from "../evidence/log_went_back.ts";
import type { Turn } from "../state/turn.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import type { Lineage, NodeRecord } from "../facts/node_record.ts";

/** How old the positions of the members' logs in the record may be. */
const logsEveryMs = 60_000;

/**
 * Writes down the last cluster that was seen with a quorum, when the record knows another one or other voters, which
 * data the record is about, and once a minute how far the members' logs reach.
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
    ...(lineageId === undefined ? {} : { lineageId }),
    ...(token === undefined ? {} : { token }),
    ...(newCluster === undefined ? {} : { newCluster }),
  };
  const same = known && lineageId === record.seen?.lineageId && token === record.seen?.token &&
    JSON.stringify(record.seen?.voters) === JSON.stringify(voters);
  return same ? record : { ...record, seen };
}

/**
 * A quorum of the own life lives: what this node pledged to while it was missing is void. Without this an initial member that
 * comes back with an old pledge would end a life that serves.
 */
function withoutPledges({ node }: Turn, record: NodeRecord): NodeRecord {
  const lives = ownWithQuorum(node) !== undefined && node.ownEtcd.leaderlessSinceMs === undefined;
  if (!lives) return record;
  const { undecided: _, ...rest } = record;
  // The own life runs: an operator has chosen it, or it had gone on all the time.
  const decided = record.undecided === undefined ? record : rest;
  return decided.pledges.length > 0 ? { ...decided, pledges: [] } : decided;
}

/** This data waits for an operator to choose between it and a later life, which may be out of sight at the next look. */
export function rememberUndecided(turn: Turn): void {
  const undecided = lifeToRemember(turn.view);
  if (undecided === undefined) return;
  turn.request("local", { kind: "writeRecord", record: { ...turn.node.disk.record, undecided } });
}

/** The own etcd's last answer, when it was given with a quorum. */
function ownWithQuorum({ membership: { endpoints }, self }: Turn["node"]): EtcdAnswer | undefined {
  const own = endpoints.get(self.clientUrl)?.last;
  return own?.kind === "answer" && own.linearizable ? own : undefined;
}

/** Binds the record to the cluster and member of the running etcd, and adopts the cluster's lineage where it had none. */
function withData({ node, view }: Turn, record: NodeRecord): NodeRecord {
  const own = ownWithQuorum(node);
  if (own === undefined || node.disk.data.kind !== "valid") return record;
  const { clusterId, memberId } = own;
  const started = startedOf(clusterId, record);
  const lineage = lineageToAdopt(view, own) ?? started?.lineage;
  if (lineage === undefined || lineage.id === "") return record;
  const { how, renounced } = started ?? { how: "joined" as const, renounced: [] };
  // A later life that this disk held before is given up once an operator has started this one.
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

/** What the leader's node writes into etcd: the lineage, once it is certain and the cluster does not keep it yet. */
export function lineageToKeep({ node: { disk: { record } } }: Turn, own: EtcdAnswer): Lineage | undefined {
  const { started } = record;
  if (own.lineage !== "absent" || started === undefined || started.clusterId !== own.clusterId) return undefined;
  return started.lineage.epoch === 0 ? undefined : started.lineage;
}

/** Once a minute while they grow, and with whatever else is written. */
function withLogs({ node, now }: Turn, record: NodeRecord): NodeRecord {
  if (node.membership.lastCluster === undefined) return record;
  const keptMs = node.disk.logsWrittenMs ?? node.process.bootedAtMs;
  if (record === node.disk.record && now.monotonicMs - keptMs < logsEveryMs) return record;
  const listed = new Set(node.membership.memberSinceMs.keys());
  const logs = seenLogs(record, node.membership.memberAnswers, {
    clusterId: node.membership.lastCluster.clusterId,
    listed,
  });
  return logs === undefined || JSON.stringify(logs) === JSON.stringify(record.logs) ? record : { ...record, logs };
}
