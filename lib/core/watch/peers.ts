/**
 * Remembers peers after gossip has forgotten them: gossip drops a dead or stopped node after 30 seconds, but a hold of that
 * node still counts, and a planned stop takes longer. Bounded; lost with the process.
 */
import { withoutUndefined } from "../../without_undefined.ts";
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
      ...withoutUndefined({ hold }),
      ...withoutUndefined({ pause }),
      ...withoutUndefined({ leftAtMs }),
    };
    // Map order: the peer that was seen longest ago is forgotten first.
    next.delete(name);
    next.set(name, now);
  }
  // A peer of another cluster is forgotten.
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
