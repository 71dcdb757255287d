/**
 * A member whose log on disk is shorter than it was (an older disk image, a disk that lost synced writes). It has
 * forgotten entries that it acknowledged; with its vote a majority can elect a leader without them, and acknowledged
 * writes are lost. It waits for an operator instead of starting.
 *
 * What is compared, and why it gives no false alarm. A member's status reports its committed index. etcd publishes that
 * index before it syncs the entries of the same raft Ready to its log (server/etcdserver/raft.go:
 * `updateCommittedIndex` comes before `storage.Save`), so a power failure may legally lose the newest index reported. One
 * Ready is saved before the next is handled: when a member has reported X and later reports more, X is on its disk
 * (`storedIndex`). Committed entries are never truncated, so from then on its log ends at X or later. The own end is
 * the last entry of the log or the applied index, whichever is higher: after a snapshot from the leader the log may end
 * before it. Indexes are compared within one cluster id and member id only; both are new after every restore.
 *
 * Known limit: a process that dies and restarts between two answers, twice, each time before its sync. Positions are kept
 * in memory and, at most a minute old, in the record; a disk that went back by less is not detected.
 */
import type { View } from "../facts/view.ts";
import type { EtcdAnswer, MemberAnswer } from "../facts/cluster.ts";
import type { NodeRecord, SeenLogs } from "../facts/node_record.ts";
import { isPresent } from "../facts/peer.ts";

/** Members remembered at most; beyond that the one that answered longest ago is forgotten. */
const membersMax = 64;

/** With one more answer of a member. */
export function withAnswer(
  known: ReadonlyMap<string, MemberAnswer>,
  { memberId, clusterId, raftIndex }: EtcdAnswer,
  atMs: number,
): ReadonlyMap<string, MemberAnswer> {
  const before = known.get(memberId);
  const same = before?.clusterId === clusterId ? before : undefined;
  const storedIndex = same === undefined
    ? 0
    : raftIndex > same.raftIndex
    ? Math.max(same.storedIndex, same.raftIndex)
    : same.storedIndex;
  const next = new Map(known);
  next.delete(memberId);
  next.set(memberId, { clusterId, atMs, raftIndex, storedIndex });
  for (const id of next.keys()) {
    if (next.size <= membersMax) break;
    next.delete(id);
  }
  return next;
}

/** What the record is to say of the logs of this cluster's members; `listed`: ids that the cluster lists, when known. */
export function seenLogs(
  record: NodeRecord,
  answers: ReadonlyMap<string, MemberAnswer>,
  { clusterId, listed }: { clusterId: string; listed: ReadonlySet<string> },
): SeenLogs | undefined {
  const indexes = new Map<string, number>();
  const note = (id: string, index: number) => {
    if (index > 0 && (listed.size === 0 || listed.has(id))) indexes.set(id, Math.max(index, indexes.get(id) ?? index));
  };
  if (record.logs?.clusterId === clusterId) {
    for (const { memberId, index } of record.logs.members) note(memberId, index);
  }
  for (const [id, answer] of answers) if (answer.clusterId === clusterId) note(id, answer.storedIndex);
  if (indexes.size === 0) return undefined;
  const members = [...indexes].map(([memberId, index]) => ({ memberId, index }))
    .sort((a, b) => a.memberId < b.memberId ? -1 : 1);
  return { clusterId, members };
}

export interface LogGap {
  readonly ownIndex: number;
  readonly seenIndex: number;
  /** Who saw it: "this node", or a peer's quoted name. */
  readonly witness: string;
}

/** Undefined: nobody here has seen this member's log reach further than it does now. */
export function logWentBack(view: View): LogGap | undefined {
  const { data, record, peers, memberAnswers } = view;
  if (data.kind !== "valid" || data.lastLog === undefined) return undefined;
  const ownIndex = Math.max(data.lastLog.index, data.raftIndex);
  let gap: LogGap | undefined;
  const hear = (logs: SeenLogs | undefined, witness: string) => {
    if (logs?.clusterId !== data.clusterId) return;
    const seenIndex = logs.members.find(({ memberId }) => memberId === data.memberId)?.index ?? 0;
    if (seenIndex > ownIndex && seenIndex > (gap?.seenIndex ?? 0)) gap = { ownIndex, seenIndex, witness };
  };
  hear(seenLogs(record, memberAnswers, { clusterId: data.clusterId, listed: new Set() }), "this node");
  for (const { name, facts } of peers.filter(isPresent)) hear(facts?.logs, `"${name}"`);
  return gap;
}
