import { scheduleProbes } from "../../../lib/core/watch/probes.ts";
import { writerWatchMs } from "../../../lib/core/rules/bootstrap/awaited.ts";
import type { Effect } from "../../../lib/core/facts/effect.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../support/assert.ts";
import {
  answer,
  answering,
  data,
  facts,
  goPeer,
  member,
  nowMs,
  peer,
  settings,
  silent,
  type StateChange,
} from "../facts.ts";
import { turnOf } from "../turns.ts";

const url = (name: string) => `http://${name}:2379`;
const members = ["a", "b", "c"].map((name) => member(name));
const never = nowMs + 1e9;
const quietRaft: StateChange = { membership: { raftProbedMs: never } };

function probed(changes: readonly StateChange[], afterMs = 0) {
  const turn = turnOf(changes, afterMs);
  scheduleProbes(turn);
  const of = <K extends Effect["kind"]>(kind: K) =>
    turn.effects.find((effect): effect is Extract<Effect, { kind: K }> => effect.kind === kind);
  return { turn, urls: of("probe")?.endpoints ?? [], raft: of("probeRaft")?.endpoint, looks: of("lookUpSnapshot") };
}

/** Each member that is probed, and after how long again. */
function intervals(...changes: readonly StateChange[]): Record<string, number> {
  const { urls } = probed([...changes, quietRaft]);
  return Object.fromEntries(urls.map((each) => {
    const lastProbedAtMs = new Map(urls.map((other) => [other, other === each ? nowMs : never]));
    const again = (afterMs: number) => probed([...changes, quietRaft, { membership: { lastProbedAtMs } }], afterMs);
    const { turn, urls: none } = again(0);
    assertEquals(turn.effects, []);
    const everyMs = turn.wakeMs - nowMs;
    assertEquals([none, again(everyMs - 1).urls, again(everyMs).urls], [[], [], [each]]);
    return [each.slice(7, -5), everyMs];
  }));
}

const held = (name: string) =>
  peer(name, {
    facts: facts(name, {
      data: {
        kind: "held",
        clusterId: "c1",
        memberId: `id-${name}`,
        lineage: { id: "l", epoch: 1, token: "t" },
        revision: 1,
      },
    }),
  });
const gossip = (...peers: ReturnType<typeof peer>[]): StateChange => ({ gossip: { peers, known: peers } });
const running = (name: string) => peer(name, { status: "running" });
const dead = peer("d", { state: "dead", status: "running" });
const starting: StateChange = { ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } };
const serving: StateChange = { phase: "serving", ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } } };
const heard = (...of: readonly (readonly [string, Partial<EtcdAnswer>])[]): StateChange => ({
  membership: { endpoints: new Map(of.map(([name, change]) => [url(name), answering(answer(name, members, change))])) },
});

Deno.test("a node without etcd probes each peer that has a member, or its data, twice a second", () => {
  const peers = gossip(running("b"), held("c"), peer("e"), dead, peer("f", { state: "suspect", status: "running" }));
  assertEquals(intervals(peers), { b: 500, c: 500, f: 500 });
  assertEquals(probed([gossip(peer("e"))]).urls, []);
});

Deno.test("a node without etcd probes every member of the cluster that it would join, and the place that it had", () => {
  const list = [member("a"), member("b"), member("c", { clientUrls: [url("c"), url("c2")] })];
  const cluster = {
    membership: { endpoints: new Map([[url("b"), answering(answer("b", list, { leaderId: "id-b" }))]]) },
  };
  assertEquals(intervals(gossip(running("b")), cluster), { b: 500, c: 500, c2: 500 });
  const former = [member("a", { clientUrls: [url("old")] }), member("z")];
  const own = { disk: { data: data("a", former) } };
  assertEquals(intervals(own), { old: 500 });
  const other = heard(["b", { clusterId: "cb" }], ["c", { clusterId: "cc" }]);
  assertEquals(intervals(gossip(running("b"), running("c")), other), { b: 500, c: 500 }, "no one knows which it joins");
});

Deno.test("the own etcd is probed four times a second until it serves, then each second", () => {
  assertEquals(intervals(starting), { a: 250 });
  assertEquals(intervals(serving), { a: 1_000 });
  assertEquals(intervals(serving, { phase: "restarting" }), { a: 250 });
  assertEquals(
    intervals({ ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, leaderlessSinceMs: 5 } }, { phase: "serving" }),
    {
      a: 250,
    },
  );
});

Deno.test("the members of the own data are probed beside the own etcd: twice a second before it serves, then rarely", () => {
  const own = { disk: { data: data("a", members) } };
  assertEquals(intervals(starting, own), { a: 250, b: 500, c: 500 });
  assertEquals(intervals(serving, own), { a: 1_000, b: 5_000, c: 5_000 });
  const other = [...members, member("z")];
  const list = {
    membership: { endpoints: new Map([[url("b"), answering(answer("b", other, { leaderId: "id-b" }))]]) },
  };
  assertEquals(
    intervals(starting, own, gossip(running("b")), list),
    { a: 250, b: 500, c: 500 },
    "by the own list alone",
  );
  assertEquals(intervals(serving, own, gossip(held("b"), peer("e"), dead)), { a: 1_000, b: 5_000, c: 5_000 });
});

Deno.test("the leader's node, and one that knows of a plan, probes all members and all peers each second", () => {
  const own = { disk: { data: data("a", members) } };
  const all = { a: 1_000, b: 1_000, c: 1_000, d: 1_000, e: 1_000 };
  const peers = gossip(peer("e"), dead);
  assertEquals(intervals(serving, own, peers, heard(["a", {}])), all);
  assertEquals(intervals(serving, own, peers, heard(["a", { leaderId: "id-b" }])), { a: 1_000, b: 5_000, c: 5_000 });
  const plan = { id: "p", purpose: "defrag", text: "t", createdAtWallMs: 0, operations: [] } as const;
  assertEquals(intervals(serving, own, peers, { maintenance: { plan } }), all);
  assertEquals(probed([{ ownEtcd: { etcd: { kind: "stopped" } } }, gossip(peer("e")), heard(["a", {}])]).urls, []);
});

Deno.test("the etcd of a foreign legacy peer is probed rarely: only its answer can make it one of this cluster", () => {
  const known = [goPeer("g"), goPeer("h"), peer("n")];
  const foreign = new Map([["g", 0], ["n", 0]]);
  assertEquals(intervals({ gossip: { known, foreign } }), { g: 5_000 });
  const peers = [goPeer("g", { status: "running" })];
  assertEquals(intervals({ gossip: { known: peers, peers, foreign } }), { g: 500 });
});

Deno.test("a probe is noted, the node wakes for the next one, and what is probed no more is forgotten", () => {
  const lastProbedAtMs = new Map([[url("b"), nowMs - 499], [url("gone"), 5]]);
  const { turn, urls } = probed([gossip(running("b"), running("c")), { membership: { lastProbedAtMs } }]);
  assertEquals([urls, turn.wakeMs - nowMs], [[url("c")], 1]);
  assertEquals([...turn.node.membership.lastProbedAtMs], [[url("b"), nowMs - 499], [url("c"), nowMs]]);
  assertEquals(probed([gossip(running("c"))]).turn.wakeMs - nowMs, 500);
});

Deno.test("the leader's node reads whom raft hears, each second, while a member is missing by gossip or etcd", () => {
  const own = { disk: { data: data("a", members) } };
  const read = (change: StateChange, etcd: Partial<EtcdAnswer> = {}, b = answering(answer("b", members))) => {
    const endpoints = new Map([[url("a"), answering(answer("a", members, etcd))], [url("b"), b], [
      url("c"),
      answering(answer("c", members)),
    ]]);
    return probed([serving, own, gossip(held("b"), held("c")), { membership: { endpoints } }, change]).raft;
  };
  assertEquals(read({}), undefined);
  assertEquals(read(gossip(held("b"), { ...held("c"), state: "dead" })), url("a"));
  assertEquals(read({}, {}, silent(nowMs - 1)), url("a"));
  assertEquals(read({}, {}, silent(nowMs)), undefined, "it was silent for no time yet");
  assertEquals(read(gossip(held("b")), { leaderId: "id-b" }), undefined);
  assertEquals(read({ membership: { endpoints: new Map() } }), undefined);
  const stopped = { ...gossip(held("b")), ownEtcd: { etcd: { kind: "stopped" } } } as const;
  assertEquals(read(stopped), undefined);
  assertEquals(read({ ...gossip(held("b")), ownEtcd: starting.ownEtcd! }), url("a"));
});

Deno.test("the leader's raft is read at most once a second", () => {
  const missing = [serving, { disk: { data: data("a", members) } }, heard(["a", {}])];
  const at = (raftProbedMs?: number) => {
    const lastProbedAtMs = new Map(members.map(({ name }) => [url(name), never]));
    const { turn, raft } = probed([...missing, { membership: { raftProbedMs, lastProbedAtMs } }]);
    return [raft, turn.node.membership.raftProbedMs === nowMs, turn.wakeMs - nowMs];
  };
  assertEquals(at(), [url("a"), true, 1_000]);
  assertEquals([at(nowMs - 1_000), at(nowMs - 999)], [[url("a"), true, 1_000], [undefined, false, 1]]);
});

Deno.test("a node without etcd asks the leader's raft about the member of its data, or of its name, elsewhere", () => {
  const elsewhere = (name: string, change: object = {}) =>
    member(name, { peerUrls: [`http://old-${name}:2380`], ...change });
  const read = (list: readonly ReturnType<typeof member>[], change: StateChange = {}, answers = ["b"]) => {
    const endpoints = new Map(answers.map((name) => [
      url(name),
      answering(answer(name, list, { leaderId: "id-b", clusterId: answers.length > 1 ? name : "c1" })),
    ]));
    return probed([gossip(running("b"), running("c")), { membership: { endpoints } }, change]).raft;
  };
  const b = member("b");
  assertEquals(read([b, elsewhere("a")]), url("b"));
  assertEquals(read([b, member("a")]), undefined, "at its own address");
  assertEquals(read([b, elsewhere("z")]), undefined);
  const own = { disk: { data: data("a", []) } };
  assertEquals(read([b, elsewhere("z", { id: "id-a" })], own), url("b"));
  assertEquals(read([b, elsewhere("a", { id: "id-z" })], own), undefined, "a namesake");
  assertEquals(read([elsewhere("a")]), undefined, "the leader is not listed");
  assertEquals(read([b, elsewhere("a")], {}, []), undefined);
  assertEquals(read([b, elsewhere("a")], {}, ["b", "c"]), undefined, "two clusters");
});

const newest = { kind: "newest", hash: "h", revision: 7, takenAtWallMs: 1, verified: true, epochMax: 1 } as const;
const withStore = (change: StateChange["snapshots"] = {}): StateChange => ({
  settings: settings({ snapshots: true }),
  snapshots: { lookup: newest, store: { lookup: newest, newest }, ...change },
});

Deno.test("the store is looked up each ten seconds, beside a cluster that serves and has a snapshot each minute", () => {
  const due = (agoMs: number | undefined, ...changes: StateChange[]) => {
    const lookupStartedMs = agoMs === undefined ? undefined : nowMs - agoMs;
    return probed([withStore(), { snapshots: { lookupStartedMs } }, ...changes]).looks !== undefined;
  };
  assertEquals([due(undefined), due(9_999), due(10_000)], [true, false, true]);
  assertEquals([due(59_999, serving), due(60_000, serving)], [false, true]);
  const empty = { snapshots: { store: { lookup: { kind: "absent" }, newest: undefined } } } as const;
  assertEquals([due(9_999, serving, empty), due(10_000, serving, empty)], [false, true]);
  assertEquals(due(10_000, serving, { ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, leaderlessSinceMs: 3 } }), true);
  assertEquals(due(undefined, { snapshots: { lookupInFlight: true } }), false, "one is under way");
  assertEquals(due(undefined, { settings: settings() }), false, "no store");
  const { snapshots } = probed([withStore()]).turn.node;
  assertEquals([snapshots.lookupStartedMs, snapshots.lookupInFlight], [nowMs, true]);
});

Deno.test("a node that waits for the writer of a snapshot looks again once that writer's time is over", () => {
  const watchMs = writerWatchMs(settings());
  const look = (sinceMs: number, startedAgoMs: number, change: StateChange = {}) => {
    const newestSince = { hash: "h", ms: nowMs - sinceMs, askedMs: 0 };
    const { turn, looks } = probed([withStore({ newestSince, lookupStartedMs: nowMs - startedAgoMs }), change]);
    return [looks !== undefined, turn.wakeMs - nowMs];
  };
  assertEquals(look(watchMs, 5), [true, Infinity]);
  assertEquals(look(watchMs - 1, 5), [false, 1]);
  assertEquals(look(watchMs + 5, 5), [false, Infinity], "the last lookup came after it");
  assertEquals(look(watchMs, 5, serving), [false, 1_000]);
  const watching = { process: { watchingSinceMs: nowMs - watchMs + 3 } };
  assertEquals(look(watchMs + 9, 7, watching), [false, 3], "time that it did not watch is none");
});
