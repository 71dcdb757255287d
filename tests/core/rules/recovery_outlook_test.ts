import { leftInOrderUntilMs, recoveryOutlook, stoppedInOrder } from "../../../lib/core/rules/recovery_outlook.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { GossipPeer, PeerData, RememberedPeer } from "../../../lib/core/facts/peer.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, nowMs, peer, settings, silent, view } from "../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const held = (name: string, memberId = `id-${name}`): Extract<PeerData, { kind: "held" }> => ({
  kind: "held",
  clusterId: "c1",
  memberId,
  lineage: { id: "l", epoch: 1, token: "t" },
  revision: 0,
});
const withData = (name: string, of: PeerData, change: Partial<GossipPeer> = {}) =>
  peer(name, { facts: facts(name, { data: of }), ...change });
const left = (leftAtMs: number | undefined, at = "http://c:2380"): RememberedPeer => ({
  peerUrl: at,
  ...(leftAtMs === undefined ? {} : { leftAtMs }),
});

Deno.test("a member that left gossip in order is expected back for two minutes, or half the quorum-loss time-out", () => {
  const until = (change: Partial<View>, c = members[2]!) => {
    const at = leftInOrderUntilMs(c, view("a", { rememberedPeers: new Map([["c", left(nowMs - 1_000)]]), ...change }));
    return at === undefined ? undefined : at - nowMs;
  };
  assertEquals(until({}), 119_000);
  assertEquals(until({ settings: settings({ quorumLossTimeoutMs: "never" }) }), 119_000);
  assertEquals(until({ settings: settings({ quorumLossTimeoutMs: 100_000 }) }), 49_000);
  assertEquals(until({ settings: settings({ quorumLossTimeoutMs: 240_000 }) }), 119_000);
  assertEquals(until({ watchingSinceMs: nowMs - 400 }), 119_600);
  const remembered = (...of: [string, RememberedPeer][]) => ({ rememberedPeers: new Map(of) });
  assertEquals(until(remembered(["c", left(nowMs - 119_999)])), 1);
  assertEquals(until(remembered(["c", left(nowMs - 120_000)])), undefined, "it is overdue");
  assertEquals(until(remembered(["c", left(undefined)])), undefined, "it did not leave");
  assertEquals(until({ rememberedPeers: new Map() }), undefined);
  assertEquals(until(remembered(["other", left(nowMs)])), 120_000, "by its address");
  assertEquals(until(remembered(["c", left(nowMs, "http://x:2380")])), 120_000, "by its name");
  assertEquals(until(remembered(["x", left(nowMs, "http://x:2380")])), undefined);
  assertEquals(until(remembered(["c", left(undefined)], ["other", left(nowMs)])), 120_000);
  const unnamed = { ...members[2]!, name: "" };
  assertEquals(until(remembered(["", left(nowMs, "http://x:2380")]), unnamed), undefined);
  for (const [state, expected] of [["left", 119_000], ["alive", undefined], ["dead", undefined]] as const) {
    assertEquals(until({ peers: [peer("b"), peer("c", { state })] }), expected, state);
  }
});

Deno.test("stoppedInOrder() names voters that left when it is they who are missing for a quorum", () => {
  const stopped = (names: string, of = members) =>
    stoppedInOrder(view("a", {
      data: data("a", of),
      rememberedPeers: new Map(names.split("").map((name) => [name, left(nowMs, `http://${name}:2380`)] as const)),
    }));
  assertEquals(stopped("bc"), ["b", "c"]);
  assertEquals(stopped("c"), []);
  assertEquals(stopped("bcd", [...members, member("d", { isLearner: true })]), ["b", "c"]);
  assertEquals(stoppedInOrder(view("a", { rememberedPeers: new Map([["c", left(nowMs)]]) })), []);
});

/** Survivor c: no leader since `leaderlessMs`, and etcd has not reached a and b for `silentMs`. */
function survivor(
  peers: readonly GossipPeer[],
  change: Partial<View> = {},
  leaderlessMs = 60_000,
  silentMs = leaderlessMs,
) {
  return view("c", {
    data: data("c", members),
    peers,
    leaderlessSinceMs: nowMs - leaderlessMs,
    endpoints: new Map(["a", "b"].map((name) => [`http://${name}:2379`, silent(nowMs - silentMs)])),
    ...change,
  });
}
const dead = (name: string, agoMs: number) => peer(name, { state: "dead", sinceMs: nowMs - agoMs });
const both = (agoMs: number) => [dead("a", agoMs), dead("b", agoMs)];

function told(seen: View): string {
  const outlook = recoveryOutlook(seen);
  if (outlook.kind === "at") return `in ${outlook.atMs - nowMs} ms`;
  return `${outlook.needsOperator ? "OPERATOR " : ""}${outlook.text}`;
}

Deno.test("recoveryOutlook() names the time that is missing, counted from what it watched itself", () => {
  assertEquals(told(survivor(both(60_000))), "in 540000 ms");
  assertEquals(told(survivor([dead("a", 60_000), dead("b", 10_000)])), "in 590000 ms", "gossip lost b later");
  assertEquals(told(survivor(both(60_000), {}, 60_000, 5_000)), "in 595000 ms", "etcd lost them later");
  assertEquals(told(survivor(both(60_000), {}, 1_000, 60_000)), "in 599000 ms", "its leader was lost later");
  assertEquals(told(survivor(both(60_000), { watchingSinceMs: nowMs })), "in 600000 ms", "this process stood still");
  const { leaderlessSinceMs: _, ...led } = survivor(both(60_000));
  assertEquals(told(led), "in 600000 ms");
  // An empty disk is waited for no longer.
  assertEquals(told(survivor([withData("a", { kind: "none" }), dead("b", 50_000)])), "in 550000 ms");
  // Its own disk may come back for as long as the time-out.
  const since = { sinceMs: nowMs - 10_000 };
  const line = { id: "l", epoch: 1, token: "t" };
  const unmounted = withData("a", { kind: "none", lost: line }, since);
  assertEquals(told(survivor([unmounted, dead("b", 50_000)])), "in 590000 ms");
  const removed = withData("a", { ...held("a", "id-x"), lastLog: { term: 1, index: 1 } }, since);
  const logged = {
    data: data("c", members, { lastLog: { term: 2, index: 9 } }),
    record: { nonce: "n", pledges: [], started: { lineage: line, how: "founded", clusterId: "c1", renounced: [] } },
  } as const;
  assertEquals(told(survivor([removed, dead("b", 50_000)], logged)), "in 590000 ms");
  // A learner is nobody's loss.
  const learner = { data: data("c", [...members, member("d", { isLearner: true })]) };
  assertEquals(told(survivor(both(60_000), learner)), "in 540000 ms");
});

Deno.test("recoveryOutlook() names what stops a recovery, and whether an operator must end it", () => {
  const { data: _, ...undecided } = survivor(both(60_000));
  const answers = new Map(survivor([]).endpoints).set("http://a:2379", answering(answer("a", members)));
  const table: [string, View][] = [
    ["OPERATOR this node has no peers", survivor([], { settings: settings({ gossip: false }) })],
    ["OPERATOR --quorum-loss-timeout never", survivor([], { settings: settings({ quorumLossTimeoutMs: "never" }) })],
    ["this node is looking at its data", { ...undecided, data: { kind: "unknown" } }],
    [
      '"a" is there and did not report what data it holds',
      survivor([withData("a", { kind: "unknown" }), dead("b", 1)]),
    ],
    ['"a" is there and did not report what data it holds', survivor([goPeer("a"), dead("b", 1)])],
    ['"a" is there and did not report what data it holds', survivor([withData("a", held("x", "id-x")), dead("b", 1)])],
    ['etcd of "a" answers', survivor(both(60_000), { endpoints: answers })],
    ['"a", "c" hold data and are a quorum once their etcd answers', survivor([withData("a", held("a")), dead("b", 1)])],
  ];
  for (const [expected, seen] of table) assertEquals(told(seen), expected);
  const hold = recoveryOutlook(survivor(both(1), { settings: settings({ hold: { sinceWallMs: 0 } }) }));
  assertEquals(hold.kind === "blocked" && hold.hint, 'bring members back, or on node "c" run: e2d hold --release');
  const quorum = recoveryOutlook(survivor([withData("a", held("a")), dead("b", 1)]));
  assertEquals(
    quorum.kind === "blocked" && quorum.hint,
    'find out why etcd does not answer on "a": e2d status there',
  );
  // One of two nodes of a member is at its address.
  const twice = [withData("a", held("a")), withData("a", held("a"), { peerUrl: "http://x:2380" }), dead("b", 1)];
  assertEquals(told(survivor(twice)), '"a", "c" hold data and are a quorum once their etcd answers');
});

Deno.test("recoveryOutlook() after the time-out: nodes are missing for -n, or the survivors do not agree yet", () => {
  const late = (more: readonly GossipPeer[], change: Partial<View> = {}) =>
    survivor([...both(600_000), ...more], change, 600_000);
  assertEquals(told(late([])), "OPERATOR 1 of 3 nodes have gathered");
  const { facts: _, ...mute } = peer("f");
  const others = [peer("d"), peer("e", { state: "suspect" }), goPeer("g"), mute];
  assertEquals(told(late(others)), "OPERATOR 2 of 3 nodes have gathered");
  assertEquals(told(late([peer("d"), peer("e")])), "other survivors do not agree yet that the quorum is lost");
  const hint = (of: View) => {
    const outlook = recoveryOutlook(of);
    return outlook.kind === "blocked" ? outlook.hint : "";
  };
  assertEquals(hint(late([peer("d")])), "start 1 more with the same settings, or bring members back");
  // A moment before nothing but time is missing.
  assertEquals(told(survivor(both(599_999), {}, 599_999)), "in 1 ms");
});

Deno.test("recoveryOutlook() names new addresses as what keeps a quorum of disks apart", () => {
  const at = (name: string, peerUrl?: string) =>
    peer(name, { facts: facts(name, { data: held(name) }), ...(peerUrl === undefined ? {} : { peerUrl }) });
  const away = (name: string) => at(name, `http://new-${name}:2380`);
  const self = { ...view("c").self, peerUrl: "http://new-c:2380" };
  const apart = recoveryOutlook(survivor([away("a"), away("b")], { self }));
  assert(apart.kind === "blocked" && apart.needsOperator);
  assert(apart.text.startsWith('"a", "b", "c" hold data at other addresses'), apart.text);
  const former = (name: string) => `"${name}" from http://new-${name}:2380 to http://${name}:2380`;
  assert(apart.hint.includes(`back (${["a", "b", "c"].map(former).join("; ")}), or`), apart.hint);
  // Disks in other machines than their members'.
  const exchanged = [
    peer("a", { facts: facts("a", { data: held("b") }) }),
    peer("b", { facts: facts("b", { data: held("c") }), peerUrl: "http://x:2380" }),
  ];
  const swapped = recoveryOutlook(survivor(exchanged, { self, data: data("a", members) }));
  assert(swapped.kind === "blocked" && swapped.needsOperator);
  assert(swapped.hint.includes('"b" from http://a:2380 to http://b:2380; "c" from http://x:2380'), swapped.hint);
  // Two at their addresses find each other.
  assertEquals(
    told(survivor([at("a"), away("b")])),
    '"a", "b", "c" hold data and are a quorum once their etcd answers',
  );
});
