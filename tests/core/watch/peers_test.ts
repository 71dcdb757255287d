import { rememberPeers } from "../../../lib/core/watch/peers.ts";
import type { GossipPeer, RememberedPeer } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { facts, peer } from "../facts.ts";
import { turnOf } from "../turns.ts";

const hold = { sinceWallMs: 1 };
const pause = { clusterId: "c1", paused: true, version: 1 };
const url = (name: string) => `http://${name}:2380`;

/** What is remembered of these peers, beside what was remembered before. */
function remembered(
  peers: readonly GossipPeer[],
  before: Readonly<Record<string, RememberedPeer>> = {},
  known: readonly GossipPeer[] = peers,
) {
  const turn = turnOf({ gossip: { peers, known, rememberedPeers: new Map(Object.entries(before)) } });
  assertEquals(turn.view.rememberedPeers?.size, Object.keys(before).length);
  rememberPeers(turn);
  return turn.view.rememberedPeers!;
}

Deno.test("rememberPeers() keeps what a peer published last, and forgets what it published no more", () => {
  const of = (each: GossipPeer, before?: RememberedPeer) => remembered([each], before && { b: before }).get("b");
  const { facts: _, ...mute } = peer("b");
  assertEquals(of(peer("b")), { peerUrl: url("b") });
  assertEquals(of(peer("b", { facts: facts("b", { hold, pause }) })), { peerUrl: url("b"), hold, pause });
  assertEquals(of(mute, { peerUrl: "old", hold, pause }), { peerUrl: url("b"), hold, pause });
  assertEquals(of(mute), { peerUrl: url("b") });
  assertEquals(of(peer("b"), { peerUrl: "old", hold, pause }), { peerUrl: url("b") }, "it was released");
});

Deno.test("rememberPeers() knows when a peer left in order, until it is back", () => {
  const left = (state: GossipPeer["state"]) =>
    remembered([peer("b", { state, sinceMs: 7 })], { b: { peerUrl: url("b"), leftAtMs: 3 } }).get("b")?.leftAtMs;
  assertEquals([left("left"), left("dead"), left("alive")], [7, undefined, undefined]);
});

Deno.test("rememberPeers() keeps peers that gossip forgot, and none that turned out to be of another cluster", () => {
  const before = { gone: { peerUrl: url("gone"), hold }, foreign: { peerUrl: url("foreign"), hold } };
  const kept = remembered([peer("b")], before, [peer("b"), peer("foreign")]);
  assertEquals([...kept.keys()], ["gone", "b"]);
});

Deno.test("rememberPeers() keeps 64 peers, and forgets first the one that was seen longest ago", () => {
  const names = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => `n${from + at}`);
  const before = Object.fromEntries(names(0, 64).map((name) => [name, { peerUrl: url(name) }]));
  const kept = (...seen: string[]) => [...remembered(seen.map((name) => peer(name)), before).keys()];
  assertEquals(kept(), names(0, 64));
  assertEquals(kept("n0", "n64"), [...names(2, 64), "n0", "n64"]);
});
