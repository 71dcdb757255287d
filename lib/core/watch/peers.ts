/**
 * What this process remembers of peers that gossip has forgotten: gossip drops a dead or stopped node after 30 seconds,
 * while a hold set there still counts, and a planned stop takes longer than that. Bounded; lost with the process.
 */
import type { Turn } from "../state/turn.ts";
import type { RememberedPeer } from "../facts/peer.ts";

const peersMax = 64;

export function rememberPeers(turn: Turn): void {
  const { node } = turn;
  const before = node.gossip.rememberedPeers;
  const next = new Map(before);
  for (const { name, peerUrl, state, sinceMs, facts } of node.gossip.peers) {
    const known = before.get(name);
    const hold = facts === undefined ? known?.hold : facts.hold;
    const pause = facts === undefined ? known?.pause : facts.pause;
    const leftAtMs = state === "left" ? sinceMs : undefined;
    const now: RememberedPeer = {
      peerUrl,
      ...(hold === undefined ? {} : { hold }),
      ...(pause === undefined ? {} : { pause }),
      ...(leftAtMs === undefined ? {} : { leftAtMs }),
    };
    // The one that was seen last comes last: the oldest is forgotten first.
    next.delete(name);
    next.set(name, now);
  }
  // A node of another cluster, as it turned out.
  for (const { name } of node.gossip.known) {
    if (!node.gossip.peers.some((peer) => peer.name === name)) next.delete(name);
  }
  for (const name of next.keys()) {
    if (next.size <= peersMax) break;
    next.delete(name);
  }
  node.gossip.rememberedPeers = next;
  turn.invalidateView();
}
