/**
 * Whether a member of a cluster lives, by what it answers itself. Three-valued: a client URL that was not asked says
 * nothing about the member behind it, and a URL where another member answers is no answer of this one. Decides
 * nothing; the rules that remove a member or change its address ask here first.
 */
import type { View } from "../facts/view.ts";
import type { EtcdMember } from "../facts/cluster.ts";
import type { GossipPeer } from "../facts/peer.ts";

export type ClientEvidence =
  /** Not every client URL of the member was asked lately. */
  | { readonly kind: "unasked"; readonly urls: readonly string[] }
  /** A server that calls itself this member answers there. */
  | { readonly kind: "answers"; readonly url: string }
  /** All were asked, and none has answered as this member for so long; never longer than this node has watched. */
  | { readonly kind: "silent"; readonly forMs: number };

/** Probes of other members are at most 5 s apart (probe.ts); what is older was asked before something changed. */
const askedLatelyMs = 10_000;

/** True when this peer may be the node of that member: it has its peer URL, or its name and no data of another member. */
export function mayBeNodeOf(peer: GossipPeer, member: EtcdMember): boolean {
  if (member.peerUrls.includes(peer.peerUrl)) return true;
  if (member.name === "" || peer.name !== member.name) return false;
  const data = peer.facts?.data;
  // An empty node with a member's name at another address is a newcomer: the member has its data elsewhere, or is gone.
  if (data?.kind === "none") return false;
  return data?.kind !== "held" || data.memberId === "" || data.memberId === member.id;
}

/** The peers that may be this member's node, by gossip. */
export function nodesOf(member: EtcdMember, view: View): GossipPeer[] {
  return view.peers.filter((peer) => mayBeNodeOf(peer, member));
}

/** The client URLs at which a member is asked: its registered ones; before it has any, those of its node. */
function urlsOf(member: EtcdMember, view: View): readonly string[] {
  if (member.clientUrls.length > 0) return member.clientUrls;
  return nodesOf(member, view).map(({ clientUrl }) => clientUrl).slice(0, 1);
}

export function clientEvidence(member: EtcdMember, view: View): ClientEvidence {
  const { nowMs, endpoints, self } = view;
  // At this node's own client URL listens its own etcd or nobody.
  const urls = urlsOf(member, view).filter((url) => url !== self.clientUrl);
  for (const [url, { last, atMs }] of endpoints) {
    if (last.kind !== "answer" || last.memberId !== member.id) continue;
    if (url === self.clientUrl) continue;
    // At a URL that is registered no more an old answer says nothing about now.
    if (urls.includes(url) || nowMs - atMs <= askedLatelyMs) return { kind: "answers", url };
  }
  let since = Math.max(view.watchingSinceMs, view.memberAnswers.get(member.id)?.atMs ?? -Infinity);
  const unasked: string[] = [];
  for (const url of urls) {
    const facts = endpoints.get(url);
    if (facts === undefined || nowMs - facts.atMs > askedLatelyMs) unasked.push(url);
    else if (facts.failingSinceMs !== undefined) since = Math.max(since, facts.failingSinceMs);
  }
  if (unasked.length > 0) return { kind: "unasked", urls: unasked };
  return { kind: "silent", forMs: nowMs - since };
}

/** The node beside this member lives and reports that the member's etcd hangs. */
export function reportedHung(member: EtcdMember, view: View): boolean {
  return view.peers.some(({ state, facts }) => state === "alive" && facts?.etcdHung === member.id);
}
