import { besideLegacyPeers, rangeToJoin, rangeToRestart } from "../../../lib/core/rules/etcd_range.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, nowMs, peer, silent, view } from "../facts.ts";
import { type EtcdRange, rangeText } from "../../../lib/core/facts/etcd_range.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { GossipPeer } from "../../../lib/core/facts/peer.ts";

const members = ["a", "b", "c"].map((name) => member(name));

/** What d sees; a version of undefined: that member is silent, "unasked": gossip sees it and nobody asked it yet. */
function seen(
  versions: readonly [string, string | undefined, string | undefined],
  change: Partial<EtcdAnswer> = {},
  of: (name: string, change: Partial<GossipPeer>) => GossipPeer = peer,
): { cluster: EtcdAnswer; view: View } {
  const answers = members.map((each, at) => answer(each.name, members, { version: versions[at] ?? "", ...change }));
  const endpoints = new Map(members.flatMap((each, at) => {
    const version = versions[at];
    if (version === "unasked") return [];
    return [[each.clientUrls[0]!, version === undefined ? silent(0) : answering(answers[at]!)] as const];
  }));
  const peers = members.filter((_, at) => versions[at] !== undefined).map(({ name }) =>
    of(name, { status: "running" })
  );
  return { cluster: answers[0]!, view: view("d", { endpoints, peers }) };
}

const text = (range: EtcdRange | undefined) => range === undefined ? "waits" : rangeText(range);

Deno.test("rangeToJoin() never goes below the cluster's version, nor more than one minor above the oldest member", () => {
  const table: [Parameters<typeof seen>, string][] = [
    // Three nodes of the Go original: the default, 3.6, would make them panic.
    [[["3.4.23", "3.4.23", "3.4.23"], { clusterVersion: "3.4.0" }, goPeer], "3.4 to 3.5"],
    [[["3.4.23", "3.4.23", "3.4.23"], {}, goPeer], "3.4 to 3.5"],
    [[["3.5.33", "3.4.23", "3.5.33"], {}], "3.4 to 3.5"],
    [[["3.6.14", "3.6.14", "3.6.14"], { clusterVersion: "3.6.0" }], "3.6 to 3.7"],
    // A rolling upgrade, and one whose end etcd has not seen yet.
    [[["3.7.3", "3.6.14", "3.7.3"], { clusterVersion: "3.6.0" }], "3.6 to 3.7"],
    [[["3.7.3", "3.7.3", "3.7.3"], { clusterVersion: "3.6.0" }], "3.6 to 3.7"],
    [[["3.7.3", "3.7.3", "3.7.3"], { clusterVersion: "3.7.0" }], "3.7 to 3.8"],
    // Patches that must not be followed by the next minor version.
    [[["3.5.25", "3.5.33", "3.5.33"], { clusterVersion: "3.5.0" }], "3.5"],
    [[["3.6.14", "3.6.14", "3.6.10"], { clusterVersion: "3.6.0" }], "3.6"],
  ];
  for (const [facts, expected] of table) {
    const { cluster, view } = seen(...facts);
    assertEquals(text(rangeToJoin(cluster, view)), expected, JSON.stringify(facts));
  }
});

Deno.test("rangeToJoin() takes no unknown version for one that a newer etcd may run beside", () => {
  const table: [Parameters<typeof seen>, string][] = [
    [[["3.6.14", undefined, "3.6.14"], { clusterVersion: "3.6.0" }], "3.6"],
    [[["3.6.14", undefined, "3.6.14"], {}], "waits"],
    [[["3.6.14", "unasked", "3.6.14"], { clusterVersion: "3.6.0" }], "waits"],
  ];
  for (const [facts, expected] of table) {
    const { cluster, view } = seen(...facts);
    assertEquals(text(rangeToJoin(cluster, { ...view, bootedAtMs: nowMs - 1_000 })), expected, JSON.stringify(facts));
  }
  // A member that gossip sees and that nobody asks holds no joiner up for ever.
  const { cluster, view } = seen(["3.6.14", "unasked", "3.6.14"], { clusterVersion: "3.6.0" });
  assertEquals(text(rangeToJoin(cluster, { ...view, bootedAtMs: nowMs - 10_000 })), "3.6");
  // One that was added and never started has no version.
  const grown = { ...cluster, members: [...members, member("e", { name: "", clientUrls: [] })] };
  assertEquals(text(rangeToJoin(grown, seen(["3.6.14", "3.6.14", "3.6.14"]).view)), "3.6 to 3.7");
});

Deno.test("rangeToJoin() waits for no version of a member whose node has an empty disk", () => {
  const listed = [...members.slice(0, 2), member("c"), member("d", { peerUrls: ["http://old:2380"] })];
  const endpoints = new Map(
    ["a", "b"].map((name) => [`http://${name}:2379`, answering(answer(name, listed))] as const),
  );
  const range = (c: GossipPeer | undefined) =>
    text(rangeToJoin(answer("a", listed), view("d", { endpoints, peers: c === undefined ? [] : [c] })));
  // A young cluster agrees on no version while two members are gone: both their nodes wait to join.
  assertEquals(range(peer("c")), "3.6 to 3.7");
  assertEquals(range(peer("c", { peerUrl: "http://c-new:2380" })), "3.6 to 3.7");
  assertEquals(range(peer("renamed", { peerUrl: "http://c:2380" })), "3.6 to 3.7");
  assertEquals(range(peer("c", { state: "dead" })), "waits");
  assertEquals(range(goPeer("c")), "waits");
  assertEquals(range(undefined), "waits");
});

Deno.test("rangeToRestart() goes by the cluster where one answers, else by what the data records", () => {
  const table: [Parameters<typeof seen>, string | undefined, string][] = [
    [[["3.4.23", "3.4.23", undefined], { clusterVersion: "3.4.0" }, goPeer], "3.4", "3.4 to 3.5"],
    [[["3.7.3", "3.7.3", undefined], { clusterVersion: "3.7.0" }], "3.6", "3.7 to 3.8"],
    // Its own former version does not count, and a silent member keeps no other from starting.
    [[["3.6.14", undefined, undefined], { clusterVersion: "3.6.0" }], "3.6", "3.6 to 3.7"],
    [[["3.6.14", undefined, undefined], {}], "3.6", "3.6 to 3.7"],
    [[["3.6.14", "3.6.5", undefined], { clusterVersion: "3.6.0" }], "3.6", "3.6"],
    [[["3.6.14", "3.6.14", undefined], { clusterVersion: "3.6.0", linearizable: false }], "3.5", "3.5 to 3.6"],
  ];
  for (const [facts, etcdAtLeast, expected] of table) {
    const own = data("c", members, etcdAtLeast === undefined ? {} : { etcdAtLeast });
    assertEquals(text(rangeToRestart(own, seen(...facts).view)), expected, JSON.stringify(facts));
  }
  const alone = (etcdAtLeast?: string) =>
    text(rangeToRestart(data("c", members, etcdAtLeast === undefined ? {} : { etcdAtLeast }), view("c")));
  assertEquals(alone("3.4"), "3.4 to 3.5");
  assertEquals(alone(), "any version");
  assertEquals(alone("3.0"), "any version");
  // Data whose record is lost is the original's only where a node of the original is among the peers.
  const own = data("c", members);
  const original = {
    nonce: "n",
    pledges: [],
    started: { lineage: { id: "x", epoch: 0, token: "etcd-cluster" }, how: "founded", renounced: [] },
  } as const;
  const young = (change: Partial<View>) => text(rangeToRestart(own, view("c", { data: own, ...change })));
  assertEquals(young({}), "any version");
  assertEquals(young({ peers: [goPeer("a")] }), text(besideLegacyPeers));
  assertEquals(young({ record: original }), text(besideLegacyPeers));
  const ours = { ...original, started: { ...original.started, lineage: { id: "x", epoch: 1, token: "t" } } };
  assertEquals(young({ record: ours, peers: [goPeer("a")] }), "any version");
  // What its own etcd answered before it ended counts for nothing.
  const { view: at } = seen(["3.6.14", "3.6.14", undefined]);
  const before = new Map(at.endpoints).set("http://c:2379", answering(answer("c", members, { version: "3.5.33" })));
  assertEquals(text(rangeToRestart(own, { ...at, endpoints: before })), "3.6 to 3.7");
});

Deno.test("rangeToRestart() takes the later of the cluster's version and that which the data needs", () => {
  const own = (etcdAtLeast?: string) => data("c", members, etcdAtLeast === undefined ? {} : { etcdAtLeast });
  const at = (etcdAtLeast: string | undefined, ...given: Parameters<typeof seen>) =>
    text(rangeToRestart(own(etcdAtLeast), seen(...given).view));
  const raised = [["3.6.14", "3.6.14", undefined], { clusterVersion: "3.6.0" }] as const;
  assertEquals(at(undefined, ...raised), "3.6 to 3.7");
  assertEquals(at("3.7", ...raised), "3.7");
  assertEquals(at("3.8", ...raised), "3.8");
  assertEquals(at("3.5", ...raised), "3.6 to 3.7");
  assertEquals(at("3.6", ...raised), "3.6 to 3.7");
});

Deno.test("a node waits for members that gossip sees and that were not asked, for its first four seconds", () => {
  const { cluster, view: base } = seen(["3.6.14", "unasked", "3.6.14"], { clusterVersion: "3.6.0" });
  const held = {
    kind: "held",
    clusterId: "c1",
    memberId: "id-b",
    lineage: { id: "l", epoch: 1, token: "t" },
    revision: 1,
  } as const;
  const join = (b: GossipPeer, change: Partial<View> = {}) =>
    text(rangeToJoin(cluster, { ...base, peers: [peer("a"), b, peer("c")], bootedAtMs: nowMs - 3_999, ...change }));
  const running = peer("b", { status: "running" });
  assertEquals(join(running), "waits");
  assertEquals(join(running, { bootedAtMs: nowMs - 4_000 }), "3.6");
  assertEquals(join({ ...running, state: "dead" }), "3.6");
  assertEquals(join(peer("b")), "3.6 to 3.7", "its disk is empty");
  const holder = peer("b", { facts: facts("b", { data: held }) });
  assertEquals(join(holder), "waits");
  assertEquals(join(peer("b", { facts: facts("b", { data: { kind: "unknown" } }) })), "3.6");
  const asked = new Map(base.endpoints).set("http://b:2379", silent(0));
  assertEquals(join(running, { endpoints: asked }), "3.6");
  const two = cluster.members.map((each) =>
    each.id === "id-b" ? { ...each, clientUrls: ["http://b-lan:2379", "http://b:2379"] } : each
  );
  assertEquals(
    text(rangeToJoin({ ...cluster, members: two }, { ...base, peers: [running], endpoints: asked, bootedAtMs: nowMs })),
    "3.6",
  );
  // The version of the member that gave the answer is in the answer.
  const elsewhere = new Map([...base.endpoints].filter(([url]) => url !== "http://a:2379"));
  assertEquals(join({ ...running, state: "dead" }, { endpoints: elsewhere }), "3.6");
  // The node that restarts waits as well.
  const restarts = rangeToRestart(data("c", members, { etcdAtLeast: "3.6" }), { ...base, bootedAtMs: nowMs - 3_999 });
  assertEquals(text(restarts), "waits");
});

Deno.test("two clusters that contradict each other tell nothing of the own data's version", () => {
  const own = data("c", members, { etcdAtLeast: "3.5" });
  const other = answering(answer("b", members, { version: "3.7.3", clusterVersion: "3.7.0", clusterId: "c2" }));
  const range = rangeToRestart(own, view("c", { peers: [peer("b")], endpoints: new Map([["http://b:2379", other]]) }));
  assertEquals(text(range), "3.5 to 3.6");
});

Deno.test("an answer whose version cannot be read bounds nothing above the cluster's own", () => {
  const { cluster, view: base } = seen(["3.6.14", "new", "3.6.14"], { clusterVersion: "3.6.0" });
  assertEquals(text(rangeToJoin(cluster, base)), "3.6");
});
