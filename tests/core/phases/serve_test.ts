import type { AnsweredEffect, Effect } from "../../../lib/core/facts/effect.ts";
import { step } from "../../../lib/core/step.ts";
import { assertEquals } from "../../support/assert.ts";
import {
  alarm,
  answer,
  answering,
  changed,
  data,
  facts,
  member,
  nowMs,
  peer,
  settings,
  silent,
  type StateChange,
} from "../facts.ts";
import { decisionsOf, linesOf, noneFree, requestsOf, turnOf } from "../turns.ts";
import { createNode } from "../../../lib/core/state/state.ts";
import type { EndpointFacts, EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import { reclaimSpace, serve } from "../../../lib/core/phases/serve.ts";

const members = [member("a")];
const now = { monotonicMs: 1_000, wallMs: 1_000_000 };
const lineage = { id: "l", epoch: 0, token: "t" };
const backup = { kind: "takeSnapshot", id: 7, format: "v2", lineage, lastRevision: 0 } as const;

/** a serves and takes a snapshot; what it does when its etcd answers so. */
function effects(change: Partial<EtcdAnswer>, node: StateChange = {}): string[] {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  const before = changed(
    createNode(self, settings({ requiredSize: 1, gossip: false, snapshots: true }), "seed", now),
    {
      phase: "serving",
      disk: { data: data("a", members) },
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
      membership: {
        clusterRecordVerified: true,
        endpoints: new Map([[self.clientUrl, answering(answer("a", members, change), now.monotonicMs)]]),
      },
      bootstrap: { volatileKeysCleared: true, hashesCompared: true },
      effects: { inFlight: new Map([["backup", backup]]) },
      maintenance: { planReadMs: now.monotonicMs },
    },
    node,
  );
  const wanted: readonly Effect["kind"][] = ["abortSnapshot", "reclaimSpace", "takeSnapshot", "clearVolatile"];
  return step(before, { kind: "timer" }, now).effects.map(({ kind }) => kind).filter((kind) =>
    wanted.includes(kind as Effect["kind"])
  );
}

Deno.test("a full database ends the snapshot that is being taken; room is made as soon as it has ended", () => {
  assertEquals(effects({}), []);
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")] }), ["abortSnapshot"]);
  const ended = {
    effects: { inFlight: new Map() },
    snapshots: { backup: { revision: 0, attemptedAtMs: now.monotonicMs, diverged: false } },
  };
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")] }, ended), ["reclaimSpace"]);
});

Deno.test("a node whose member leads no more ends its snapshot, too", () => {
  assertEquals(effects({ alarms: [alarm("NOSPACE", "b")], leaderId: "id-b" }), ["abortSnapshot"]);
});

Deno.test("a snapshot goes on while room was made a moment ago and there was none", () => {
  assertEquals(
    effects({ alarms: [alarm("NOSPACE", "a")] }, {
      effects: { backoffUntilMs: new Map([["maintenance", now.monotonicMs + 60_000]]) },
    }),
    [],
  );
});

Deno.test("a restored cluster without space reclaims space before the volatile keys are cleared", () => {
  const started = { lineage: { id: "l", epoch: 2, token: "t" }, how: "restored", renounced: [] } as const;
  const restored: StateChange = {
    phase: "bootstrapping",
    bootstrap: { volatileKeysCleared: false },
    effects: { inFlight: new Map() },
    disk: { record: { nonce: "n", pledges: [], started } },
  };
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")] }, restored), ["reclaimSpace"]);
  assertEquals(effects({}, restored), ["clearVolatile"]);
  // Beside a follower the leader's node reclaims the space.
  assertEquals(effects({ alarms: [alarm("NOSPACE", "a")], leaderId: "id-b" }, restored), ["clearVolatile"]);
});

const three = ["a", "b", "c"].map((name) => member(name));
const line = { id: "line", epoch: 1, token: "t" };
const started = { lineage: line, how: "founded", renounced: [], clusterId: "c1", memberId: "id-a" } as const;
const kept = { lineage: line };

/** What each member answers beside the own one; "silent": nothing. */
function cluster(
  own: Partial<EtcdAnswer> | undefined,
  of: Readonly<Record<string, Partial<EtcdAnswer> | "silent">> = {},
): StateChange {
  const endpoints = new Map<string, EndpointFacts>();
  const list = own?.members ?? three;
  if (own !== undefined) endpoints.set("http://a:2379", answering(answer("a", list, { ...kept, ...own })));
  for (const { name } of list.slice(1)) {
    const change = of[name] ?? {};
    if (change === "silent") endpoints.set(`http://${name}:2379`, silent(0));
    else {endpoints.set(
        `http://${name}:2379`,
        answering(answer(name, list, { leaderId: own?.leaderId ?? "id-a", ...change })),
      );}
  }
  return { membership: { endpoints } };
}

/** Node a serves; nothing is to be done unless the changes say so. */
function served(...changes: readonly StateChange[]) {
  const peers = ["b", "c"].map((name) =>
    peer(name, {
      facts: facts(name, {
        data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage: line, revision: 0 },
      }),
    })
  );
  const turnWith = (...more: readonly StateChange[]) =>
    turnOf([
      {
        phase: "serving",
        ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
        disk: { data: data("a", three), record: { nonce: "n", pledges: [], started } },
        gossip: { peers, known: peers },
        maintenance: { planReadMs: nowMs },
        membership: { memberSinceMs: new Map(three.map(({ id }) => [id, 0])) },
      },
      cluster({}),
      ...changes,
      ...more,
    ]);
  const refused = turnWith(noneFree);
  serve(refused);
  assertEquals(decisionsOf(refused), []);
  const turn = turnWith();
  serve(turn);
  const requests = requestsOf(turn).map((effect) => {
    const { id: _, ...rest } = effect as AnsweredEffect;
    return rest;
  });
  const waits = turn.node.reports.waitingFor;
  return { turn, requests, waits: waits && `${turn.node.reports.waitingLevel} ${waits.code}`, lines: linesOf(turn) };
}
const brief = (...changes: readonly StateChange[]) => {
  const { requests, waits } = served(...changes);
  return [...requests.map(({ kind }) => kind), ...waits === undefined ? [] : [waits]];
};
const waited: StateChange = { reports: { waitingFor: { code: "no_quorum", text: "t" } } };

Deno.test("the leader's node of a healthy cluster has nothing to do, and ends what it waited for", () => {
  assertEquals(brief(), []);
  const { lines } = served({ reports: { waitingFor: { code: "change_runs", text: "a change runs" } } });
  assertEquals(lines, ["info wait ended change_runs: no longer: a change runs"]);
  const manager = { membership: { silentManager: { leaderId: "id-b", sinceMs: 0 } } };
  assertEquals(served(manager).turn.node.membership.silentManager, undefined);
});

Deno.test("the plan in etcd is read each five seconds, by a follower and during a pause, too", () => {
  const read = (agoMs: number | undefined, ...changes: readonly StateChange[]) => {
    const planReadMs = agoMs === undefined ? undefined : nowMs - agoMs;
    const { turn } = served({ maintenance: { planReadMs } }, ...changes);
    return [turn.effects.some(({ kind }) => kind === "readPlan"), turn.node.maintenance.planReadMs === nowMs];
  };
  assertEquals([read(undefined), read(5_000), read(4_999)], [[true, true], [true, true], [false, false]]);
  const follows = cluster({ leaderId: "id-b" });
  assertEquals(read(5_000, follows), [true, true]);
  assertEquals(read(5_000, follows, { settings: settings({ paused: true }) }), [true, true]);
  assertEquals(read(5_000, cluster({ leaderId: "id-b", linearizable: false })), [false, false]);
  const unread = cluster({ leaderId: "id-b", linearizable: false });
  assertEquals(read(5_000, unread, { settings: settings({ paused: true }) }), [false, false]);
  assertEquals(read(5_000, cluster({ pause: { paused: true, version: 1 } })), [true, true]);
});

Deno.test("a follower's node hands a request on, upgrades itself when it is its turn, and neither during a pause", () => {
  const follows = cluster({ leaderId: "id-b" });
  const plan = {
    id: "p",
    purpose: "upgrade",
    text: "t",
    createdAtWallMs: 0,
    operations: [{ kind: "upgrade", memberId: "id-a", to: "3.7" }],
  } as const;
  const requested = { maintenance: { requested: plan } };
  const running = { maintenance: { plan } };
  assertEquals([brief(follows, requested), brief(follows, running)], [["writePlan"], ["upgradeEtcd"]]);
  const paused = { settings: settings({ paused: true }) };
  assertEquals([brief(follows, requested, paused), brief(follows, running, paused)], [[], []]);
  const unread = cluster({ leaderId: "id-b", linearizable: false });
  assertEquals([brief(unread, requested), brief(unread, running)], [[], []]);
});

Deno.test("a follower's node takes the leadership over from a member whose manager is silent", () => {
  const peers = [peer("b", { state: "dead" }), peer("c")];
  const silentManager = { leaderId: "id-b", sinceMs: 0 };
  const change: StateChange = { gossip: { peers, known: peers }, membership: { silentManager } };
  assertEquals(brief(cluster({ leaderId: "id-b" }), change), ["moveLeader"]);
  const taken = served(cluster({ leaderId: "id-b" }), change, { maintenance: { planReadMs: undefined } }).turn;
  assertEquals(taken.effects.some(({ kind }) => kind === "readPlan"), false, "nothing else meanwhile");
  assertEquals(brief(cluster({ leaderId: "id-b", linearizable: false }), change), []);
});

Deno.test("a node whose etcd has no leader waits with the reason, and goes on once it has one", () => {
  const leaderless = cluster({ leaderId: undefined, linearizable: false } as unknown as Partial<EtcdAnswer>);
  assertEquals(brief(leaderless), ["info electing"]);
  assertEquals(brief(leaderless, { ownEtcd: { leaderlessSinceMs: 0 } }), ["warn etcd_apart"]);
  assertEquals(brief(cluster(undefined)), ["info electing"], "it does not answer");
  assertEquals(
    brief(cluster(undefined), { membership: { probesInvalidatedAtMs: nowMs - 1 } }),
    [],
    "it was just asked anew",
  );
  assertEquals(brief(leaderless, { membership: { probesInvalidatedAtMs: nowMs - 1 } }), ["info electing"]);
  assertEquals(served(cluster({ leaderId: "id-b" }), waited).lines, ["info wait ended no_quorum: no longer: t"]);
  const other = { reports: { waitingFor: { code: "x", text: "t" } } };
  assertEquals(brief(cluster({ leaderId: "id-b" }), other), ["info x"]);
});

Deno.test("the leader's node writes the lineage into etcd where the cluster keeps none", () => {
  const { requests } = served(cluster({ lineage: "absent" }));
  assertEquals(requests, [{ kind: "writeLineage", clusterId: "c1", lineage: line }]);
});

Deno.test("after a restore the volatile keys are cleared, then all voters are compared, once each", () => {
  const restored = (epoch: number, how: "founded" | "joined" | "restored", change: StateChange = {}) => {
    const lineage = { ...line, epoch };
    const record = { nonce: "n", pledges: [], started: { ...started, how, lineage } };
    return served({ disk: { record } }, cluster({ lineage }), change).requests.filter(({ kind }) =>
      kind === "clearVolatile" || kind === "compareHashes"
    );
  };
  const clears = (epoch: number) => [{ kind: "clearVolatile", lineage: { ...line, epoch } }];
  assertEquals([restored(1, "founded"), restored(1, "joined")], [[], []]);
  assertEquals([restored(1, "restored"), restored(2, "founded"), restored(2, "joined")], [
    clears(1),
    clears(2),
    clears(2),
  ]);
  const cleared = (change: object = {}) => ({
    bootstrap: { volatileKeysCleared: true, hashesCompared: false, ...change },
  });
  const compares = [{ kind: "compareHashes", endpoints: ["a", "b", "c"].map((name) => `http://${name}:2379`) }];
  assertEquals(restored(2, "restored", cleared()), compares);
  assertEquals(restored(2, "restored", cleared({ hashesCompared: true })), []);
  assertEquals(
    restored(2, "restored", { ...cleared(), settings: settings({ requiredSize: 4 }) }),
    [],
    "members are missing",
  );
  const unknown: StateChange = { disk: { data: { kind: "unknown" }, record: { nonce: "n", pledges: [] } } };
  assertEquals(served(unknown, cluster({ lineage: "absent" })).requests, [], "of no known lineage");
});

Deno.test("a snapshot is taken when it is due, of a lineage that is certain, and beside no other work on a member", () => {
  const store: StateChange = {
    settings: settings({ snapshots: true }),
    snapshots: { backup: { revision: 7, diverged: false } },
  };
  const take = [{ kind: "takeSnapshot", format: "v2", lineage: line, lastRevision: 7 }];
  const taken = (...changes: readonly StateChange[]) =>
    served(store, ...changes).requests.filter(({ kind }) => kind === "takeSnapshot");
  assertEquals(taken(), take);
  assertEquals(taken({ settings: settings() }), []);
  assertEquals(taken(cluster({ lineage: { ...line, epoch: 2 } })), [], "the record adopts another one first");
  const inFlight = (slot: "backup" | "maintenance" | "cluster") =>
    taken({
      effects: { inFlight: new Map([[slot, { kind: "disarmCorrupt", id: 1, memberId: "" } as const]]), nextId: 2 },
    });
  assertEquals([inFlight("backup"), inFlight("maintenance"), inFlight("cluster")], [[], [], take]);
  assertEquals(taken(cluster({ pause: { paused: true, version: 1 } })), take, "a pause stops no backup");
});

Deno.test("the leader's node changes no member during a pause, nor while another change is in flight", () => {
  const gone = cluster({}, { c: "silent" });
  const peers = [peer("b"), peer("c", { state: "dead", sinceMs: 0 }), peer("d")];
  const dead: StateChange = {
    gossip: { peers, known: peers },
    membership: { raft: { kind: "unreadable", atMs: nowMs } },
  };
  const removes = served(gone, dead);
  assertEquals(removes.requests, [{ kind: "memberRemove", via: ["http://a:2379"], memberId: "id-c" }]);
  assertEquals(removes.lines[0]?.startsWith("warn remove "), true);
  assertEquals(removes.turn.node.reports.journal[0]?.facts, { member: "id-c", name: "c" });
  assertEquals(brief(cluster({ pause: { paused: true, version: 1 } }, { c: "silent" }), dead), ["info paused"]);
  const inFlight: StateChange = {
    effects: { inFlight: new Map([["cluster", { kind: "moveLeader", id: 1, to: "" }]]), nextId: 2 },
  };
  assertEquals([brief(gone, dead, inFlight, waited), brief(inFlight, waited)], [["info no_quorum"], [
    "info no_quorum",
  ]]);
});

Deno.test("the leader's node promotes a learner that has caught up, and waits for one that has not", () => {
  const list = [...three.slice(0, 2), member("c", { isLearner: true })];
  const learner = (raftAppliedIndex: number) =>
    served(
      cluster({ members: list, raftIndex: 100_000 }, { c: { isLearner: true, raftAppliedIndex, linearizable: false } }),
    );
  const ready = learner(100_000);
  assertEquals(ready.requests, [{ kind: "memberPromote", via: ["http://a:2379"], memberId: "id-c" }]);
  assertEquals(ready.lines[0]?.startsWith("info promote "), true);
  assertEquals([ready.lines.length, ready.turn.node.reports.journal[0]?.facts], [1, { member: "id-c", name: "c" }]);
  const behind = learner(5);
  assertEquals([behind.requests.length, behind.waits?.startsWith("info ")], [0, true]);
});

Deno.test("a full database goes before a plan, and a plan before the end of the wait", () => {
  const full = cluster({ alarms: [alarm("NOSPACE", "a")] });
  const plan = {
    id: "p",
    purpose: "scale",
    text: "t",
    createdAtWallMs: 0,
    operations: [{ kind: "resize", from: 3, to: 5 }],
  } as const;
  assertEquals([brief(full, { maintenance: { plan } }), brief({ maintenance: { plan } })], [["reclaimSpace"], [
    "changeRecord",
  ]]);
  const { turn, requests } = served(full);
  assertEquals(requests, [{ kind: "reclaimSpace", endpoints: ["b", "c", "a"].map((name) => `http://${name}:2379`) }]);
  assertEquals([linesOf(turn)[0]?.split(" ")[1], turn.node.reports.journal[0]?.facts], ["reclaimSpace", {
    members: 3,
  }]);
  const waiting = { ...plan, operations: [{ kind: "add", peerUrl: "http://d:2380" }] } as const;
  assertEquals(brief({ maintenance: { plan: waiting } }), ["info plan_waits"]);
  const saving: StateChange = { effects: { inFlight: new Map([["backup", backup]]), nextId: 9 } };
  const aborts = served(full, saving);
  assertEquals(aborts.lines[0]?.startsWith("info abortSnapshot snapshot_aborted: "), true);
  const follows = (alarms: EtcdAnswer["alarms"], change: StateChange) =>
    brief(cluster({ leaderId: "id-b", alarms }), change);
  const none: StateChange = {};
  assertEquals(
    [follows([alarm("NOSPACE", "a")], saving), follows([], saving), follows([alarm("NOSPACE", "a")], none)],
    [
      ["abortSnapshot"],
      [],
      [],
    ],
  );
  assertEquals(
    brief(full, waited, { effects: { backoffUntilMs: new Map([["maintenance", Infinity]]) } }),
    ["info no_quorum"],
    "it was tried a moment ago",
  );
  const own = answer("a", three, { alarms: [alarm("NOSPACE", "a")] });
  const waits = turnOf(cluster({}, { b: "silent" }));
  assertEquals([reclaimSpace(waits, own), waits.node.reports.waitingFor?.code, waits.node.reports.waitingLevel], [
    true,
    "nospace_waits",
    "error",
  ]);
  assertEquals(reclaimSpace(turnOf(cluster({})), answer("a", three)), false);
});

Deno.test("a corrupt member is asked for its hash, gives up the lead, is removed, or is disarmed, and nothing else happens", () => {
  const corrupt = (name: string): Partial<EtcdAnswer> => ({ alarms: [alarm("CORRUPT", name)] });
  const asks = served(cluster(corrupt("c")));
  assertEquals(asks.requests.map(({ kind }) => kind), ["hashMembers"]);
  assertEquals(served(cluster(corrupt("c")), waited).waits, "info no_quorum", "nothing else is decided meanwhile");
  const hash = (name: string, value: number) => ({ memberId: `id-${name}`, hash: value, compactRevision: 1 });
  const evidence = (a: number, b: number, c: number): StateChange => ({
    maintenance: {
      hashes: {
        revision: 1,
        atMs: nowMs,
        voters: three.map(({ id }) => id),
        hashes: [hash("a", a), hash("b", b), hash("c", c)],
      },
    },
  });
  const standby = ["b", "c"].map((name) => peer(name)).concat(peer("d"));
  const replaced: StateChange = { gossip: { peers: standby, known: standby } };
  const removes = served(cluster(corrupt("c")), evidence(1, 1, 2), replaced);
  assertEquals(removes.requests, [{ kind: "memberRemove", via: ["http://a:2379"], memberId: "id-c" }]);
  assertEquals([removes.lines[0]?.split(" ").slice(0, 2), removes.turn.node.reports.journal[0]?.facts], [
    ["warn", "remove"],
    { member: "id-c", name: "c" },
  ]);
  const leads = served(cluster(corrupt("a")), evidence(2, 1, 1), replaced);
  assertEquals([leads.requests.map(({ kind }) => kind), leads.lines[0]?.split(" ")[1]], [["moveLeader"], "moveLeader"]);
  const removed = served(cluster(corrupt("x")));
  assertEquals(removed.requests, [{ kind: "disarmCorrupt", memberId: "id-x" }]);
  assertEquals([removed.lines[0]?.split(" ")[1], removed.turn.node.reports.journal[0]?.facts], ["disarm", {
    member: "id-x",
  }]);
  const equal = served(cluster(corrupt("c")), evidence(1, 1, 1));
  assertEquals([equal.requests, equal.waits], [[], "error corrupt_equal"], "it may be replaced when it is gone");
  const unnamed = served(cluster({ alarms: [alarm("CORRUPT")] }), waited);
  assertEquals([unnamed.requests, unnamed.waits], [[], "error corrupt_unnamed"]);
});
