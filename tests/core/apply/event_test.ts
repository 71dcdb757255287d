import { applyEvent } from "../../../lib/core/apply/event.ts";
import { step } from "../../../lib/core/step.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { bootstrapPlanOf, pledgeOf } from "../../../lib/core/rules/bootstrap/proposal.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, data, facts, member, peer, settings, type StateChange } from "../facts.ts";
import { copyOf, createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { ValidData } from "../../../lib/core/facts/data_dir.ts";
import type { EndpointFacts, EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { EtcdProbe } from "../../../lib/core/facts/cluster.ts";
import type { NodeRecord, StartedData } from "../../../lib/core/facts/node_record.ts";
import type { Settings } from "../../../lib/core/facts/settings.ts";

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
  assertEquals(pause(false, 2), "automatic action is resumed");
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
  assertEquals(node.reports.waitingFor?.code, "etcd_needed");
  turn({ kind: "failed", id: (wanted as { id: number }).id, code: "etcd_dir_version", message: "no 3.7 here" }, 20);
  // It rests, and nobody was removed or added for it.
  for (let ms = 30; ms < 900; ms += 100) assertEquals(turn({ kind: "timer" }, ms), []);
  node = { ...node, effects: { ...node.effects, backoffUntilMs: new Map() } };
  const [again] = turn({ kind: "timer" }, 950);
  turn({ kind: "done", id: (again as { id: number }).id, value: { kind: "etcdProvided", version: "3.7.3" } }, 960);
  const [effect] = turn({ kind: "timer" }, 970);
  assertEquals(effect?.kind ?? [...node.effects.inFlight.values()][0]?.kind, "memberAdd");
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

/** The state after these events alone, each a millisecond after the one before, without the rules. */
function applied(node: NodeState, ...events: readonly Event[]): Turn {
  let turn = new Turn(copyOf(node), at(node.process.lastEventMs));
  for (const [i, event] of events.entries()) {
    turn = new Turn(copyOf(turn.node), at(1_000 + i));
    applyEvent(turn, event);
  }
  return turn;
}

const lines = ({ node }: Turn) =>
  node.reports.journal.map(({ level, outcome, reason: { code, text } }) => `${level} ${outcome} ${code}: ${text}`);
const [urlA, urlB] = ["http://a:2379", "http://b:2379"] as const;
const ready = { etcd: { kind: "ready", sinceMs: 0 } } as const;
const probe = (endpoint: string, change: Partial<EtcdAnswer> = {}, name = endpoint.at(7)!): Event => ({
  kind: "probed",
  endpoint,
  probe: answer(name, members, change),
});
const silence = (endpoint: string): Event => ({
  kind: "probed",
  endpoint,
  probe: { kind: "unreachable", code: "refused" },
});

Deno.test("a node that boots counts time from then, and looks at its disk", () => {
  const { node, effects } = applied(nodeA(), { kind: "boot" });
  assertEquals([node.process.bootedAtMs, node.process.watchingSinceMs], [1_000, 1_000]);
  assertEquals(effects, [{ kind: "inspectData" }]);
});

Deno.test("gossip replaces what was known of the peers; keys stay until others are told", () => {
  const peers = [peer("b")];
  const first = { kind: "gossip", joined: false, peers } as const;
  const conflicts = [{ name: "b", addresses: ["b:1", "b:2"] as const }];
  const keys = { mismatches: [], fingerprint: "f" };
  const known = applied(nodeA(), { ...first, conflicts, keys }, first).node.gossip;
  assertEquals([known.known, known.gossipKeys, known.gossipJoinedAtMs], [peers, keys, undefined]);
  assertEquals(known.nameConflicts, [], "a conflict that is not told any more is over");
  assertEquals(applied(nodeA(), { ...first, conflicts }).node.gossip.nameConflicts, conflicts);
  const joined = { ...first, joined: true };
  assertEquals(applied(nodeA(), first, joined, joined).node.gossip.gossipJoinedAtMs, 1_001);
});

Deno.test("a reading of the leader's raft is kept beside those before", () => {
  const reading = { kind: "answer", memberId: "id-a", peers: [{ memberId: "id-b", receivedBytes: 5 }] } as const;
  const { raft } = applied(nodeA(), { kind: "raftProbed", probe: reading }).node.membership;
  assertEquals(raft?.kind === "read" && [raft.memberId, raft.atMs, raft.members.size], ["id-a", 1_000, 1]);
});

Deno.test("new settings keep what the cluster decides: the pause, approvals, and the size once its record is known", () => {
  const own = settings({ requiredSize: 3, paused: true, approved: ["p1"] });
  const event = {
    kind: "settings",
    settings: settings({ requiredSize: 5, approved: ["p2"], seeds: ["b:1"] }),
  } as const;
  const after = (clusterRecordVerified: boolean) => {
    const { node } = applied(nodeA({ settings: own, membership: { clusterRecordVerified } }), event);
    const { requiredSize, paused, approved, seeds } = node.settings;
    return [requiredSize, paused, approved, seeds];
  };
  assertEquals([after(true), after(false)], [
    [3, true, ["p1", "p2"], ["b:1"]],
    [5, true, ["p1", "p2"], ["b:1"]],
  ]);
});

Deno.test("a store that is configured is unknown until it is looked up, and one that is not any more shows nothing", () => {
  const newest = { kind: "newest", hash: "h", revision: 7, takenAtWallMs: 1, verified: true, epochMax: 1 } as const;
  const after = (lookup: NodeState["snapshots"]["lookup"], snapshots: boolean) =>
    applied(nodeA({ snapshots: { lookup } }), { kind: "settings", settings: settings({ snapshots }) }).node.snapshots
      .lookup.kind;
  assertEquals([after(newest, true), after(newest, false)], ["newest", "unconfigured"]);
  assertEquals([after({ kind: "unconfigured" }, true), after({ kind: "unconfigured" }, false)], [
    "unknown",
    "unconfigured",
  ]);
});

Deno.test("a timer that has come is no longer armed; SIGTERM ends the node with status 0, once", () => {
  assertEquals(applied(nodeA({ process: { timerAtMs: 5 } }), { kind: "timer" }).node.process.timerAtMs, undefined);
  const stopped = applied(nodeA({ phase: "serving" }), { kind: "stop" });
  const reason = { code: "asked_to_stop", text: "stop requested" };
  assertEquals([stopped.node.phase, stopped.node.process.ending], ["leaving", { code: 0, reason }]);
  assertEquals(lines(stopped), ["info serving → leaving asked_to_stop: stop requested"]);
  const ending = { code: 1, reason: { code: "x", text: "t" } };
  const ends = applied(nodeA({ phase: "leaving", process: { ending } }), { kind: "stop" });
  assertEquals(ends.node.process.ending, ending, "it ends for another reason already");
});

Deno.test("the newest snapshot is known since it was first found, as of the lookup that found it again", () => {
  const newest = { kind: "newest", hash: "h", revision: 7, takenAtWallMs: 1, verified: true, epochMax: 1 } as const;
  const found = (lookupStartedMs: number | undefined, ...hashes: readonly string[]) =>
    applied(
      nodeA({ phase: "gathering", snapshots: { lookupStartedMs, lookupInFlight: true } }),
      ...hashes.map((hash): Event => ({ kind: "snapshotLookedUp", lookup: { ...newest, hash } })),
    ).node.snapshots;
  assertEquals(found(900, "h").newestSince, { hash: "h", ms: 1_000, askedMs: 900 });
  assertEquals(found(900, "h", "h").newestSince, { hash: "h", ms: 1_000, askedMs: 900 });
  assertEquals(found(undefined, "h", "g").newestSince, { hash: "g", ms: 1_001, askedMs: 1_001 });
  assertEquals(found(900, "h").lookupInFlight, false);
  const looks = (...lookups: readonly NodeState["snapshots"]["lookup"][]) =>
    applied(nodeA(), ...lookups.map((lookup) => ({ kind: "snapshotLookedUp", lookup }) as Event)).node.snapshots;
  const { store, newestSince } = looks(newest, { kind: "absent" });
  assertEquals([store.newest, newestSince?.hash], [undefined, "h"], "an empty store holds it no more");
  assertEquals(looks({ kind: "absent" }).newestSince, undefined);
});

const inspected = (data: NodeState["disk"]["data"], record?: NodeRecord): Event => ({
  kind: "dataInspected",
  data,
  ...(record === undefined ? {} : { record }),
});

Deno.test("what was found on disk counts, unless etcd or an effect changes the data-dir meanwhile", () => {
  const found = (change: StateChange) => {
    const { disk } = applied(nodeA(change), inspected({ kind: "empty" }, { nonce: "disk", pledges: [] })).node;
    return [disk.data.kind, disk.record.nonce === "disk", disk.recordPersisted];
  };
  assertEquals(found({}), ["empty", true, true]);
  const ignored = ["unknown", false, false];
  assertEquals(found({ ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } }), ignored);
  assertEquals(found({ ownEtcd: ready }), ignored);
  const inFlight = (slot: "local" | "record") =>
    found({ effects: { inFlight: new Map([[slot, { kind: "stopEtcd", id: 1 } as const]]) } });
  assertEquals([inFlight("local"), inFlight("record")], [ignored, ["empty", true, true]]);
  const { disk } = applied(nodeA(), inspected({ kind: "absent" })).node;
  assertEquals([disk.data.kind, disk.recordPersisted, disk.record.pledges], ["absent", false, []], "no record");
});

Deno.test("the cluster that the record saw counts until one is seen; a record is bound to the data that is there", () => {
  const voters = [{ name: "b", peerUrl: "http://b:2380" }];
  const record = { nonce: "n", pledges: [], seen: { clusterId: "c9", voters, lineageId: "line" } };
  const lastCluster = { clusterId: "c1", voters: [], atMs: 3 };
  const seen = (change: StateChange) =>
    applied(nodeA(change), inspected({ kind: "absent" }, record)).node.membership.lastCluster;
  assertEquals(seen({}), { clusterId: "c9", voters, atMs: 1_000 });
  assertEquals(seen({ membership: { lastCluster } }), lastCluster);
  assertEquals(applied(nodeA(), inspected({ kind: "absent" })).node.membership.lastCluster, undefined);
  const lost = { nonce: "n", pledges: [], lost: former };
  const back = (data: NodeState["disk"]["data"]) => applied(nodeA(), inspected(data, lost)).node.disk.record.started;
  assertEquals([back(data("a", members)), back({ kind: "absent" })], [former, undefined]);
  const { clusterId: _, ...unbound } = former;
  const unseen = applied(nodeA(), inspected({ kind: "absent" }, { nonce: "n", pledges: [], lost: unbound }));
  assertEquals([unseen.node.disk.record.started, unseen.node.disk.record.lost], [undefined, unbound]);
});

Deno.test("data that the record names and that is gone makes the disk a new node, unless a pledge of this disk is kept", () => {
  const earlier = { ...former, clusterId: "c0" };
  const gone = (data: NodeState["disk"]["data"], record: NodeRecord, change: StateChange = {}) => {
    const turn = applied(nodeA({ settings: settings(), ...change }), inspected(data, record));
    return [turn.node.disk.record.lost?.clusterId, turn.node.disk.recordPersisted, ...lines(turn)];
  };
  const ran = { nonce: "n", pledges: [], started: former, former: [earlier] };
  const lost =
    "warn data lost data_lost: the record states that etcd ran here, and the data-dir is absent: this node " +
    "starts as a new one";
  assertEquals([gone({ kind: "absent" }, ran), gone({ kind: "empty" }, ran)], [["c1", false, lost], [
    "c1",
    false,
    lost,
  ]]);
  assertEquals(gone({ kind: "unreadable", why: "EIO" }, ran), [undefined, true], "it may be there");
  assertEquals(gone({ kind: "absent" }, { nonce: "n", pledges: [] }), [undefined, true], "etcd never ran");
  assertEquals(gone({ kind: "absent" }, ran, { bootstrap: { committing: pledge } }), [undefined, true]);
  const anew = applied(nodeA(), inspected({ kind: "absent" }, ran)).node.disk.record;
  assertEquals([anew.former, anew.formerNonces], [[earlier], ["n"]]);
  const first = applied(nodeA(), inspected({ kind: "absent" }, { nonce: "n", pledges: [], started: former }));
  assertEquals(Object.keys(first.node.disk.record).includes("former"), false);
  const kept =
    "warn pledge kept pledge_kept: the data-dir is absent, and this node keeps its pledge to the bootstrap " +
    pledge.digest.slice(0, 8);
  const pledged = (...pledges: NodeRecord["pledges"]) =>
    gone({ kind: "absent" }, { nonce: "nonce-a", pledges, started: former });
  assertEquals(pledged(pledge), ["c1", false, kept]);
  const stranger = { ...pledge, initialMembers: [{ ...initialMembers[0]!, name: "z" }] };
  assertEquals([pledged(stranger), pledged(stranger, pledge), pledged(pledge, stranger)], [
    ["c1", false, lost],
    ["c1", false, kept],
    ["c1", false, lost],
  ]);
});

Deno.test("the end of the own log is read while etcd runs without a leader, from the data of that very member", () => {
  const lastLog = { term: 3, index: 9 };
  const noted = (found: Partial<ValidData> | undefined, leaderlessSinceMs: number | undefined, own = true) => {
    const node = nodeA({
      ownEtcd: { ...ready, leaderlessSinceMs },
      ...(own ? { disk: { data: data("a", members) } } : {}),
    });
    const event = inspected(found === undefined ? { kind: "absent" } : data("a", members, { revision: 77, ...found }));
    const { data: after } = applied(node, event).node.disk;
    return after.kind === "valid" ? [after.lastLog, after.revision] : after.kind;
  };
  assertEquals(noted({ lastLog }, 5), [lastLog, 50]);
  assertEquals(noted({ lastLog }, undefined), [undefined, 50], "it grows");
  assertEquals(noted({ lastLog, memberId: "id-x" }, 5), [undefined, 50]);
  assertEquals(noted(undefined, 5), [undefined, 50]);
  assertEquals(noted({ lastLog }, 5, false), "unknown");
  const known = nodeA({ ownEtcd: { ...ready, leaderlessSinceMs: 5 }, disk: { data: data("a", members, { lastLog }) } });
  const after = applied(known, inspected(data("a", members))).node.disk.data;
  assertEquals(after.kind === "valid" && after.lastLog, lastLog, "what was not read is no news");
});

Deno.test("an answer shows progress where the applied index rose, and ends a failure; a silence counts on", () => {
  const facts = (...events: readonly Event[]) => applied(nodeA(), ...events).node.membership.endpoints.get(urlB)!;
  const { last: _, ...first } = facts(probe(urlB));
  assertEquals(first, { atMs: 1_000, failures: 0, appliedIndex: 100, progressAtMs: 1_000, currentAtMs: 1_000 });
  const progress = (index: number) => facts(probe(urlB), probe(urlB, { raftAppliedIndex: index }));
  assertEquals([progress(100).progressAtMs, progress(101).progressAtMs], [1_000, 1_001]);
  assertEquals(progress(101).appliedIndex, 101);
  const quiet = (...events: readonly Event[]) => {
    const { failingSinceMs, failures, appliedIndex, progressAtMs, atMs } = facts(...events);
    return [failingSinceMs, failures, appliedIndex, progressAtMs, atMs];
  };
  assertEquals(quiet(silence(urlB)), [1_000, 1, 0, 1_000, 1_000]);
  assertEquals(quiet(probe(urlB), silence(urlB), silence(urlB)), [1_001, 2, 100, 1_000, 1_002]);
  assertEquals(quiet(silence(urlB), probe(urlB)), [undefined, 0, 100, 1_001, 1_001]);
});

Deno.test("an answer of another member carries the own raft index that it came beside", () => {
  const index = (...events: readonly Event[]) =>
    applied(nodeA(), ...events).node.membership.endpoints.get(urlB)?.ownRaftIndex;
  assertEquals(index(probe(urlA, { raftIndex: 70 }), probe(urlB)), 70);
  assertEquals([index(probe(urlB)), index(silence(urlA), probe(urlB))], [undefined, undefined]);
  const own = applied(nodeA(), probe(urlA, { raftIndex: 70 }), probe(urlA, { raftIndex: 80 })).node.membership;
  assertEquals(own.endpoints.get(urlA)?.ownRaftIndex, 80, "its own is the one that it gives");
});

Deno.test("a learner is current when it has applied what the own member has, while that one leads", () => {
  const learner = { isLearner: true, linearizable: false };
  const current = (own: Partial<EtcdAnswer>, theirs: Partial<EtcdAnswer> = learner) =>
    applied(nodeA(), probe(urlA, own), probe(urlB, theirs)).node.membership.endpoints.get(urlB)?.currentAtMs;
  assertEquals([current({}), current({ leaderId: "id-b" })], [1_001, undefined]);
  assertEquals(current({}, { linearizable: false }), undefined, "a voter's read failed");
});

Deno.test("64 endpoints are remembered, and the one that was asked longest ago is forgotten first", () => {
  const url = (at: number) => `http://n${at}:2379`;
  const ask = (at: number) => silence(url(at));
  const many = Array.from({ length: 64 }, (_, at) => ask(at));
  const kept = (...more: readonly number[]) => applied(nodeA(), ...many, ...more.map(ask)).node.membership.endpoints;
  assertEquals(kept().size, 64);
  const { size, has } = { size: kept(0, 64).size, has: (at: number) => kept(0, 64).has(url(at)) };
  assertEquals([size, has(0), has(1), has(2), has(64)], [64, true, false, true, true]);
});

Deno.test("the own etcd has no leader from its first silence or leaderless answer on, another one's tells nothing", () => {
  const since = (...events: readonly Event[]) =>
    applied(nodeA({ ownEtcd: ready }), ...events).node.ownEtcd.leaderlessSinceMs;
  const leaderless = { leaderId: undefined, linearizable: false } as unknown as Partial<EtcdAnswer>;
  assertEquals([since(silence(urlA)), since(silence(urlB))], [1_000, undefined]);
  assertEquals([since(probe(urlA, leaderless), probe(urlA, leaderless)), since(probe(urlB, leaderless))], [
    1_000,
    undefined,
  ]);
  const found =
    applied(nodeA({ ownEtcd: { ...ready, leaderlessSinceMs: 3 }, disk: { logReadMs: 4 } }), probe(urlA)).node;
  assertEquals([found.ownEtcd.leaderlessSinceMs, found.disk.logReadMs], [undefined, undefined], "it has one again");
  const led = (leaderSinceMs: number | undefined, event: Event) =>
    applied(nodeA({ ownEtcd: { ...ready, leaderSinceMs } }), event).node.ownEtcd.leaderSinceMs;
  assertEquals([led(undefined, probe(urlA)), led(5, probe(urlA)), led(undefined, probe(urlB))], [1_000, 5, undefined]);
  assertEquals([led(5, silence(urlA)), led(5, probe(urlA, leaderless)), led(5, silence(urlB))], [
    undefined,
    undefined,
    5,
  ]);
});

Deno.test("a cluster with a quorum is the last one that was seen: its voters in one order, and its lineage where it keeps one", () => {
  const list = [...members.toReversed(), member("l", { isLearner: true }), member("n", { peerUrls: [] })];
  const seen = (change: Partial<EtcdAnswer>) =>
    applied(nodeA(), probe(urlB, { members: list, ...change })).node.membership.lastCluster;
  const voters = ["a", "b"].map((name) => ({ name, peerUrl: `http://${name}:2380` }));
  const expected = { clusterId: "c1", voters, atMs: 1_000 };
  assertEquals(seen({}), expected);
  assertEquals(seen({ members: members }), expected);
  assertEquals(seen({ lineage: "absent" }), expected);
  assertEquals(seen({ lineage: { id: "line", epoch: 2, token: "t" } }), { ...expected, lineageId: "line", token: "t" });
  assertEquals(seen({ linearizable: false }), undefined);
  assertEquals(seen({ leaderId: undefined } as unknown as Partial<EtcdAnswer>), undefined);
  const twice = [member("a", { peerUrls: ["http://a:2380", "http://a:9999"] })];
  assertEquals(seen({ members: twice })?.voters, [{ name: "a", peerUrl: "http://a:2380" }]);
});

Deno.test("a member is known since it was first listed by a quorum, and forgotten once it is listed no more", () => {
  const [a, b] = members as [typeof members[0], typeof members[0]];
  const known = (...lists: readonly (readonly [readonly (typeof members[0])[], boolean])[]) => {
    const events = lists.map(([list, linearizable]) => probe(urlB, { members: list as typeof members, linearizable }));
    return [...applied(nodeA(), ...events).node.membership.memberSinceMs];
  };
  assertEquals(known([[a!], true], [[a!, b!], true]), [["id-a", 1_000], ["id-b", 1_001]]);
  assertEquals(known([[a!, b!], true], [[b!, member("x")], true]), [["id-b", 1_000], ["id-x", 1_001]]);
  assertEquals(known([[a!], true], [[a!, b!], false]), [["id-a", 1_000]], "its list may be old");
  assertEquals(known([[a!, b!], true], [[b!], true]).length, 2, "a list that names nobody new changes nothing");
  assertEquals(applied(nodeA(), probe(urlB)).node.membership.memberAnswers.get("id-b")?.raftIndex, 100);
});

Deno.test("the own etcd's answer is what is known of the own data, while that etcd runs", () => {
  const own = (etcd: NodeState["ownEtcd"]["etcd"], event: Event, change: StateChange = {}) =>
    applied(nodeA({ ownEtcd: { etcd }, ...change }), event).node.disk.data;
  const known: ValidData = {
    kind: "valid",
    name: "a",
    memberId: "id-a",
    clusterId: "c1",
    peerUrls: ["http://a:2380"],
    members,
    revision: 50,
    raftTerm: 2,
    raftIndex: 100,
  };
  assertEquals(own(ready.etcd, probe(urlA)), known);
  assertEquals(own({ kind: "starting", sinceMs: 0 }, probe(urlA)), known);
  assertEquals(own({ kind: "stopped" }, probe(urlA)).kind, "unknown");
  assertEquals(own(ready.etcd, probe(urlB)).kind, "unknown");
  for (const list of [members, members.slice(0, 1)]) {
    const unproven = own(ready.etcd, probe(urlA, { linearizable: false, members: list }));
    assertEquals(unproven.kind === "valid" && unproven.members, list, "as it lists them itself");
  }
  const moved = members.toReversed().map((each) =>
    each.id === "id-a" ? { ...each, peerUrls: ["http://old:2380"] } : each
  );
  const listed = own(ready.etcd, probe(urlA, { members: moved }));
  assertEquals(listed.kind === "valid" && listed.peerUrls, ["http://old:2380"]);
  const lastLog = { term: 3, index: 9 };
  const read = { disk: { data: data("a", members, { lastLog }) } };
  const log = (leaderId: string | undefined) => {
    const after = own(ready.etcd, probe(urlA, { leaderId } as Partial<EtcdAnswer>), read);
    return after.kind === "valid" && [after.lastLog, Object.keys(after).includes("lastLog")];
  };
  assertEquals([log(undefined), log("id-a")], [[lastLog, true], [undefined, false]]);
  const unread = own(ready.etcd, probe(urlA, { leaderId: undefined } as unknown as Partial<EtcdAnswer>), {
    disk: { data: data("a", members) },
  });
  assertEquals(unread.kind === "valid" && Object.keys(unread).includes("lastLog"), false);
});

Deno.test("a learner, which lists no members, takes the list of a member of its cluster that has it", () => {
  const learner = { isLearner: true, linearizable: false, members: [] };
  const listed = (...others: readonly (readonly [string, EndpointFacts])[]) => {
    const node = nodeA({ ownEtcd: ready, membership: { endpoints: new Map(others) } });
    const after = applied(node, probe(urlA, learner)).node.disk.data;
    return after.kind === "valid" && [after.members.map(({ name }) => name).join(" "), after.peerUrls[0]];
  };
  const of = (change: Partial<EtcdAnswer>, list = members): EndpointFacts => answering(answer("b", list, change), 0);
  const other = [member("a", { peerUrls: ["http://listed:2380"] }), member("z"), member("b")];
  assertEquals(listed([urlB, of({}, other)]), ["a z b", "http://listed:2380"]);
  const own = ["", "http://a:2380"];
  assertEquals(listed([urlB, of({ clusterId: "c2" })]), own);
  assertEquals(listed([urlB, of({ linearizable: false })]), own);
  assertEquals(listed([urlB, of({}, [member("b")])]), own);
  const mute = { ...of({}), last: { kind: "unreachable", code: "refused" } } as const;
  assertEquals(listed([urlB, mute], ["http://c:2379", of({}, [member("z")])], ["http://d:2379", of({}, other)]), [
    "a z b",
    "http://listed:2380",
  ]);
});

Deno.test("a node that was started with a former size of its cluster follows the recorded one, and no other size", () => {
  const size = (change: Partial<EtcdAnswer>) => {
    const { node } = applied(nodeA({ phase: "serving", settings: settings(), ownEtcd: ready }), probe(urlA, change));
    return [node.settings.requiredSize, node.phase];
  };
  assertEquals(size({ recordedSize: 5, formerSizes: [3] }), [5, "serving"]);
  assertEquals(size({ recordedSize: 5, formerSizes: [1] }), [3, "serving"]);
  assertEquals(size({ formerSizes: [3] }), [3, "serving"]);
});

Deno.test("a read of the own etcd counts as one after the lookup in the store, when a quorum proves it", () => {
  const storedAhead = { token: "t", revision: 9, reads: 0 };
  const reads = (linearizable: boolean) =>
    applied(nodeA({ ownEtcd: ready, snapshots: { storedAhead } }), probe(urlA, { linearizable })).node.snapshots
      .storedAhead?.reads;
  assertEquals([reads(true), reads(false)], [1, 0]);
});

Deno.test("events of the own etcd and of its data-dir are noted", () => {
  const starting = applied(nodeA(), { kind: "etcd", state: "starting" }).node;
  assertEquals(starting.ownEtcd.etcd.kind, "starting");
  assertEquals(applied(starting, { kind: "etcdLogged", busy: true }).node.ownEtcd.etcdProgress.busy, true);
  const exited = applied(starting, { kind: "etcdExited", code: 2, cause: "unknown" }).node.ownEtcd.etcd;
  assertEquals(exited.kind === "exited" && exited.code, 2);
  assertEquals(applied(starting, { kind: "dataDirLooked", found: "absent" }).node.disk.missingChecks, 1);
});

Deno.test("a command is queued, and an answer that it waits for is noted even where it is too old for the rules", () => {
  const queued = applied(nodeA(), { kind: "command", id: "1", command: { kind: "defrag", dryRun: true } }).node;
  assertEquals(queued.operator.commands.map(({ id }) => id), ["1"]);
  const commands = [{ ...queued.operator.commands[0]!, awaited: [urlA, urlB] }];
  const waiting = changed(queued, { operator: { commands }, membership: { probesInvalidatedAtMs: 900 } });
  const { node } = applied(waiting, { ...probe(urlB), askedMs: 800 } as Event);
  assertEquals([node.operator.commands[0]?.awaited, node.membership.endpoints.size], [[urlA], 0]);
});

Deno.test("the plan that was read from etcd is the cluster's, until it is read again", () => {
  const plan = { id: "p", purpose: "defrag", text: "t", createdAtWallMs: 0, operations: [] } as const;
  const known = (...events: readonly Event[]) => applied(nodeA(), ...events).node.maintenance.plan;
  assertEquals([known({ kind: "plan", plan }), known({ kind: "plan", plan }, { kind: "plan" })], [plan, undefined]);
});

Deno.test("a snapshot that this node saved is the newest of its life", () => {
  const lineage = { id: "line", epoch: 1, token: "t" };
  const take = { kind: "takeSnapshot", id: 3, format: "v2", lineage, lastRevision: 0 } as const;
  const node = nodeA({ effects: { inFlight: new Map([["backup", take]]) } });
  const value = { kind: "snapshotTaken", revision: 9, saved: true } as const;
  const { ownSnapshot } = applied(node, { kind: "done", id: 3, value }).node.snapshots;
  assertEquals([ownSnapshot?.token, ownSnapshot?.revision], ["t", 9]);
});
