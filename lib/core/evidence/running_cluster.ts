/** Which running cluster a node sees, and whether the answers contradict each other. */
import type { EtcdAnswer } from "../facts/cluster.ts";
import type { View } from "../facts/view.ts";
import { livingClusters } from "./order.ts";

export interface RunningCluster {
  /** Client URLs that gave a linearizable answer. */
  readonly via: readonly string[];
  readonly answer: EtcdAnswer;
}

/** How long a node with data listens for proof against its data before it starts, when nobody answers at all. */
export const askPeersMs = 2_000;

/** How long it listens after the first peer has answered, so that the peers' facts can come. */
export const settleMs = 300;

/**
 * The cluster with a quorum that the peers run. `clusterId`: only that one counts; without it, of several clusters the
 * one that this node's record knows; `contradiction`: there are several, and nothing tells which is its own.
 */
export function runningCluster(view: View, clusterId?: string): RunningCluster | { contradiction: string } | undefined {
  const all = livingClusters(view);
  const id = clusterId ?? knownCluster(view, all.map(({ answer }) => answer));
  const found = id === undefined ? all : all.filter(({ answer }) => answer.clusterId === id);
  const first = found[0];
  if (first === undefined) return undefined;
  // Named in one order whichever answered last: the same contradiction is one wait, and one line of the log.
  const [one, other] = found.filter(({ answer }, at) =>
    found.findIndex((each) => each.answer.clusterId === answer.clusterId) === at
  ).sort((a, b) => a.answer.clusterId < b.answer.clusterId ? -1 : 1);
  if (other !== undefined) {
    const via = (id: string) => found.filter(({ answer }) => answer.clusterId === id).map((each) => each.via).sort()[0];
    const [a, b] = [one!.answer.clusterId, other.answer.clusterId];
    return { contradiction: `${via(a)} serves cluster ${a}, ${via(b)} ${b}` };
  }
  return { via: found.map(({ via }) => via), answer: first.answer };
}

/** Which of several clusters is the one that this node belonged to: by its id, or rebuilt from the same lineage. */
export function knownCluster({ record }: View, answers: readonly EtcdAnswer[]): string | undefined {
  const lineages = [record.started, record.lost, ...record.former ?? []].map((each) => each?.lineage.id);
  // Its very id first: of two lives of one lineage the record names one.
  const ids = [record.started?.clusterId, record.lost?.clusterId, record.seen?.clusterId];
  for (const id of ids) if (answers.some(({ clusterId }) => clusterId === id)) return id;
  const related = answers.filter(({ lineage }) => typeof lineage === "object" && lineages.includes(lineage.id));
  return related.every(({ clusterId }) => clusterId === related[0]!.clusterId) ? related[0]?.clusterId : undefined;
}

/** True when this node's own etcd leads, and proves by a linearizable read that it still does. */
export function leads(own: EtcdAnswer | undefined): boolean {
  return own !== undefined && own.linearizable && !own.isLearner && own.leaderId === own.memberId;
}
