/** Hides the peers of other clusters from the rules, and reports them. */
import type { Turn } from "../state/turn.ts";
import {
  type ClusterIdentity,
  clusterOf,
  clusterOfNode,
  isForeign,
  labelOf,
  named,
  otherwise,
  some,
} from "../evidence/foreign_peers.ts";
import { type GossipPeer, isPresent } from "../facts/peer.ts";
import type { Reason } from "../facts/reason.ts";

/**
 * How long a peer is known to be foreign before gossip ignores it: long enough for that peer to receive this node's facts
 * more than once, so that it ignores this node, too.
 */
export const shunAfterMs = 7_000;

/** Divides the peers that gossip knows into those that the rules see and foreign ones, and reports the latter. */
export function separateForeign(turn: Turn): void {
  const { node, now } = turn;
  const own = clusterOfNode({
    self: node.self,
    settings: node.settings,
    data: node.disk.data,
    record: node.disk.record,
    known: node.gossip.known,
    endpoints: node.membership.endpoints,
  });
  const foreign = own === undefined
    ? []
    : node.gossip.known.filter((peer) => isForeign(peer, own, node.membership.endpoints));
  node.gossip.peers = foreign.length === 0
    ? node.gossip.known
    : node.gossip.known.filter((peer) => !foreign.includes(peer));
  node.gossip.foreign = new Map(
    foreign.map((peer) => [peer.name, node.gossip.foreign.get(peer.name) ?? now.monotonicMs]),
  );
  const due = [...node.gossip.foreign].filter(([, sinceMs]) => now.monotonicMs - sinceMs >= shunAfterMs).map(([name]) =>
    name
  );
  for (const sinceMs of node.gossip.foreign.values()) {
    if (now.monotonicMs - sinceMs < shunAfterMs) turn.wakeAt(sinceMs + shunAfterMs);
  }
  if (due.join(" ") !== node.gossip.shunned.join(" ")) {
    node.gossip.shunned = due;
    turn.emit({ kind: "shunPeers", names: due });
  }
  if (own === undefined || foreign.length === 0) return turn.resolve("foreign_cluster");
  turn.report("error", foreignCluster(foreign, own, turn), { keepsReady: true });
}

export function foreignCluster(foreign: readonly GossipPeer[], own: ClusterIdentity, { node }: Turn): Reason {
  const { self, settings, gossip: { peers } } = node;
  const theirs = clusterOf(foreign[0]!, node.membership.endpoints)!;
  const ours = [self.gossipAddr, ...peers.filter(isPresent).map(({ gossipAddr }) => gossipAddr)];
  const wrong = foreign.map(({ gossipAddr }) => gossipAddr).filter((address) => settings.seeds.includes(address));
  return {
    code: "foreign_cluster",
    text: `the gossip of this node reaches another cluster, ${labelOf(theirs)}: ${
      some(foreign.map(named))
    }; this node belongs to ${labelOf(own)}`,
    hint: wrong.length > 0
      ? `remove ${wrong.join(", ")} from this node's --bootstrap-addrs and restart it; ${otherwise}`
      : `find the node with an address of the other cluster in its --bootstrap-addrs: one of ${
        some(foreign.map(({ gossipAddr }) => gossipAddr))
      } on a node of this cluster, or one of ${some(ours)} on a node of the other; ${otherwise}`,
  };
}
