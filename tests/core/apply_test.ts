import { step } from "../../lib/core/step.ts";
import type { Event } from "../../lib/core/facts/event.ts";
import { bootstrapPlanOf, pledgeOf } from "../../lib/core/rules/bootstrap/proposal.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { answer, answering, changed, data, facts, member, peer, settings, type StateChange } from "./facts.ts";
import { createNode, type NodeState } from "../../lib/core/state/state.ts";
import type { EtcdProbe } from "../../lib/core/facts/cluster.ts";
import type { NodeRecord, Source, StartedData } from "../../lib/core/facts/node_record.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";

const members = ["a", "b"].map((name) => member(name));
const at = (monotonicMs: number) => ({ monotonicMs, wallMs: 1_000_000 + monotonicMs });

function nodeA(change: StateChange = {}): NodeState {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  const settings = { requiredSize: 3, snapshots: true, seeds: [] as readonly string[] } as Settings;
  return changed(createNode(self, settings, "seed", at(0)), { gossip: { known: change.gossip?.peers ?? [] } }, change);
}

Deno.test("a member's data is as old as its last linearizable read; a learner's, as the leader's log that it has applied", () => {
  let node = nodeA();
  const probed = (endpoint: string, probe: EtcdProbe, ms: number) => {
    node = step(node, { kind: "probed", endpoint, probe }, at(ms)).node;
    return node.membership.endpoints.get(endpoint)?.currentAtMs;
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
  const seen = (phase: NodeState["phase"]) =>
    step(nodeA({ phase }), { kind: "snapshotLookedUp", lookup: newest }, at(1)).node;
  assertEquals([seen("gathering").snapshots.lookup, seen("gathering").snapshots.store.lookup], [newest, newest]);
  const serving = seen("serving");
  assertEquals([serving.snapshots.lookup.kind, serving.snapshots.store.newest], ["unknown", newest]);
  const why = { kind: "unreadable", code: "x", why: "no route" } as const;
  const after = step(serving, { kind: "snapshotLookedUp", lookup: why }, at(2)).node;
  assertEquals([after.snapshots.store.lookup.kind, after.snapshots.store.newest], ["unreadable", newest]);
});

Deno.test("any node knows the members: one that does not lead asks the others, too, each five seconds", () => {
  const asked = (leaderId: string) => {
    const [a, b] = members.map(({ clientUrls }) => clientUrls[0]!) as [string, string];
    let node = nodeA({
      phase: "serving",
      disk: { data: data("a", members) },
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
    });
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
  const ask = { kind: "memberAdd", id: 3, via: [], peerUrl: "", beside: [] } as const;
  const before = nodeA({
    phase: "serving",
    effects: { inFlight: new Map([["cluster", ask]]) },
    settings: { paused: true, seeds: [] as readonly string[] } as Settings,
  });
  const failed = step(before, { kind: "failed", id: 3, code: "unavailable", message: "no route" }, at(5)).node;
  assertEquals([...failed.effects.failing], [["cluster", { kind: "memberAdd", text: "no route", atMs: 5 }]]);
  const again = changed(failed, { effects: { inFlight: new Map([["cluster" as const, { ...ask, id: 4 }]]) } });
  const done: Event = { kind: "done", id: 4, value: { kind: "memberAdded", memberId: "x" } };
  assertEquals([...step(again, done, at(6)).node.effects.failing], []);
});

Deno.test("what an operator does is in the diary: a pause, its end, an approval", () => {
  let node = nodeA({ phase: "serving" });
  const told = (event: Event) => {
    node = step(node, event, at(node.process.lastEventMs + 1)).node;
    return node.reports.journal.findLast(({ reason }) => reason.code === "asked_by_operator")?.reason.text;
  };
  node = { ...node, settings: { ...node.settings, approved: [], paused: false } };
  const pause = (paused: boolean, version: number) =>
    told({
      kind: "probed",
      endpoint: "http://a:2379",
      probe: answer("a", members, { leaderId: "id-b", pause: { paused, version } }),
    });
  assertEquals(pause(true, 1), "automatic action is paused");
  assertEquals(pause(false, 2), "automatic action goes on");
  const approved = { ...node.settings, approved: ["abc"] };
  assertEquals(told({ kind: "settings", settings: approved }), "restore plan abc is approved");
});

Deno.test("a joiner has the etcd that the cluster needs before it changes the members for itself", () => {
  const c = member("c");
  const of = (name: string) => answer(name, members, { version: "3.7.3", recordedSize: 3 });
  const peers = members.map(({ name }) => peer(name, { status: "running" }));
  let node = nodeA({
    phase: "gathering",
    self: { name: "c", peerUrl: c.peerUrls[0]!, clientUrl: c.clientUrls[0]!, gossipAddr: "c:7980" },
    settings: settings(),
    disk: { data: { kind: "absent" }, recordPersisted: true },
    gossip: { peers, gossipJoinedAtMs: 0 },
    membership: { endpoints: new Map(members.map(({ name, clientUrls }) => [clientUrls[0]!, answering(of(name), 0)])) },
  });
  const turn = (event: Event, ms: number) => {
    const { node: next, effects } = step(node, event, at(ms));
    node = next;
    return effects.filter((effect) => "id" in effect);
  };
  const [wanted] = turn({ kind: "timer" }, 10);
  assert(wanted?.kind === "provideEtcd");
  assertEquals(wanted.range, { atLeast: "3.7", atMost: "3.8" });
  turn({ kind: "failed", id: (wanted as { id: number }).id, code: "etcd_dir_version", message: "no 3.7 here" }, 20);
  // It rests, and nobody was removed or added for it.
  for (let ms = 30; ms < 900; ms += 100) assertEquals(turn({ kind: "timer" }, ms), []);
  node = { ...node, effects: { ...node.effects, backoffUntilMs: new Map() } };
  const [again] = turn({ kind: "timer" }, 950);
  turn({ kind: "done", id: (again as { id: number }).id, value: { kind: "etcdProvided", version: "3.7.3" } }, 960);
  const [deed] = turn({ kind: "timer" }, 970);
  assertEquals(deed?.kind ?? [...node.effects.inFlight.values()][0]?.kind, "memberAdd");
});

Deno.test("an answer to a probe from before a change of the members is no news, however late it comes", () => {
  const [a] = members.map(({ clientUrls }) => clientUrls[0]!) as [string];
  const node = nodeA({ membership: { probesInvalidatedAtMs: 1_000 } });
  const late = step(node, { kind: "probed", endpoint: a, probe: answer("a", members), askedMs: 900 }, at(3_000)).node;
  assertEquals(late.membership.endpoints.get(a), undefined);
  const fresh =
    step(node, { kind: "probed", endpoint: a, probe: answer("a", members), askedMs: 1_000 }, at(3_000)).node;
  assertEquals(fresh.membership.endpoints.get(a)?.atMs, 3_000);
});

Deno.test("what fails because this node stops is no warning", () => {
  const level = (phase: "serving" | "leaving") => {
    const ask = { kind: "checkRecord", id: 3, requiredSize: 3 } as const;
    const node = nodeA({ phase, effects: { inFlight: new Map([["record", ask]]) }, settings: settings() });
    const { node: after } = step(node, { kind: "failed", id: 3, code: "unavailable", message: "cut" }, at(5));
    return after.reports.journal.find(({ outcome }) => outcome === "checkRecord failed")?.level;
  };
  assertEquals([level("serving"), level("leaving")], ["warn", "info"]);
});

const initialMembers = ["a", "d", "e"].map((name) => ({
  name,
  peerUrl: `http://${name}:2380`,
  nonce: `nonce-${name}`,
}));
const survivor = { kind: "survivor", name: "a", revision: 7 } as const;
const former: StartedData = {
  lineage: { id: "line", epoch: 1, token: "first" },
  how: "founded",
  renounced: [],
  clusterId: "c1",
  memberId: "id-a",
};
const pledge = pledgeOf(bootstrapPlanOf(initialMembers, survivor, former.lineage), "h");

/** What a node makes of the record when it finds no data beside it. */
function withoutData(record: NodeRecord): NodeState {
  const booting = nodeA({ settings: settings() });
  return step(booting, { kind: "dataInspected", data: { kind: "absent" }, record }, at(5)).node;
}

Deno.test("a record whose pledge names this node keeps nonce and pledge when the data is gone: it was killed in a recovery", () => {
  const { disk: { record } } = withoutData({ nonce: "nonce-a", pledges: [pledge], started: former });
  assertEquals([record.nonce, record.pledges, record.lost, record.started], ["nonce-a", [pledge], former, undefined]);
});

Deno.test("a record that is about the pledged life, while the pledge is there, is one of data that was not made yet", () => {
  const started = { lineage: pledge.lineage, how: "restored", renounced: [] } as const;
  const { disk: { record } } = withoutData({ nonce: "nonce-a", pledges: [pledge], started, former: [former] });
  assertEquals(
    [record.nonce, record.pledges, record.lost, record.started, record.former],
    ["nonce-a", [pledge], undefined, undefined, [former]],
  );
});

Deno.test("a record without a pledge of this disk gets another nonce when the data is gone", () => {
  const others = { ...pledge, initialMembers: initialMembers.map((each) => ({ ...each, nonce: `${each.nonce}-2` })) };
  for (const pledges of [[], [others]]) {
    const { disk: { record } } = withoutData({ nonce: "nonce-a", pledges, started: former });
    assertEquals([record.nonce === "nonce-a", record.pledges, record.lost], [false, [], former]);
  }
});

Deno.test("a node that lost its data carries no kept pledge out while its own cluster has a quorum", () => {
  const record = { nonce: "nonce-a", pledges: [pledge], lost: former };
  const keep = (name: string) => peer(name, { facts: facts(name, { pledges: [pledge] }) });
  const running = peer("b", { status: "running" });
  const phaseAfter = (lives: boolean) => {
    const others = ["b", "c"].map((name) => member(name));
    const probe = answering(answer("b", others, { leaderId: "id-b" }), 4);
    const node = nodeA({
      phase: "gathering",
      settings: settings(),
      disk: { data: { kind: "absent" }, record, recordPersisted: true },
      gossip: { peers: [running, keep("d"), keep("e")], gossipJoinedAtMs: 0 },
      membership: { endpoints: new Map(lives ? [["http://b:2379", probe]] : []) },
    });
    return step(node, { kind: "timer" }, at(5)).node.phase;
  };
  assertEquals([phaseAfter(false), phaseAfter(true)], ["restoring", "joining"]);
});

Deno.test("etcd starts on restored data only when the pledge to its life is off the disk", () => {
  const started = { lineage: pledge.lineage, how: "restored", renounced: [] } as const;
  let node = nodeA({
    phase: "gathering",
    settings: settings(),
    disk: {
      data: data("a", initialMembers.map(({ name }) => member(name)), { clusterId: "c2" }),
      record: { nonce: "nonce-a", pledges: [pledge], started },
      recordPersisted: true,
    },
    gossip: { gossipJoinedAtMs: undefined },
  });
  const first = step(node, { kind: "timer" }, at(2_500));
  const write = first.effects.find((effect) => effect.kind === "writeRecord" || effect.kind === "startEtcd");
  assert(write?.kind === "writeRecord");
  assertEquals(write.record.pledges, []);
  node = step(first.node, { kind: "done", id: write.id, value: { kind: "nothing" } }, at(2_510)).node;
  assertEquals([node.phase, [...node.effects.inFlight.values()][0]?.kind], ["restarting", "startEtcd"]);
});

Deno.test("a prepared source that is gone after the commitment is fetched again where a store holds it", () => {
  const asked = (source: Source) => {
    const plan = { digest: "d", initialMembers: [], source, lineage: { id: "l", epoch: 2, token: "t" } };
    const node = nodeA({
      phase: "restoring",
      effects: { inFlight: new Map([["local", { kind: "restoreData", id: 3, plan }]]) },
      settings: settings(),
    });
    const event: Event = { kind: "failed", id: 3, code: "not_prepared", message: "gone" };
    return step(node, event, at(5)).effects.some(({ kind }) => kind === "prepareSource");
  };
  assert(asked({ kind: "snapshot", hash: "h", revision: 1 }));
  assert(!asked({ kind: "survivor", name: "b", revision: 1 }));
});

Deno.test("a node that waits for a snapshot's writer asks the store again when its time is over, and counts no time before", () => {
  const newest = { kind: "newest", hash: "h", revision: 7, takenAtWallMs: 1, verified: true, epochMax: 1 } as const;
  let node = nodeA({ phase: "gathering", disk: { data: { kind: "empty" }, recordPersisted: true } });
  node = { ...node, settings: { ...node.settings, snapshotIntervalMs: 3_000 } };
  const asks: number[] = [];
  for (let ms = 100; ms <= 9_000; ms += 100) {
    const { node: next, effects } = step(node, { kind: "timer" }, at(ms));
    node = next;
    if (!effects.some(({ kind }) => kind === "lookUpSnapshot")) continue;
    asks.push(ms);
    node = step(node, { kind: "snapshotLookedUp", lookup: newest }, at(ms + 50)).node;
  }
  assertEquals(asks, [100, 6_200]);
  assertEquals(node.snapshots.newestSince, { hash: "h", ms: 150, askedMs: 6_200 });
});
