/** Two clusters in one gossip: whom a node counts as its own, and what it does about the others. */
import {
  clusterOf,
  clusterOfNode,
  isForeign,
  namedCluster,
  ownCluster,
  some,
  twoClusters,
  unlistedCluster,
} from "../../../lib/core/evidence/foreign_peers.ts";
import { step } from "../../../lib/core/step.ts";
import { decideStart } from "../../../lib/core/rules/start/start.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import {
  answer,
  answering,
  changed,
  data,
  facts,
  goPeer,
  member,
  peer,
  settings,
  type StateChange,
  view,
} from "../facts.ts";
import { shunAfterMs } from "../../../lib/core/watch/foreign_peers.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import type { GossipPeer, PeerData, PeerFacts } from "../../../lib/core/facts/peer.ts";
import type { Lineage } from "../../../lib/core/facts/node_record.ts";

const lineage = (id: string, epoch = 1, token = `${id}-${epoch}`): Lineage => ({ id, epoch, token });
const x = lineage("X"), y = lineage("Y");
const members = ["a", "b", "c"].map((name) => member(name));

const held = (name: string, of: Lineage, clusterId: string, change: Partial<Parameters<typeof facts>[1]> = {}) =>
  peer(name, {
    status: "running",
    facts: facts(name, {
      data: { kind: "held", clusterId, memberId: `id-${name}`, lineage: of, revision: 1 },
      ...change,
    }),
  });
const withData = (name: string, peerData: PeerData) => peer(name, { facts: facts(name, { data: peerData }) });
const withFacts = (name: string, change: Partial<PeerFacts>) => peer(name, { facts: facts(name, change) });
const heldX: PeerData = { kind: "held", clusterId: "c1", memberId: "id-h", lineage: x, revision: 1 };
const planY = { digest: "d", initialMembers: [], source: { kind: "empty" }, lineage: y } as const;
const started = (of: Lineage, renounced: string[] = []) =>
  ({ nonce: "n", pledges: [], started: { lineage: of, how: "founded", renounced } }) as const;

/** A node of cluster X with data. */
const ofX = (change: Partial<View> = {}) => view("a", { data: data("a", members), record: started(x), ...change });

function foreignTo(own: View, peers: readonly GossipPeer[], endpoints: View["endpoints"] = new Map()): string[] {
  const cluster = ownCluster(own);
  return cluster === undefined
    ? []
    : peers.filter((each) => isForeign(each, cluster, endpoints)).map(({ name }) => name);
}

Deno.test("a peer is foreign when it holds data of another lineage and cluster; of another epoch, or unknown, it is not", () => {
  const peers = [
    held("same", x, "c1"),
    held("newer", lineage("X", 2), "c2"),
    held("committed", lineage("X", 2), ""),
    held("lost-its-lineage", lineage("c1", 0), "c1"),
    held("other", y, "cy"),
    held("other-committed", y, ""),
    withData("empty", { kind: "none" }),
    withData("looks", { kind: "unknown" }),
    withData("empty-of-y", { kind: "none", lost: y }),
    withData("empty-of-x", { kind: "none", lost: x }),
    { ...held("gone", y, "cy"), state: "dead" as const },
  ];
  assertEquals(foreignTo(ofX(), peers), ["other", "other-committed", "empty-of-y"]);
});

Deno.test("a node without a cluster belongs to the one that its whole bootstrap list names, and to none while an address is silent", () => {
  const named = (seeds: readonly string[], known: readonly GossipPeer[]) => {
    const self = view("n");
    const addresses = seeds.map((name) => `${name}:7980`);
    return namedCluster({ known, self: self.self, settings: settings({ seeds: addresses }), endpoints: new Map() })
      ?.lineageId;
  };
  const peers = [held("a", x, "c1"), held("b", x, "c1"), held("p", y, "cy"), withData("e", { kind: "none" })];
  assertEquals(named(["n", "a", "b"], peers), "X");
  assertEquals(named(["n", "a", "e"], peers), "X");
  assertEquals(named(["n", "a", "p"], peers), undefined);
  assertEquals(named(["n", "a", "silent"], peers), undefined);
  assertEquals(named(["n", "a", "u"], [...peers, withData("u", { kind: "unknown" })]), undefined);
  assertEquals(named(["n", "e"], peers), undefined);
  assertEquals(named([], peers), undefined);
});

Deno.test("what a node without data only saw run is less than what its bootstrap list names; what it held is more", () => {
  const seen = { clusterId: "cy", lineageId: "Y", voters: [] };
  const known = [held("a", x, "c1"), held("b", x, "c1"), held("p", y, "cy")];
  const of = (record: View["record"], seeds = ["a:7980", "b:7980"]) =>
    clusterOfNode({ ...view("n"), known, record, settings: settings({ seeds }) })?.lineageId;
  const empty = { nonce: "n", pledges: [], seen };
  assertEquals(of(empty), "X");
  assertEquals(of(empty, ["a:7980", "p:7980"]), "Y");
  assertEquals(of({ ...empty, lost: started(y).started }), "Y");
});

Deno.test("a node of the original is foreign by the cluster that its etcd answers for, and not before it answers", () => {
  const peers = [goPeer("p"), goPeer("q"), goPeer("silent")];
  const endpoints = new Map([
    ["http://p:2379", answering(answer("p", members, { clusterId: "c1" }))],
    ["http://q:2379", answering(answer("q", members, { clusterId: "cy" }))],
  ]);
  assertEquals(foreignTo(ofX(), peers, endpoints), ["q"]);
  // Data that the original made has no lineage but its cluster's id.
  assertEquals(foreignTo(view("a", { data: data("a", members) }), peers, endpoints), ["q"]);
});

Deno.test("two plans of the same initial members are one cluster once they left one for the other", () => {
  const left = held("b", y, "cy", { renounced: ["X-1"] });
  assertEquals(foreignTo(ofX(), [left]), []);
  assertEquals(foreignTo(ofX({ record: started(x, ["Y-1"]) }), [held("b", y, "cy")]), []);
});

Deno.test("a node that pledged the life that its peers have begun is of their cluster, whatever it lost or holds", () => {
  const pledge = { ...planY, token: "Y-1" };
  const begun = held("b", y, "cy");
  const lost = { nonce: "n", pledges: [], lost: started(x).started };
  const saw = { nonce: "n", pledges: [], seen: { clusterId: "c1", lineageId: "X", voters: [] } };
  for (const record of [lost, saw, started(x)]) {
    assertEquals(foreignTo(view("a", { record }), [begun]), ["b"]);
    assertEquals(foreignTo(view("a", { record: { ...record, pledges: [pledge] } }), [begun]), []);
  }
  assertEquals(foreignTo(ofX({ record: { ...started(x), pledges: [pledge] } }), [begun]), []);
  // And the other way round: what the peer has pledged.
  const ofY = view("a", { data: data("a", members, { clusterId: "cy" }), record: started(y) });
  const pledged = (tokens: string[]): GossipPeer[] => [
    withFacts("l", { data: { kind: "none", lost: x }, pledges: tokens.map((token) => ({ ...planY, token })) }),
    withFacts("h", { data: heldX, pledges: tokens.map((token) => ({ ...planY, token })) }),
  ];
  assertEquals(foreignTo(ofY, pledged(["Z-1"])), ["l", "h"]);
  assertEquals(foreignTo(ofY, pledged(["Y-1"])), []);
});

Deno.test("a node without data belongs to the cluster that its record remembers, unless --new-cluster gives that up", () => {
  const record = { nonce: "n", pledges: [] };
  const seen = { clusterId: "c1", voters: [], lineageId: "X" };
  const peers = [held("b", x, "c9"), held("other", y, "cy")];
  assertEquals(foreignTo(view("a", { record }), peers), []);
  assertEquals(foreignTo(view("a", { record: { ...record, seen } }), peers), ["other"]);
  assertEquals(foreignTo(view("a", { record: { ...record, lost: started(x).started } }), peers), ["other"]);
  const givenUp = view("a", { record: { ...record, seen }, settings: settings({ newCluster: "next" }) });
  assertEquals(foreignTo(givenUp, peers), []);
  // The cluster's id changes with a restore: alone it tells two clusters from two epochs of one by nothing.
  assertEquals(foreignTo(view("a", { record: { ...record, seen: { clusterId: "c1", voters: [] } } }), peers), []);
});

Deno.test("decideStart() joins neither of two clusters for a node that belongs to none, though one alone answers", () => {
  const peers = [held("b", x, "c1"), held("other", y, "cy")];
  const endpoints = new Map([["http://other:2379", answering(answer("other", members, { clusterId: "cy" }))]]);
  const outcome = decideStart(view("n", { peers, endpoints }));
  assert(outcome.kind === "wait" && outcome.reason.code === "two_clusters", JSON.stringify(outcome));
  assert(outcome.reason.text.includes('"b" (b:7980)') && outcome.reason.text.includes('"other" (other:7980)'));
  assertEquals(twoClusters({ peers: [held("b", x, "c1"), held("c", lineage("X", 2), "c2")], endpoints }), undefined);
  assertEquals(clusterOf(peer("empty"), endpoints), undefined);
});

const at = (ms: number) => ({ monotonicMs: ms, wallMs: ms });

function nodeOfX(change: StateChange = {}): NodeState {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  const base = createNode(self, settings({ seeds: ["b:7980", "other:7980"] }), "seed", at(0));
  return changed(base, {
    disk: { data: data("a", members), record: started(x), recordPersisted: true },
    phase: "serving",
  }, change);
}

Deno.test("a node hides foreign peers from its rules, reports them, has gossip keep apart, and forgets it all when they go", () => {
  let node = nodeOfX();
  const turn = (event: Event, ms: number) => {
    const { node: next, effects } = step(node, event, at(ms));
    node = next;
    return effects;
  };
  const gossip = (peers: readonly GossipPeer[]): Event => ({ kind: "gossip", joined: true, peers });
  const shunned = (effects: ReturnType<typeof turn>) =>
    effects.flatMap((effect) => effect.kind === "shunPeers" ? [effect.names] : []);
  const both = [held("b", x, "c1"), held("other", y, "cy")];

  assertEquals(shunned(turn(gossip(both), 100)), []);
  assertEquals(node.gossip.peers.map(({ name }) => name), ["b"]);
  const problem = node.reports.problems.get("foreign_cluster");
  assertEquals([problem?.level, problem?.keepsReady], ["error", true]);
  for (const part of ['"other" (other:7980)', "cluster cy (lineage Y)", "cluster c1 (lineage X)"]) {
    assert(problem!.reason.text.includes(part), problem!.reason.text);
  }
  assert(problem!.reason.hint!.startsWith("remove other:7980 from this node's --bootstrap-addrs"));
  assertEquals(node.reports.journal.filter(({ reason }) => reason.code === "foreign_cluster").length, 1);

  // It must hear what this node holds before both keep apart.
  assertEquals(shunned(turn({ kind: "timer" }, 100 + shunAfterMs - 1)), []);
  assertEquals(shunned(turn({ kind: "timer" }, 100 + shunAfterMs)), [["other"]]);
  assertEquals(shunned(turn(gossip(both), 200 + shunAfterMs)), []);

  assertEquals(shunned(turn(gossip(both.slice(0, 1)), 300 + shunAfterMs)), [[]]);
  assertEquals([...node.reports.problems.keys()], []);
  assertEquals(node.reports.journal.at(-1)?.outcome, "resolved");
});

Deno.test("a foreign peer that is set up anew for this cluster is one of its own at once", () => {
  const foreign = step(nodeOfX(), { kind: "gossip", joined: true, peers: [held("b", y, "cy")] }, at(10)).node;
  assertEquals(foreign.gossip.peers, []);
  const { node } = step(foreign, { kind: "gossip", joined: true, peers: [peer("b")] }, at(20));
  assertEquals(node.gossip.peers.map(({ name }) => name), ["b"]);
});

Deno.test("a node of the original that was foreign is asked on, and becomes one of its own by its answer", () => {
  const q = goPeer("q");
  const url = q.clientUrl;
  const before = nodeOfX({
    membership: { endpoints: new Map([[url, answering(answer("q", members, { clusterId: "cy" }), 0)]]) },
  });
  const { node, effects } = step(before, { kind: "gossip", joined: true, peers: [q] }, at(10));
  assertEquals(node.gossip.peers, []);
  assert(effects.some((effect) => effect.kind === "probe" && effect.endpoints.includes(url)));
  const probe = answer("q", members, { clusterId: "c1" });
  assertEquals(step(node, { kind: "probed", endpoint: url, probe }, at(20)).node.gossip.peers.map(({ name }) => name), [
    "q",
  ]);
});

Deno.test("ownCluster() goes by the data, the record of what started, what was lost, and what was seen, in this order", () => {
  const lost = (change: object = {}) => ({ lineage: x, how: "founded", renounced: [], ...change }) as const;
  const seen = { clusterId: "cy", lineageId: "Y", voters: [] };
  const empty = { nonce: "n", pledges: [] };
  const of = (record: View["record"], change: Partial<View> = {}) => {
    const own = ownCluster(view("a", { record, ...change }));
    return own === undefined ? "none" : `${own.lineageId} ${own.clusterId ?? "-"} ${own.token ?? "-"}`;
  };
  assertEquals(of(empty), "none");
  assertEquals(of(started(x), { data: data("a", members) }), "X c1 X-1");
  assertEquals(of(started(x)), "X - X-1");
  assertEquals(of({ ...started(x), started: { ...started(x).started, clusterId: "c7" } }), "X c7 X-1");
  assertEquals(of({ ...started({ ...x, id: "" }) }), "none");
  assertEquals(of({ ...empty, lost: lost() }), "X - X-1");
  assertEquals(of({ ...empty, lost: lost({ clusterId: "c8" }), seen }), "X c8 X-1");
  assertEquals(of({ ...empty, lost: lost(), seen }), "X cy X-1");
  assertEquals(of({ ...empty, seen }), "Y cy -");
  assertEquals(of({ ...empty, seen: { clusterId: "cy", voters: [] } }), "none");
  const blue = { settings: settings({ newCluster: "blue" }) };
  assertEquals(of({ ...empty, seen }, blue), "none", "an operator gave it up");
  assertEquals(of({ ...empty, lost: lost() }, blue), "X - X-1", "no cluster was seen that it gives up");
});

Deno.test("clusterOf() knows no cluster of a peer whose data has no lineage yet, and of a lost one no id", () => {
  const of = (peerData: PeerData) => {
    const cluster = clusterOf(withData("b", peerData), new Map());
    return cluster && Object.keys(cluster).join(" ");
  };
  const unnamed = lineage("");
  const data = (of: Lineage, clusterId: string): PeerData => ({
    kind: "held",
    clusterId,
    memberId: "m",
    lineage: of,
    revision: 1,
  });
  assertEquals(of(data(unnamed, "c1")), undefined);
  assertEquals(of(data(x, "c1")), "lineageId token renounced pledged clusterId");
  assertEquals(of(data(x, "")), "lineageId token renounced pledged");
  assertEquals(of({ kind: "none", lost: unnamed }), undefined);
  assertEquals(of({ kind: "none", lost: x }), "lineageId token pledged");
  assertEquals(of({ kind: "unknown" }), undefined);
  assertEquals(of({ kind: "none" }), undefined);
});

Deno.test("a node of the original is foreign to no node that does not know its own cluster's id", () => {
  const endpoints = new Map([["http://q:2379", answering(answer("q", members, { clusterId: "cy" }))]]);
  assertEquals(foreignTo(view("a", { record: started(x) }), [goPeer("q")], endpoints), []);
  assertEquals(foreignTo(ofX(), [{ ...goPeer("q"), state: "dead" as const }], endpoints), []);
});

Deno.test("namedCluster() asks live peers at the listed addresses, those of the original by their etcd", () => {
  const named = (known: readonly GossipPeer[], names = "a", endpoints: View["endpoints"] = new Map()) =>
    namedCluster({
      known,
      self: view("n").self,
      settings: settings({ seeds: names.split("").map((name) => `${name}:7980`) }),
      endpoints,
    })?.lineageId;
  assertEquals(named([held("b", y, "cy"), held("a", x, "c1")]), "X");
  assertEquals(named([{ ...held("a", x, "c1"), state: "dead" }]), undefined);
  const { facts: _, ...mute } = peer("b");
  assertEquals(named([held("a", x, "c1"), mute], "ab"), undefined, "it has published nothing");
  assertEquals(named([held("a", x, "c1"), goPeer("b")], "ab"), "X");
  const endpoints = new Map([["http://b:2379", answering(answer("b", members, { clusterId: "cy" }))]]);
  assertEquals(named([goPeer("b")], "b", endpoints), "cy");
  assertEquals(named([held("a", x, "c1"), goPeer("b")], "ab", endpoints), undefined);
});

Deno.test("clusterOfNode() of a node that held data goes by that data, whatever its bootstrap list names", () => {
  const known = [held("p", y, "cy")];
  const of = (change: Partial<View>) =>
    clusterOfNode({ ...view("a", change), known, settings: settings({ seeds: ["p:7980"] }) })?.lineageId;
  assertEquals(of({}), "Y");
  assertEquals(of({ data: data("a", members), record: started(x) }), "X");
  assertEquals(of({ record: started(x) }), "X");
  assertEquals(of({ data: data("a", members) }), "c1");
});

Deno.test("two lineages are two clusters also before etcd has named either; a peer without facts is of no known cluster", () => {
  assertEquals(foreignTo(view("a", { record: started(x) }), [held("b", y, ""), held("c", x, "")]), ["b"]);
  const { facts: _, ...mute } = peer("b");
  assertEquals(clusterOf(mute, new Map()), undefined);
});

Deno.test("twoClusters() names the first peer of each cluster, and how each is known", () => {
  const two = (...peers: GossipPeer[]) => twoClusters({ peers, endpoints: new Map() });
  assertEquals(two(), undefined);
  assertEquals(two(held("a", x, "c1")), undefined);
  assertEquals(two(held("a", x, "c1"), held("b", x, "c1")), undefined);
  assertEquals(two(held("a", x, "c1"), { ...held("p", y, "cy"), state: "dead" }), undefined);
  assertEquals(
    two(
      withData("e", { kind: "none" }),
      held("a", x, "c1"),
      withData("q", { kind: "none", lost: y }),
      held("p", y, "cy"),
    )?.text,
    'the peers belong to two clusters: "a" (a:7980) to cluster c1 (lineage X), "q" (q:7980) to lineage Y',
  );
});

Deno.test("unlistedCluster() suspects two clusters only where the own list names enough other nodes without data", () => {
  const places = ["a", "b", "c"].map((name) => member(name));
  const live = places.map(({ name }) => peer(name));
  const suspects = (peers: readonly GossipPeer[], requiredSize = 3, seeds = ["n:7980", "y:7980", "z:7980"]) =>
    unlistedCluster({ settings: settings({ seeds, requiredSize }), peers: [...live, ...peers] }, places)?.text;
  const text = '"a", "b", "c" take all 3 places, none of them is in this node\'s bootstrap list, and ';
  assertEquals(
    suspects([peer("z"), peer("y")]),
    `${text}"y" (y:7980), "z" (z:7980) of that list are standby nodes, too`,
  );
  assertEquals(suspects([peer("y")]), undefined, "too few for -n 3");
  assertEquals(suspects([peer("y")], 2)?.includes('and "y" (y:7980) of'), true);
  assertEquals(suspects([], 1), undefined, "nobody else waits");
  assertEquals(suspects([peer("z"), held("y", x, "c1")]), undefined);
  assertEquals(suspects([peer("z"), peer("y")], 3, ["a:7980", "y:7980", "z:7980"]), undefined, "it lists a member");
  const gone = unlistedCluster(
    { settings: settings({ seeds: ["y:7980", "z:7980"] }), peers: [...live.slice(1), peer("z"), peer("y")] },
    places,
  );
  assertEquals(gone, undefined, "a member that gossip does not see may be at any address");
});

Deno.test("some() names three at most", () => {
  assertEquals(some(["a", "b", "c"]), "a, b, c");
  assertEquals(some(["a", "b", "c", "d"]), "a, b, c and 1 more");
});
