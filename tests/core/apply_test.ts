import { createNode, type Node, step } from "../../lib/core/node.ts";
import type { Event } from "../../lib/core/event.ts";
import type { EtcdProbe, Settings } from "../../lib/core/view.ts";
import { assertEquals } from "../support/assert.ts";
import { answer, answering, data, member, peer, settings } from "./facts.ts";

const members = ["a", "b"].map((name) => member(name));
const at = (monotonicMs: number) => ({ monotonicMs, wallMs: 1_000_000 + monotonicMs });

function nodeA(change: Partial<Node> = {}): Node {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  const settings = { requiredSize: 3, snapshots: true } as Settings;
  return Object.assign(createNode(self, settings, "seed", at(0)), change);
}

Deno.test("a member's data is as old as its last linearizable read; a learner's, as the leader's log that it has applied", () => {
  let node = nodeA();
  const probed = (endpoint: string, probe: EtcdProbe, ms: number) => {
    node = step(node, { kind: "probed", endpoint, probe }, at(ms)).node;
    return node.endpoints.get(endpoint)?.currentAtMs;
  };
  const [a, b] = members.map(({ clientUrls }) => clientUrls[0]!) as [string, string];
  assertEquals(probed(b, answer("b", members, { linearizable: false }), 10), undefined);
  assertEquals(probed(b, answer("b", members), 20), 20);
  assertEquals(probed(b, answer("b", members, { linearizable: false }), 30), 20);
  assertEquals(probed(b, { kind: "unreachable", code: "refused" }, 40), 20);
  const learner = { isLearner: true, linearizable: false, raftAppliedIndex: 99 };
  assertEquals(probed(b, answer("b", members, { ...learner, raftAppliedIndex: 100 }), 50), 20);
  probed(a, answer("a", members), 60);
  assertEquals(probed(b, answer("b", members, learner), 70), 20);
  assertEquals(probed(b, answer("b", members, { ...learner, raftAppliedIndex: 100 }), 80), 80);
});

Deno.test("a look into the store while this node serves is for people: what is founded from stays as it was", () => {
  const newest = { kind: "newest", hash: "h", revision: 7, takenAtWallMs: 1, verified: true, epochMax: 1 } as const;
  const seen = (phase: Node["phase"]) => step(nodeA({ phase }), { kind: "catalogue", catalogue: newest }, at(1)).node;
  assertEquals([seen("gathering").catalogue, seen("gathering").store.look], [newest, newest]);
  const serving = seen("serving");
  assertEquals([serving.catalogue.kind, serving.store.newest], ["unknown", newest]);
  const why = { kind: "unreadable", code: "x", why: "no route" } as const;
  const after = step(serving, { kind: "catalogue", catalogue: why }, at(2)).node;
  assertEquals([after.store.look.kind, after.store.newest], ["unreadable", newest]);
});

Deno.test("any node knows the members: one that does not lead asks the others, too, each five seconds", () => {
  const asked = (leaderId: string) => {
    const [a, b] = members.map(({ clientUrls }) => clientUrls[0]!) as [string, string];
    let node = nodeA({ phase: "serving", data: data("a", members), etcd: { kind: "ready", sinceMs: 0 } });
    let times = 0;
    for (let ms = 100; ms <= 10_000; ms += 100) {
      const own: Event = { kind: "probed", endpoint: a, probe: answer("a", members, { leaderId }) };
      for (const event of [own, { kind: "timer" } as const]) {
        const { node: next, effects } = step(node, event, at(ms));
        node = next;
        times += effects.filter((effect) => effect.kind === "probe" && effect.endpoints.includes(b)).length;
      }
    }
    return times;
  };
  assertEquals([asked("id-a"), asked("id-b")], [10, 2]);
});

Deno.test("what failed is kept until a deed of its slot succeeds", () => {
  const ask = { kind: "memberAdd", id: 3, via: [], peerUrl: "" } as const;
  const before = nodeA({
    phase: "serving",
    deeds: new Map([["cluster", ask]]),
    settings: { paused: true } as Settings,
  });
  const failed = step(before, { kind: "failed", id: 3, code: "unavailable", message: "no route" }, at(5)).node;
  assertEquals([...failed.failing], [["cluster", { kind: "memberAdd", text: "no route", atMs: 5 }]]);
  const again = { ...failed, deeds: new Map([["cluster" as const, { ...ask, id: 4 }]]) };
  const done: Event = { kind: "done", id: 4, value: { kind: "memberAdded", memberId: "x" } };
  assertEquals([...step(again, done, at(6)).node.failing], []);
});

Deno.test("what an operator does is in the diary: a pause, its end, an approval", () => {
  let node = nodeA({ phase: "serving" });
  const changed = (change: Partial<Settings>) => {
    const next = { ...node.settings, ...change } as Settings;
    node = step(node, { kind: "settings", settings: next }, at(node.lastEventMs + 1)).node;
    return node.journal.findLast(({ reason }) => reason.code === "asked_by_operator")?.reason.text;
  };
  node = { ...node, settings: { ...node.settings, approved: [], paused: false } };
  assertEquals(changed({ paused: true }), "automatic action is paused");
  assertEquals(changed({ paused: false }), "automatic action goes on");
  assertEquals(changed({ approved: ["abc"] }), "restore plan abc is approved");
});

Deno.test("a joiner has the etcd that the cluster needs before it changes the members for itself", () => {
  const c = member("c");
  const cluster = answer("a", members, { version: "3.7.3", recordedSize: 3 });
  const peers = members.map(({ name }) => peer(name, { status: "running" }));
  let node = nodeA({
    phase: "gathering",
    self: { name: "c", peerUrl: c.peerUrls[0]!, clientUrl: c.clientUrls[0]!, gossipAddr: "c:7980" },
    settings: settings(),
    data: { kind: "absent" },
    recordKept: true,
    peers,
    gossipJoinedAtMs: 0,
    endpoints: new Map(members.map(({ clientUrls }) => [clientUrls[0]!, answering(cluster, 0)])),
  });
  const turn = (event: Event, ms: number) => {
    const { node: next, effects } = step(node, event, at(ms));
    node = next;
    return effects.filter((effect) => "id" in effect);
  };
  const [wanted] = turn({ kind: "timer" }, 10);
  assertEquals(wanted && { kind: wanted.kind, ..."atLeast" in wanted ? { atLeast: wanted.atLeast } : {} }, {
    kind: "provideEtcd",
    atLeast: "3.7",
  });
  turn({ kind: "failed", id: (wanted as { id: number }).id, code: "etcd_dir_version", message: "no 3.7 here" }, 20);
  // It rests, and nobody was removed or added for it.
  for (let ms = 30; ms < 900; ms += 100) assertEquals(turn({ kind: "timer" }, ms), []);
  node = { ...node, rests: new Map() };
  const [again] = turn({ kind: "timer" }, 950);
  turn({ kind: "done", id: (again as { id: number }).id, value: { kind: "nothing" } }, 960);
  const [deed] = turn({ kind: "timer" }, 970);
  assertEquals(deed?.kind ?? [...node.deeds.values()][0]?.kind, "memberAdd");
});
