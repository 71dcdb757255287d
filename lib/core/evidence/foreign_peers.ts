/**
 * Peers of another cluster: one wrong bootstrap address joins the gossip of two clusters, and no rule of one may count the
 * nodes of the other. A peer is foreign by what it says of its data, held against this node's own data or memory; what is
 * unknown is never foreign. A foreign peer is kept from the rules and reported; nothing is done to it.
 */
import { isGivenUp, lineageOfData } from "./lineage.ts";
import type { View } from "../facts/view.ts";
import type { EndpointFacts, EtcdMember } from "../facts/cluster.ts";
import { type GossipPeer, isPresent } from "../facts/peer.ts";
import type { Lineage, StartedData } from "../facts/node_record.ts";
import type { Reason } from "../facts/reason.ts";

/** The cluster that a node belongs to, as far as it is known. */
export interface ClusterIdentity {
  readonly lineageId: string;
  /** Undefined while etcd has not named it. */
  readonly clusterId?: string;
  /** Of the life whose data it has. */
  readonly token?: string;
  readonly renounced?: readonly string[];
  /** Tokens of the lives that its node has pledged to begin: after a loss it has not begun them yet. */
  readonly pledged?: readonly string[] | undefined;
}

/** The own cluster, by the own data or by what the node's record remembers; undefined: it belongs to none yet. */
export function ownCluster(view: Pick<View, "data" | "record" | "settings">): ClusterIdentity | undefined {
  const { data, record, settings } = view;
  const { started, lost, seen } = record;
  const pledged = record.pledges.map(({ token }) => token);
  if (data.kind === "valid") return identity(lineageOfData(data.clusterId, record), data.clusterId, started, pledged);
  if (started !== undefined) return identity(started.lineage, started.clusterId, started, pledged);
  if (seen !== undefined && isGivenUp(settings, seen)) return undefined;
  if (lost !== undefined) return identity(lost.lineage, lost.clusterId ?? seen?.clusterId, lost, pledged);
  if (seen?.lineageId === undefined) return undefined;
  return { lineageId: seen.lineageId, clusterId: seen.clusterId, pledged };
}

function identity(
  { id, token }: Lineage,
  clusterId: string | undefined,
  started: StartedData | undefined,
  pledged: readonly string[],
): ClusterIdentity | undefined {
  if (id === "") return undefined;
  return { lineageId: id, token, renounced: started?.renounced ?? [], pledged, ...(clusterId ? { clusterId } : {}) };
}

/** The cluster of a peer; undefined: it has none, or it is not known. */
export function clusterOf(
  peer: GossipPeer,
  endpoints: ReadonlyMap<string, EndpointFacts>,
): ClusterIdentity | undefined {
  if (peer.isLegacy) {
    const last = endpoints.get(peer.clientUrl)?.last;
    // A cluster of the original has no lineage but its id.
    return last?.kind === "answer" ? { lineageId: last.clusterId, clusterId: last.clusterId } : undefined;
  }
  const { facts } = peer;
  const pledged = facts?.pledges.map(({ token }) => token);
  if (facts?.data.kind === "held") {
    const { lineage, clusterId } = facts.data;
    if (lineage.id === "") return undefined;
    const { id: lineageId, token } = lineage;
    return { lineageId, token, renounced: facts.renounced, pledged, ...(clusterId === "" ? {} : { clusterId }) };
  }
  const lost = facts?.data.kind === "none" ? facts.data.lost : undefined;
  return lost === undefined || lost.id === "" ? undefined : { lineageId: lost.id, token: lost.token, pledged };
}

/** True when two nodes cannot be of one cluster, whatever epoch each of them is at. */
export function differ(a: ClusterIdentity, b: ClusterIdentity): boolean {
  const names = (each: ClusterIdentity) => [each.lineageId, ...(each.clusterId === undefined ? [] : [each.clusterId])];
  // Where a lineage was lost, or is the original's, it is the id of the etcd cluster.
  if (names(a).some((name) => names(b).includes(name))) return false;
  // Two plans of the same initial members, who left one for the other.
  const left = (one: ClusterIdentity, other: ClusterIdentity) =>
    one.token !== undefined && other.renounced?.includes(one.token) === true;
  // One that lost its data has pledged the life that the other has begun already.
  const begins = (one: ClusterIdentity, other: ClusterIdentity) =>
    one.pledged?.some((token) => token === other.token) === true;
  return !left(a, b) && !left(b, a) && !begins(a, b) && !begins(b, a);
}

/** True when a peer is of another cluster than `own`. */
export function isForeign(
  peer: GossipPeer,
  own: ClusterIdentity,
  endpoints: ReadonlyMap<string, EndpointFacts>,
): boolean {
  if (!isPresent(peer)) return false;
  const theirs = clusterOf(peer, endpoints);
  if (theirs === undefined) return false;
  // The original's cluster may be one that a restore of this lineage made: only data that is here tells.
  if (peer.isLegacy && own.clusterId === undefined) return false;
  return differ(own, theirs);
}

/** All peers that gossip knows, those of another cluster included. */
interface KnownPeers {
  readonly known: readonly GossipPeer[];
}

/**
 * The cluster that the bootstrap list names, for a node that belongs to none: all peers at its addresses that have a
 * cluster have the same. Undefined: they have none or several, or an address is silent and may be of another one.
 */
export function namedCluster(
  { known, settings, self, endpoints }: KnownPeers & Pick<View, "settings" | "self" | "endpoints">,
): ClusterIdentity | undefined {
  const clusters: ClusterIdentity[] = [];
  for (const address of settings.seeds) {
    if (address === self.gossipAddr) continue;
    const peer = known.find((each) => isPresent(each) && each.gossipAddr === address);
    if (peer === undefined || !peer.isLegacy && (peer.facts?.data.kind ?? "unknown") === "unknown") return undefined;
    const cluster = clusterOf(peer, endpoints);
    if (cluster !== undefined) clusters.push(cluster);
  }
  const [first] = clusters;
  return first === undefined || clusters.some((each) => differ(first, each)) ? undefined : first;
}

/**
 * A node without data, present or lost, that only saw a cluster run (as a standby node, perhaps of one that its gossip
 * reached by mistake) belongs to the cluster that its whole bootstrap list names.
 */
export function clusterOfNode(
  node: KnownPeers & Pick<View, "data" | "record" | "settings" | "self" | "endpoints">,
): ClusterIdentity | undefined {
  const { data, record } = node;
  const held = data.kind === "valid" || record.started !== undefined || record.lost !== undefined;
  return (held ? undefined : namedCluster(node)) ?? ownCluster(node);
}

/** Two clusters among the peers of a node that belongs to none: it cannot know which one it is meant for. */
export function twoClusters({ peers, endpoints }: Pick<View, "peers" | "endpoints">): Reason | undefined {
  const known = peers.filter(isPresent).flatMap((peer) => {
    const cluster = clusterOf(peer, endpoints);
    return cluster === undefined ? [] : [{ peer, cluster }];
  });
  const first = known[0];
  const other = known.find(({ cluster }) => differ(first!.cluster, cluster));
  if (first === undefined || other === undefined) return undefined;
  return {
    code: "two_clusters",
    text: `the peers belong to two clusters: ${named(first.peer)} to ${labelOf(first.cluster)}, ${
      named(other.peer)
    } to ${labelOf(other.cluster)}`,
    hint: "take the addresses of the cluster that this node is not meant for out of every --bootstrap-addrs, " +
      "and restart the nodes that had them",
  };
}

/**
 * Why this standby node is probably meant for another cluster than `members` are of: its bootstrap list names none of
 * them, and names enough nodes without data for a cluster of their own. Two clusters whose gossip was joined before the
 * bootstrap look like that, and only an operator can tell. Undefined: nothing speaks for it, or it is not known.
 */
export function unlistedCluster(
  { settings, peers }: Pick<View, "settings" | "peers">,
  members: readonly Pick<EtcdMember, "name" | "peerUrls">[],
): Reason | undefined {
  const here = peers.filter(isPresent);
  const isListed = ({ gossipAddr }: GossipPeer) => settings.seeds.includes(gossipAddr);
  for (const { peerUrls } of members) {
    const node = here.find(({ peerUrl }) => peerUrls.includes(peerUrl));
    // One that is not in gossip may be at any address.
    if (node === undefined || isListed(node)) return undefined;
  }
  const waiting = here.filter((peer) => isListed(peer) && peer.facts?.data.kind === "none");
  if (waiting.length === 0 || waiting.length + 1 < settings.requiredSize) return undefined;
  const names = members.map(({ name }) => `"${name}"`).sort();
  return {
    code: "standby_unlisted",
    text: `${names.join(", ")} take all ${members.length} places, none of them is in this node's bootstrap list, and ${
      some(waiting.map(named).sort())
    } of that list are standby nodes, too`,
    hint:
      "if these are two clusters, take the addresses of the other one out of every --bootstrap-addrs, stop the nodes " +
      "of this list for a minute and start them; they ask before they restore a snapshot, and begin empty with " +
      "--new-cluster NAME; if they are one, add its members to --bootstrap-addrs",
  };
}

export const otherwise = "to give this node to the other cluster, stop it and move its data-dir and .e2d.json away";
export const named = ({ name, gossipAddr }: GossipPeer) => `"${name}" (${gossipAddr})`;
export const labelOf = ({ lineageId, clusterId }: ClusterIdentity) =>
  clusterId === undefined ? `lineage ${lineageId}` : `cluster ${clusterId} (lineage ${lineageId})`;
export const some = (texts: readonly string[]) =>
  texts.length <= 3 ? texts.join(", ") : `${texts.slice(0, 3).join(", ")} and ${texts.length - 3} more`;
