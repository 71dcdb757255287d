/** Which lineage a node's data belongs to, and which of two lives of a lineage is the newer. */
import { digestOf } from "../facts/digest.ts";
import type { View } from "../facts/view.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import type { Lineage, NodeRecord, SeenCluster, StartedData } from "../facts/node_record.ts";
import { isPresent, type PeerFacts } from "../facts/peer.ts";
import type { Settings } from "../facts/settings.ts";

/** Lives that a record remembers at most. */
const formerMax = 8;

/**
 * What the record knows of the data of this cluster: the record is bound to data by the cluster's id, so that data of
 * an earlier life on the same disk is never taken for that of a later one. A record of before ids were kept is bound to
 * whatever lies there, unless it knows that data from an earlier life.
 */
export function startedOf(clusterId: string, record: NodeRecord): StartedData | undefined {
  const known = [record.started, record.lost, ...record.former ?? []];
  const bound = known.find((each) => each?.clusterId === clusterId);
  if (bound !== undefined) return bound;
  return record.started?.clusterId === undefined ? record.started : undefined;
}

/** The lineage of data that no record of e2d is about (the original's, or an adopted etcd): its cluster id, epoch 0. */
export const unrecordedLineage = (clusterId: string): Lineage => ({
  id: clusterId,
  epoch: 0,
  token: legacyClusterToken,
});

export function lineageOfData(clusterId: string, record: NodeRecord): Lineage {
  const lineage = startedOf(clusterId, record)?.lineage;
  // Bootstrapped the original's way: the id could not be known before etcd made it.
  if (lineage === undefined || lineage.id === "") return unrecordedLineage(clusterId);
  return lineage;
}

/** The own lineage, as far as it is known: of valid data, or of an etcd that runs. */
export function ownLineage(view: Pick<View, "data" | "record">): Lineage | undefined {
  if (view.data.kind === "valid") return lineageOfData(view.data.clusterId, view.record);
  return view.record.started?.lineage;
}

const copyMark = "copy-";

/** Of a cluster that an operator made from a snapshot beside the one it is of; the token is new with each. */
export const copyLineage = (token: string): Lineage => ({
  id: `${copyMark}${digestOf("copy", token).slice(0, 24)}`,
  epoch: 1,
  token,
});

/** True for a drill or another copy: what it saves never takes the place of a file that it may not have made. */
export const isCopy = ({ id }: Pick<Lineage, "id">): boolean => id.startsWith(copyMark);

/** True when `other` descends from the same bootstrap and was rebuilt after `own`. */
export function supersedes(other: Lineage, own: Lineage): boolean {
  return other.id === own.id && other.epoch > own.epoch;
}

/**
 * The lineage of a running cluster: what it keeps in itself, else what peers with its data publish, else (a cluster of
 * Go nodes) its id at epoch 0. Undefined: a peer that may know has not published its facts yet.
 */
export function lineageOfCluster(answer: EtcdAnswer, view: View): Lineage | undefined {
  if (typeof answer.lineage === "object") return answer.lineage;
  const facts: PeerFacts[] = [];
  let unknown = false;
  for (const peer of view.peers) {
    if (!isPresent(peer)) continue;
    if (peer.facts !== undefined) facts.push(peer.facts);
    else if (!peer.isLegacy) unknown = true;
  }
  const published = publishedLineage(answer.clusterId, facts);
  if (published !== undefined) return published;
  return unknown ? undefined : unrecordedLineage(answer.clusterId);
}

/** What peers with data of that cluster publish, unless they contradict each other; epoch 0 is no knowledge. */
function publishedLineage(clusterId: string, facts: readonly PeerFacts[]): Lineage | undefined {
  let found: Lineage | undefined;
  for (const { data } of facts) {
    if (data.kind !== "held" || data.clusterId !== clusterId || data.lineage.epoch === 0) continue;
    if (found !== undefined && (found.id !== data.lineage.id || found.epoch !== data.lineage.epoch)) return undefined;
    found = data.lineage;
  }
  return found;
}

/**
 * The lineage that this node's record should have for its running etcd, when the record is missing or knows less: a
 * moved volume leaves the record behind. Undefined: the record is right, or nothing better is known.
 */
export function lineageToAdopt(view: View, own: EtcdAnswer): Lineage | undefined {
  const recorded = startedOf(own.clusterId, view.record)?.lineage;
  const known = typeof own.lineage === "object"
    ? own.lineage
    : publishedLineage(own.clusterId, view.peers.flatMap((peer) => peer.facts === undefined ? [] : [peer.facts]));
  if (known === undefined || recorded !== undefined && recorded.id === known.id && recorded.epoch === known.epoch) {
    return undefined;
  }
  // A record of an own bootstrap or restore is first-hand; what the cluster keeps in itself was agreed by its quorum.
  return recorded === undefined || recorded.epoch === 0 || typeof own.lineage === "object" ? known : undefined;
}

/**
 * False while a snapshot would be saved under a lineage that the record is about to replace: data without its record
 * counts as unrecorded until the cluster has answered whether it keeps a lineage.
 */
export function isLineageCertain(view: View, own: EtcdAnswer, lineage: Lineage): boolean {
  return (lineage.epoch > 0 || own.lineage !== undefined) && lineageToAdopt(view, own) === undefined;
}

/**
 * Data that this disk held and that is not there. A bootstrap that ended before its etcd was seen once has made none.
 */
export function lostData({ lost }: NodeRecord): StartedData | undefined {
  return lost?.clusterId === undefined ? undefined : lost;
}

/** The record of a node that begins anew: data that was lost becomes an earlier life. */
export function beginAnew({ lost, former = [], rival: _, undecided: __, ...record }: NodeRecord): NodeRecord {
  const lives = lost === undefined ? former : [...former, lost].slice(-formerMax);
  return { ...record, ...(lives.length === 0 ? {} : { former: lives }) };
}

/** The record once the data-dir that it lost is there again, or that of an earlier life is. */
export function withDataBack(record: NodeRecord, clusterId: string): NodeRecord {
  // Of before ids were kept: the cluster that was seen last is the one whose data was lost.
  const unbound = record.started === undefined && record.lost?.clusterId === undefined &&
    record.seen?.clusterId === clusterId;
  const back = startedOf(clusterId, record) ?? (unbound ? record.lost : undefined);
  if (back === undefined || back === record.started) return record;
  const { lost, former = [], started, ...rest } = record;
  const others = [...former, lost, started].filter((each) => each !== undefined && each !== back) as StartedData[];
  return { ...rest, started: back, ...(others.length === 0 ? {} : { former: others.slice(-formerMax) }) };
}

/** The etcd token and member list of the original: its nodes know no other. */
export const legacyClusterToken = "etcd-cluster";

/** `--new-cluster` names what comes after a cluster, and gives up no later one. */
export function isGivenUp({ newCluster }: Settings, seen: Pick<SeenCluster, "newCluster">): boolean {
  return newCluster !== undefined && newCluster !== seen.newCluster;
}
