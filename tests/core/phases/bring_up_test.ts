import { bringUp, recover, yieldToNewerEpoch } from "../../../lib/core/phases/bring_up.ts";
import { endLifeDigest, planOf } from "../../../lib/core/evidence/order.ts";
import type { AnsweredEffect } from "../../../lib/core/facts/effect.ts";
import type { EndpointFacts, EtcdAnswer, EtcdMember } from "../../../lib/core/facts/cluster.ts";
import type { GossipPeer, PeerData, PeerFacts } from "../../../lib/core/facts/peer.ts";
import type { NodeRecord, Pledge } from "../../../lib/core/facts/node_record.ts";
import type { Turn } from "../../../lib/core/state/turn.ts";
import { assertEquals } from "../../support/assert.ts";
import {
  alarm,
  answer,
  answering,
  data,
  facts,
  member,
  nowMs,
  peer,
  settings,
  silent,
  type StateChange,
} from "../facts.ts";
import { decisionsOf, linesOf, noneFree, problemOf, requestsOf, turnOf } from "../turns.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const first = { id: "line", epoch: 1, token: "first" };
const second = { id: "line", epoch: 2, token: "second" };
const started = { lineage: first, how: "founded", renounced: [], clusterId: "c1", memberId: "id-a" } as const;
const record: NodeRecord = { nonce: "nonce-a", pledges: [], started };
type Held = Extract<PeerData, { kind: "held" }>;
const held = (name: string, change: Partial<Held> = {}, more: Partial<PeerFacts> = {}) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage: first, revision: 0, ...change },
      ...more,
    }),
  });
const gossip = (...peers: readonly GossipPeer[]): StateChange => ({ gossip: { peers, known: peers } });
const endpoints = (of: Readonly<Record<string, EndpointFacts>>): StateChange => ({
  membership: { endpoints: new Map(Object.entries(of).map(([name, each]) => [`http://${name}:2379`, each])) },
});
const own = (change: Partial<EtcdAnswer> = {}, list: readonly EtcdMember[] = members): StateChange =>
  endpoints({ a: answering(answer("a", list, change)) });

/** Node a, whose etcd is ready and has a leader. */
const serving: readonly StateChange[] = [
  {
    phase: "restarting",
    ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
    disk: { data: data("a", members), record, recordPersisted: true, logsWrittenMs: nowMs },
    maintenance: { planReadMs: nowMs },
    membership: { clusterRecordVerified: true },
  },
  gossip(held("b"), held("c")),
  own(),
];
const leaderless = (forMs: number): StateChange => ({ ownEtcd: { leaderlessSinceMs: nowMs - forMs } });
const kindsOf = (turn: Turn) => requestsOf(turn).map(({ kind }) => kind);

const lost: readonly StateChange[] = [
  leaderless(700_000),
  gossip(),
  endpoints({ b: silent(0), c: silent(0) }),
  { disk: { data: data("a", members, { lastLog: { term: 2, index: 100 } }), logReadMs: nowMs } },
];

function broughtUp(...changes: readonly StateChange[]) {
  const turn = turnOf([...serving, ...changes]);
  bringUp(turn);
  const { waitingFor, waitingLevel } = turn.node.reports;
  return {
    turn,
    kinds: kindsOf(turn),
    waits: waitingFor && `${waitingLevel} ${waitingFor.code}`,
    phase: turn.node.phase,
  };
}
const brief = (...changes: readonly StateChange[]) => {
  const { kinds, waits, phase } = broughtUp(...changes);
  return [phase, ...kinds, ...waits === undefined ? [] : [waits]];
};

Deno.test("a voter whose etcd has a leader, and whose record agrees with -n, serves", () => {
  const progress = { plan: undefined, verified: "h" } as never;
  const { turn, kinds, phase } = broughtUp({ bootstrap: { progress }, membership: { added: "id-a" } });
  const { bootstrap, membership, gossip } = turn.node;
  assertEquals([phase, kinds, bootstrap.progress, membership.added, gossip.status], [
    "serving",
    ["setStatus"],
    {},
    undefined,
    "running",
  ]);
  assertEquals(linesOf(turn), ["info restarting → serving etcd_ready: etcd is ready and this member votes"]);
  assertEquals(
    brief({ maintenance: { planReadMs: undefined } }),
    ["serving", "setStatus", "readPlan"],
    "and serves at once",
  );
});

Deno.test("an etcd without a leader is waited for: quietly, until the reason is one that an operator must know", () => {
  assertEquals(brief(leaderless(5)), ["restarting", "inspectData", "info etcd_starts"]);
  assertEquals(brief({ ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } }), ["restarting", "info etcd_starts"]);
  assertEquals(brief({ disk: { data: { kind: "unknown" } } }), ["restarting", "info etcd_starts"]);
  const alone = endpoints({ b: silent(0), c: silent(0) });
  const late = [leaderless(60_000), gossip(), alone, { disk: { logReadMs: nowMs } }] as const;
  assertEquals(brief(...late), ["restarting", "warn no_quorum"]);
  assertEquals(
    brief(
      ...late,
      gossip(peer("b"), peer("c")),
      endpoints({ b: answering(answer("b", members, { leaderId: "id-b" })) }),
    ),
    [
      "restarting",
      "warn etcd_apart",
    ],
  );
  const unusable = ["b", "c"].map((name) =>
    peer(name, { facts: facts(name, { data: { kind: "unusable", why: "crc" } }) })
  );
  assertEquals(brief(...late, gossip(...unusable)), ["restarting", "error members_unusable"]);
  const stopped = {
    rememberedPeers: new Map(
      ["b", "c"].map((name) => [name, { peerUrl: `http://${name}:2380`, leftAtMs: nowMs - 60_000 }]),
    ),
  };
  const zero = held("b", { clusterId: "c0", lineage: { ...first, token: "zero" } }, { undecided: first });
  assertEquals(brief(...late, gossip(zero)), ["restarting", "error two_epochs"]);
  assertEquals(
    brief(...late, endpoints({ a: silent(0) })),
    ["restarting", "info etcd_starts"],
    "it has not served yet",
  );
  assertEquals(broughtUp(leaderless(5)).turn.node.reports.waitingFor?.text, "etcd is running and has no leader yet");
  assertEquals(brief(...late, { gossip: stopped }), ["restarting", "info etcd_starts"]);
});

Deno.test("a learner is promoted through its cluster, not during a pause, and then waits to catch up", () => {
  const list = [member("a", { isLearner: true }), ...members.slice(1)];
  const learner: StateChange = { disk: { data: data("a", list) } };
  const b = answering(answer("b", list, { leaderId: "id-b" }));
  const all = [learner, endpoints({ b }), { phase: "joining" }] as const;
  const { turn, kinds, waits } = broughtUp(...all);
  assertEquals([kinds, waits], [["memberPromote"], "info catching_up"]);
  const [request] = requestsOf(turn);
  assertEquals(request?.kind === "memberPromote" && [request.via, request.memberId], [["http://b:2379"], "id-a"]);
  const [line] = linesOf(broughtUp(learner, endpoints({ b })).turn);
  assertEquals(line, "info restarting → joining is_learner: this member is a learner");
  assertEquals(brief(...all, endpoints({})), ["joining", "info catching_up"]);
  const paused = answering(answer("b", list, { leaderId: "id-b", pause: { paused: true, version: 1 } }));
  assertEquals(brief(...all, endpoints({ b: paused })), ["joining", "info paused"]);
});

Deno.test("a node yields, recovers and corrects its address before it waits for a leader", () => {
  const rival = held("b", { clusterId: "c2", lineage: second });
  const lives = endpoints({
    b: answering(answer("b", [member("b")], { clusterId: "c2", lineage: second, leaderId: "id-b" })),
  });
  assertEquals(brief(leaderless(60_000), gossip(rival, peer("c")), lives), ["restarting", "stopEtcd"]);
  assertEquals(brief(...lost), ["restarting", "info too_few_peers"]);
  const old = [member("a", { peerUrls: ["http://old:2380"], clientUrls: ["http://old:2379"] }), ...members.slice(1)];
  const moved = endpoints({ a: answering(answer("a", old)), old: silent(nowMs - 5_000) });
  const raft = { membership: { raft: { kind: "unreadable", atMs: nowMs } } } as const;
  assertEquals(broughtUp({ disk: { data: data("a", old) } }, moved, raft).kinds[0], "memberUpdate");
});

Deno.test("a member that its data-dir does not list waits to be listed", () => {
  assertEquals(brief({ disk: { data: data("a", members.slice(1)) } }), ["restarting", "info etcd_starts"]);
});

Deno.test("what this member has seen is on disk before it serves", () => {
  const lastCluster = { clusterId: "c1", voters: [], atMs: nowMs };
  assertEquals(broughtUp({ membership: { lastCluster } }).kinds[0], "writeRecord");
});

Deno.test("after a restore the volatile keys are cleared before the node serves, and space is reclaimed before that", () => {
  const restored = (change: StateChange = {}, etcd: Partial<EtcdAnswer> = {}) => {
    const { turn, kinds, waits } = broughtUp(
      { disk: { record: { ...record, started: { ...started, how: "restored" } } } },
      own(etcd),
      change,
    );
    return [turn.node.phase, kinds, waits];
  };
  const clearing = ["restarting", ["clearVolatile"], "info clearing_volatile"];
  assertEquals(restored(), clearing);
  assertEquals(restored({ bootstrap: { volatileKeysCleared: true } }).slice(0, 1), ["serving"]);
  const others = ["b", "c"].map((name) => [name, answering(answer(name, members))] as const);
  const full = { alarms: [alarm("NOSPACE", "a")] };
  const all = (change: Partial<EtcdAnswer> = {}) =>
    endpoints({ a: answering(answer("a", members, { ...full, ...change })), ...Object.fromEntries(others) });
  assertEquals(restored(all()), ["restarting", ["reclaimSpace"], undefined]);
  assertEquals(restored(all({ leaderId: "id-b" })), clearing, "the leader's node reclaims it");
  assertEquals(restored(all({ pause: { paused: true, version: 1 } })), clearing);
  assertEquals(restored(endpoints({})), clearing);
});

Deno.test("-n is compared with the cluster's record before the node serves", () => {
  const { turn, waits, phase } = broughtUp({ membership: { clusterRecordVerified: false } });
  const [request] = requestsOf(turn);
  assertEquals([request?.kind === "checkRecord" && request.requiredSize, waits, phase], [
    3,
    "info record_check",
    "restarting",
  ]);
});

const rival = held("b", { clusterId: "c2", lineage: second });
const living: StateChange = endpoints({
  b: answering(answer("b", [member("b")], { clusterId: "c2", lineage: second, leaderId: "id-b" })),
});

function yielded(...changes: readonly StateChange[]) {
  const turn = turnOf([...serving, leaderless(60_000), ...changes]);
  const refused = turnOf([...serving, leaderless(60_000), ...changes, noneFree]);
  yieldToNewerEpoch(refused);
  assertEquals(decisionsOf(refused), []);
  const result = yieldToNewerEpoch(turn);
  const { waitingFor, waitingLevel } = turn.node.reports;
  return {
    turn,
    told: [result, ...kindsOf(turn), ...waitingFor === undefined ? [] : [`${waitingLevel} ${waitingFor.code}`]],
  };
}

Deno.test("a node yields to a newer epoch that lives, waits where an operator must choose, and never while it has a leader", () => {
  const alone = [gossip(rival, peer("c")), living] as const;
  const yields = yielded(...alone);
  assertEquals(yields.told, [true, "stopEtcd"]);
  assertEquals(linesOf(yields.turn).some((line) => line.startsWith("info stopEtcd newer_epoch:")), true);
  assertEquals(yielded(...alone, { ownEtcd: { leaderlessSinceMs: undefined } }).told, [false]);
  assertEquals(
    yielded(...alone, { ownEtcd: { etcd: { kind: "starting", sinceMs: 0 }, leaderlessSinceMs: undefined } }).told,
    [true, "stopEtcd"],
  );
  assertEquals(yielded(...alone, { disk: { data: { kind: "unknown" } } }).told, [false]);
  const two = yielded(gossip(rival, held("c")), living);
  assertEquals(two.told, [true, "writeRecord", "error two_epochs"]);
  const silentLife = yielded(gossip(rival, peer("c")));
  assertEquals(silentLife.told, [true, "info newer_epoch_silent"]);
  const soon = yielded(gossip(rival, peer("c", { state: "dead" })), living, { process: { bootedAtMs: nowMs } });
  assertEquals(soon.told, [true, "info newer_epoch_waits"], "nothing is written down while the disks have their time");
  const chosen = yielded(gossip(rival, held("c")), living, {
    settings: settings({ approved: [planOf(endLifeDigest(second, first))] }),
  });
  assertEquals(chosen.told, [false]);
  assertEquals(yielded().told, [false]);
});

Deno.test("an etcd whose cluster does not list it any more is stopped after three seconds", () => {
  const b = (list: readonly EtcdMember[], change: Partial<EtcdAnswer> = {}) =>
    endpoints({ b: answering(answer("b", list, { leaderId: "id-b", ...change })) });
  const removed = members.slice(1);
  const told = (forMs: number | undefined, ...changes: readonly StateChange[]) =>
    yielded({ ownEtcd: { leaderlessSinceMs: forMs === undefined ? undefined : nowMs - forMs } }, ...changes).told;
  assertEquals([told(3_000, b(removed)), told(2_999, b(removed))], [[true, "stopEtcd"], [false]]);
  assertEquals([told(3_000, b(members)), told(3_000, b(removed, { clusterId: "c2" })), told(3_000, endpoints({}))], [
    [false],
    [false],
    [false],
  ]);
  const starting: StateChange = { ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } };
  assertEquals(told(undefined, b(removed), starting), [false]);
  const [line] = linesOf(yielded(b(removed)).turn);
  assertEquals(line, "info stopEtcd removed_member: this member was removed from the cluster");
  const busy: StateChange = { effects: { inFlight: new Map([["local", { kind: "writeRecord", id: 1, record }]]) } };
  assertEquals(linesOf(yielded(b(removed), busy).turn), []);
});

Deno.test("an etcd without a leader at an unregistered address is stopped once its member is seen elsewhere", () => {
  const registered = [
    member("a", { peerUrls: ["http://old:2380"], clientUrls: ["http://old:2379"] }),
    ...members.slice(1),
  ];
  const there = (list: readonly EtcdMember[]): StateChange => ({ disk: { data: data("a", list) } });
  const answers = (name: string) =>
    endpoints({ old: answering(answer(name, registered, { leaderId: undefined, linearizable: false } as never)) });
  const told = (...changes: readonly StateChange[]) => broughtUp(leaderless(1_000), ...changes);
  const stops = told(there(registered), answers("a"));
  assertEquals(stops.kinds, ["stopEtcd"]);
  assertEquals(linesOf(stops.turn)[0]?.startsWith('warn stopEtcd member_runs_twice: member "a" (id-a) runs at'), true);
  assertEquals(told(there(registered), answers("b")).kinds.includes("stopEtcd"), false, "another member answers there");
  assertEquals(told(there(registered), endpoints({ old: silent(0) })).kinds.includes("stopEtcd"), false);
  assertEquals(told(there(members), answers("a")).kinds.includes("stopEtcd"), false, "it is at its registered address");
  assertEquals(decisionsOf(told(there(registered), answers("a"), noneFree).turn), []);
  const led = broughtUp(there(registered), answers("a"));
  assertEquals(led.kinds.includes("stopEtcd"), false, "a quorum works with this etcd");
});

Deno.test("an etcd with another member id than the one that was added is stopped", () => {
  const told = (...changes: readonly StateChange[]) => broughtUp(...changes).kinds;
  assertEquals(told({ membership: { added: "id-new" } }), ["stopEtcd"]);
  assertEquals(told({ membership: { added: "id-a" } }), told());
  const { turn } = broughtUp({ membership: { added: "id-new" } });
  assertEquals(
    linesOf(turn)[0],
    "info stopEtcd removed_member: this node was added as member id-new, and its etcd took the id id-a of an earlier member",
  );
  assertEquals(decisionsOf(broughtUp({ membership: { added: "id-new" } }, noneFree).turn), []);
  const unknown: StateChange = { disk: { data: { kind: "unknown" } } };
  assertEquals(told({ membership: { added: "id-new" } }, unknown).includes("stopEtcd"), false);
});

Deno.test("an etcd without a leader is stopped once it is heard that the initial members left its bootstrap", () => {
  const other = { id: "other", epoch: 1, token: "other" };
  const left = held("b", { clusterId: "c2", lineage: other }, { renounced: ["first"] });
  const runs = endpoints({
    b: answering(answer("b", [member("b")], { clusterId: "c2", lineage: other, leaderId: "id-b" })),
  });
  const stops = yielded(gossip(left), runs);
  assertEquals(stops.told, [true, "stopEtcd"]);
  assertEquals(linesOf(stops.turn).some((line) => line.startsWith("info stopEtcd bootstrap_renounced:")), true);
  assertEquals(yielded(gossip(left, held("c")), runs).told, [false], "a quorum of its disks is here");
  assertEquals(yielded(gossip(held("b")), runs).told, [false]);
  assertEquals(yielded(gossip(left), runs, leaderless(2_999)).told, [false]);
});

Deno.test("another life of the lineage is a standing problem, and leaves ready the node that serves or was chosen", () => {
  const told = (...changes: readonly StateChange[]) => {
    const before = { level: "error", reason: { code: "two_epochs", text: "before" } } as const;
    const { turn } = yielded({ reports: { problems: new Map([["two_epochs", before]]) } }, ...changes);
    return problemOf(turn, "two_epochs");
  };
  const text = '"b" holds another life of this cluster (epoch 2, this node epoch 1): an operator must choose';
  assertEquals(told(gossip(rival)), `error ready: ${text}`);
  assertEquals(told(gossip(rival), living), `error: ${text}`);
  const chosen = { settings: settings({ approved: [planOf(endLifeDigest(second, first))] }) };
  assertEquals(told(gossip(rival), living, chosen), `error ready: ${text}`);
  assertEquals(told(), undefined);
  const unknown: StateChange = { disk: { data: { kind: "unknown" }, record: { nonce: "n", pledges: [] } } };
  assertEquals(told(gossip(rival), unknown), undefined, "no own life is known");
  const former: StateChange = {
    disk: { record: { ...record, former: [{ ...started, lineage: second, clusterId: "c2" }] } },
  };
  assertEquals(told(former), undefined, "it lies on the own disk and lives nowhere");
  const waits = held("b", { clusterId: "c0", lineage: { ...first, token: "zero" } }, { undecided: first });
  assertEquals(told(gossip(waits))?.includes('"b" holds another life of this cluster (epoch 1,'), true);
  const { reason } = yielded(gossip(rival)).turn.node.reports.problems.get("two_epochs")!;
  assertEquals(reason.hint?.split(";")[0], "stop the side that is to be discarded");
  assertEquals(reason.choices?.length, 2);
});

Deno.test("a later life in the store is a standing problem, too", () => {
  const newest = {
    kind: "newest",
    hash: "h",
    revision: 1,
    lineage: first,
    takenAtWallMs: 0,
    verified: true,
    epochMax: 2,
  } as const;
  const { turn } = yielded({ snapshots: { store: { lookup: newest, newest } } });
  assertEquals(problemOf(turn, "other_life_stored") !== undefined, true);
});

Deno.test("a node that serves writes down the newer life that had a quorum beside it, once", () => {
  const wrote = (...changes: readonly StateChange[]) => {
    const { turn } = yielded(
      { phase: "serving", ownEtcd: { leaderlessSinceMs: undefined } },
      gossip(rival),
      living,
      ...changes,
    );
    return requestsOf(turn).flatMap((effect) => effect.kind === "writeRecord" ? [effect.record.rival] : []);
  };
  assertEquals(wrote(), [second]);
  assertEquals(wrote({ phase: "restarting" }), []);
  assertEquals(wrote({ disk: { record: { ...record, rival: second } } }), []);
  assertEquals(wrote({ disk: { record: { ...record, rival: { ...second, token: "x" } } } }), [second]);
  const waits = held("b", { clusterId: "c0", lineage: { ...first, token: "zero" } }, { undecided: first });
  assertEquals(wrote(gossip(waits), endpoints({})), [], "of the same epoch");
});

function recovered(...changes: readonly StateChange[]) {
  const turn = turnOf([...serving, { phase: "serving" }, ...changes]);
  const result = recover(turn);
  return {
    turn,
    told: [
      result,
      ...requestsOf(turn).flatMap((effect) => "id" in effect ? [(effect as AnsweredEffect).kind] : [effect.kind]),
    ],
  };
}

Deno.test("a survivor takes part in a recovery once its quorum counts as lost, and drops the plan when it does not", () => {
  const { turn, told } = recovered(...lost);
  assertEquals(told[0], true);
  assertEquals(turn.node.reports.waitingFor !== undefined || told.length > 1, true);
  const plan = { digest: "x", initialMembers: [], source: { kind: "empty" }, lineage: first } as const;
  const proposed: StateChange = { bootstrap: { progress: { plan } } };
  const not = recovered(leaderless(60_000), proposed, { disk: { logReadMs: nowMs } });
  assertEquals([not.told, not.turn.node.bootstrap.progress], [[false], {}]);
  assertEquals(recovered({ disk: { logReadMs: nowMs } }).told, [false]);
});

Deno.test("the end of the own log is read each five seconds while there is no leader", () => {
  const reads = (agoMs: number | undefined, forMs: number | undefined = 60_000) => {
    const { turn, told } = recovered(
      { ownEtcd: { leaderlessSinceMs: forMs === undefined ? undefined : nowMs - forMs } },
      { disk: { logReadMs: agoMs === undefined ? undefined : nowMs - agoMs } },
    );
    return [told.includes("inspectData"), turn.node.disk.logReadMs === nowMs];
  };
  assertEquals([reads(undefined), reads(5_000), reads(4_999)], [[true, true], [true, true], [false, false]]);
  assertEquals(turnOf([...serving]).node.ownEtcd.leaderlessSinceMs, undefined);
  const { told } = recovered({ disk: { logReadMs: undefined } });
  assertEquals(told, [false], "it has a leader");
});

Deno.test("a pledge to another life is carried out while there is no leader, and not once the own life has one again", () => {
  const initialMembers = ["a", "b", "c"].map((name) => ({
    name,
    peerUrl: `http://${name}:2380`,
    nonce: `nonce-${name}`,
  }));
  const source = { kind: "survivor", name: "b", revision: 1 } as const;
  const pledge: Pledge = {
    initialMembers,
    source,
    lineage: second,
    digest: "d",
    token: second.token,
    verified: "h",
    replaces: "c1",
  };
  const keep = (name: string) =>
    held(name, {}, { pledges: [{ digest: "d", token: second.token, initialMembers, verified: "h" }] });
  const all = gossip(keep("b"), keep("c"));
  const pledged = (change: Partial<Pledge> = {}): StateChange => ({
    disk: { record: { ...record, pledges: [{ ...pledge, ...change }] }, logReadMs: nowMs },
  });
  const carried = (...changes: readonly StateChange[]) => {
    const { turn, told } = recovered(all, endpoints({ b: silent(0), c: silent(0) }), ...changes);
    return [told[0], turn.node.bootstrap.committing?.token];
  };
  assertEquals(carried(pledged(), leaderless(60_000)), [true, "second"]);
  assertEquals(carried(pledged()), [false, undefined]);
  const earlier = { ...pledge, token: "earlier", digest: "e" };
  const both: StateChange = { disk: { record: { ...record, pledges: [earlier, pledge] }, logReadMs: nowMs } };
  assertEquals(carried(both, leaderless(60_000)), [true, "second"], "the last one counts");
  const kept: StateChange = {
    disk: { record: { ...record, pledges: [{ ...pledge, token: first.token }, pledge] }, logReadMs: nowMs },
  };
  assertEquals(carried(kept, leaderless(60_000)), [true, "second"]);
  assertEquals(
    carried(pledged(), leaderless(60_000), gossip(keep("b"), held("c"))),
    [false, undefined],
    "c has not kept it",
  );
  assertEquals(carried(pledged({ token: first.token }), leaderless(60_000)), [false, undefined], "it is the own life");
});
