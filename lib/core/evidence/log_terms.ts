/**
 * Two raft logs of one cluster with different entries that both were committed: a quorum of disks went back in time, and
 * the cluster overwrote what it had acknowledged. etcd does not detect it: a follower answers that it has everything up
 * to its own commit index, whatever the leader's entries there are (raft.go, handleAppendEntries), and serves different
 * data from then on. Revisions do not show it either, once the cluster has written as much as it lost.
 *
 * Each node publishes the terms of entries of its own log that are committed, and compares those of the others with its
 * own log. Source of the rule: Raft, state machine safety.
 *
 * Known limit: a node knows the newest file of its own log only (64 MiB).
 */
import type { View } from "../facts/view.ts";
import { isPresent } from "../facts/peer.ts";
import type { LogPosition, LogTerms } from "../facts/node_record.ts";

/** Terms that a node publishes at most, the newest: terms end with elections. */
const publishedMax = 32;

/** The entries that are published: with those that an earlier look found in files that etcd has removed since. */
export function withEarlier(known: LogTerms | undefined, found: LogTerms): LogTerms {
  const first = found.starts[0];
  if (known?.clusterId !== found.clusterId || first === undefined) return found;
  const before = known.starts.filter(({ index }) => index < first.index);
  return { clusterId: found.clusterId, starts: [...before, ...found.starts].slice(-publishedMax) };
}

/** The own committed index, as far as it is known: applied to the database, or reported by the own etcd. */
export function committedIndex({ data, endpoints, self }: View): number {
  if (data.kind !== "valid") return 0;
  const own = endpoints.get(self.clientUrl)?.last;
  const reported = own?.kind === "answer" && own.memberId === data.memberId ? own.raftIndex : 0;
  return Math.max(data.raftIndex, reported);
}

export interface LogConflict {
  readonly index: number;
  /** Of the entry in the own log. */
  readonly ownTerm: number;
  /** Of the entry in the other log. */
  readonly term: number;
  /** Name of the node with the other log. */
  readonly name: string;
}

/** The first committed entry of the own log that a peer's committed log has in another term. Undefined: none is known. */
export function logConflict(view: View): LogConflict | undefined {
  const { logTerms: own, data } = view;
  if (own === undefined || data.kind !== "valid" || own.clusterId !== data.clusterId) return undefined;
  const found: LogConflict[] = [];
  for (const { name, facts } of view.peers.filter(isPresent)) {
    if (facts?.logTerms?.clusterId !== own.clusterId) continue;
    for (const { term, index } of facts.logTerms.starts) {
      const ownTerm = index <= own.committedIndex ? termAt(own.starts, index) : undefined;
      if (ownTerm !== undefined && ownTerm !== term) found.push({ index, ownTerm, term, name });
    }
  }
  return found.sort((a, b) => a.index - b.index || (a.name < b.name ? -1 : 1))[0];
}

/** Undefined: the entry lies before the first that is known. */
const termAt = (starts: readonly LogPosition[], index: number): number | undefined =>
  starts.findLast((start) => start.index <= index)?.term;
