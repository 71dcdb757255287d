import { lineageToKeep, rememberCluster, rememberUndecided } from "../../../lib/core/watch/node_record.ts";
import type { NodeRecord, Pledge, SeenCluster, StartedData } from "../../../lib/core/facts/node_record.ts";
import type { EtcdAnswer, MemberAnswer } from "../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, member, nowMs, peer, settings, type StateChange } from "../facts.ts";
import { requestsOf, self, turnOf } from "../turns.ts";

const lineage = { id: "line", epoch: 2, token: "life" };
const pledge: Pledge = { initialMembers: [], source: { kind: "empty" }, lineage, digest: "d", token: "recovery" };
const started: StartedData = { lineage, how: "restored", renounced: [], clusterId: "c1", memberId: "id-a" };
const bare: NodeRecord = { nonce: "n", pledges: [] };
const members = [member("a")];

/** The record that is written in a turn; undefined: none is. */
function written(record: Partial<NodeRecord>, ...changes: readonly StateChange[]): NodeRecord | undefined {
  const turn = turnOf([{ disk: { record: { ...bare, ...record }, logsWrittenMs: nowMs } }, ...changes]);
  rememberCluster(turn);
  const effect = requestsOf(turn).find((effect) => effect.kind === "writeRecord");
  return effect?.kind === "writeRecord" ? effect.record : undefined;
}

/** The own etcd answers so. */
const own = (change: Partial<EtcdAnswer> = {}): StateChange => ({
  membership: { endpoints: new Map([[self.clientUrl, answering(answer("a", members, change))]]) },
});
const onData: StateChange = { disk: { data: data("a", members) } };

Deno.test("rememberCluster() voids every pledge once a quorum of the own life lives, and only then", () => {
  const left = (etcd: StateChange, leaderlessSinceMs?: number, record: Partial<NodeRecord> = { pledges: [pledge] }) =>
    written(record, etcd, { ownEtcd: { leaderlessSinceMs } })?.pledges.length;
  assertEquals(left(own()), 0);
  assertEquals([left(own({ linearizable: false })), left(own(), nowMs - 1), left({})], [
    undefined,
    undefined,
    undefined,
  ]);
  assertEquals(left(own(), undefined, {}), undefined, "there is none");
});

Deno.test("rememberCluster() forgets that this data waited for an operator once its life runs", () => {
  const record = { undecided: { ...lineage, epoch: 3 } };
  assertEquals(written(record, own()), bare);
  assertEquals(written(record, own({ linearizable: false })), undefined);
});

const voters = [{ name: "a", peerUrl: "http://a:2380" }];
const seen = (change: Partial<SeenCluster> = {}): SeenCluster => ({ clusterId: "c1", voters, ...change });
const last = (change: Partial<SeenCluster> = {}): StateChange => ({
  membership: { lastCluster: { clusterId: "c1", voters, atMs: nowMs, ...change } },
});

Deno.test("rememberCluster() writes down the last cluster that was seen, when it or its voters are others", () => {
  const wrote = (before: SeenCluster | undefined, ...changes: StateChange[]) =>
    written(before === undefined ? {} : { seen: before }, ...changes)?.seen;
  assertEquals(wrote(undefined), undefined);
  assertEquals(wrote(undefined, last()), seen());
  assertEquals(wrote(seen(), last()), undefined, "it is known");
  assertEquals(wrote(seen({ clusterId: "c0" }), last()), seen());
  const two = [...voters, { name: "b", peerUrl: "http://b:2380" }];
  assertEquals(wrote(seen(), last({ voters: two })), seen({ voters: two }));
});

Deno.test("rememberCluster() keeps the lineage and the life of the cluster that it has once read", () => {
  const wrote = (before: Partial<SeenCluster>, now: Partial<SeenCluster>) =>
    written({ seen: seen(before) }, last(now))?.seen;
  const life = { lineageId: "line", token: "life" };
  assertEquals(wrote({}, life), seen(life));
  assertEquals([wrote(life, life), wrote(life, {})], [undefined, undefined]);
  const two = [...voters, { name: "b", peerUrl: "http://b:2380" }];
  assertEquals(
    wrote(life, { voters: two }),
    seen({ voters: two, ...life }),
    "the list changed, and the lineage was not read",
  );
  assertEquals(wrote(life, { ...life, token: "other" }), seen({ ...life, token: "other" }));
  assertEquals(wrote(life, { ...life, lineageId: "other" }), seen({ ...life, lineageId: "other" }));
  assertEquals(wrote({ ...life, clusterId: "c0" }, {}), seen(), "another cluster's says nothing");
});

Deno.test("rememberCluster() keeps under which --new-cluster a cluster was first seen", () => {
  const wrote = (before: SeenCluster | undefined, voters: SeenCluster["voters"]) =>
    written(before === undefined ? {} : { seen: before }, last({ voters }), {
      settings: settings({ newCluster: "blue" }),
    })
      ?.seen?.newCluster;
  assertEquals(wrote(undefined, voters), "blue");
  assertEquals(wrote(seen({ clusterId: "c0", newCluster: "green" }), voters), "blue");
  assertEquals([wrote(seen(), []), wrote(seen({ newCluster: "green" }), [])], [undefined, "green"]);
});

Deno.test("rememberCluster() binds the record to the cluster and the member of the running etcd", () => {
  const bound = (record: Partial<NodeRecord>, etcd: Partial<EtcdAnswer> = {}, change: StateChange = onData) =>
    written(record, own(etcd), change)?.started;
  const { clusterId: _, memberId: __, ...unbound } = started;
  assertEquals(bound({ started: unbound }), started);
  assertEquals(bound({ started }), undefined, "it is bound");
  assertEquals(bound({ started: { ...unbound, memberId: "id-a" } }), started);
  assertEquals(bound({ started: { ...started, memberId: "id-old" } }), started);
  assertEquals(bound({ started: unbound }, { linearizable: false }), undefined);
  assertEquals(bound({ started: unbound }, {}, { disk: { data: { kind: "unknown" } } }), undefined);
  assertEquals(bound({}), undefined, "no lineage is known");
  assertEquals(bound({ started: { ...unbound, lineage: { ...lineage, id: "" } } }), undefined, "nor its id");
});

Deno.test("rememberCluster() adopts the lineage of the cluster where the record has none, or an older one", () => {
  const adopted = (record: Partial<NodeRecord>, kept = lineage) =>
    written(record, own({ lineage: kept }), onData)?.started;
  assertEquals(adopted({}), { ...started, how: "joined" });
  assertEquals(adopted({ started: { ...started, renounced: ["r"] } }, { ...lineage, epoch: 3 }), {
    ...started,
    renounced: ["r"],
    lineage: { ...lineage, epoch: 3 },
  });
  const published = peer("b", {
    facts: facts("b", { data: { kind: "held", clusterId: "c1", memberId: "id-b", lineage, revision: 1 } }),
  });
  const gossip = { gossip: { peers: [published], known: [published] } };
  assertEquals(written({}, own(), onData, gossip)?.started?.lineage, lineage);
});

Deno.test("rememberCluster() gives up a later life of this disk once an operator has started this one", () => {
  const [later, earlier] = [3, 1].map((epoch) => ({
    ...started,
    lineage: { ...lineage, epoch },
    clusterId: `c-${epoch}`,
  }));
  const former = (...lives: (typeof later)[]) => written({ started, former: lives as StartedData[] }, own(), onData);
  assertEquals(former(later, earlier)?.former, [earlier] as StartedData[]);
  const none = former(later);
  assertEquals([none?.started, Object.keys(none ?? {}).includes("former")], [started, false]);
  assertEquals(former(earlier), undefined);
  // Data of an earlier life is mounted again: the record is about it from now on.
  const back = written({ started: { ...started, clusterId: "c9" }, former: [started] }, own(), onData);
  assertEquals(back?.started, started);
});

const answers: ReadonlyMap<string, MemberAnswer> = new Map([
  ["id-a", { clusterId: "c1", atMs: 0, raftIndex: 9, storedIndex: 8 }],
  ["id-x", { clusterId: "c1", atMs: 0, raftIndex: 9, storedIndex: 8 }],
]);
const logs = { clusterId: "c1", members: [{ memberId: "id-a", index: 8 }] };

Deno.test("rememberCluster() writes once a minute how far the logs of the listed members reach, and with any other change", () => {
  const grown: StateChange = { membership: { memberAnswers: answers, memberSinceMs: new Map([["id-a", 0]]) } };
  const wrote = (agoMs: number | undefined, record: Partial<NodeRecord>, ...changes: StateChange[]) => {
    const disk = { logsWrittenMs: agoMs === undefined ? undefined : nowMs - agoMs };
    return written({ seen: seen(), ...record }, last(), grown, { disk }, ...changes)?.logs;
  };
  assertEquals([wrote(59_999, {}), wrote(60_000, {})], [undefined, logs]);
  assertEquals(wrote(60_000, { logs }), undefined, "nothing has grown");
  const old = { clusterId: "c0", members: [] };
  assertEquals(
    written({ seen: seen(), logs: old }, last(), { disk: { logsWrittenMs: 0 } }),
    undefined,
    "none are known",
  );
  assertEquals(wrote(5, { seen: seen({ clusterId: "c0" }) }), logs);
  const booted = (agoMs: number) => wrote(undefined, {}, { process: { bootedAtMs: nowMs - agoMs } });
  assertEquals([booted(59_999), booted(60_000)], [undefined, logs]);
  assertEquals(written({}, grown, { disk: { logsWrittenMs: 0 } }), undefined, "no cluster was seen");
  const turn = turnOf([{ disk: { record: { ...bare, seen: seen() }, logsWrittenMs: 0 } }, last(), grown]);
  rememberCluster(turn);
  assertEquals(turn.node.disk.logsWrittenMs, nowMs);
  const busy = turnOf([
    { disk: { record: { ...bare, seen: seen() }, logsWrittenMs: 0 } },
    last(),
    grown,
    { effects: { inFlight: new Map([["local", { kind: "stopEtcd", id: 1 }]]) } },
  ]);
  rememberCluster(busy);
  assertEquals([busy.node.disk.logsWrittenMs, requestsOf(busy)], [0, []], "the data-dir is busy: it is written later");
});

Deno.test("rememberUndecided() writes down the later life that this data waits to be held against, once", () => {
  const later = { ...lineage, epoch: 3, token: "later" };
  const rival = peer("b");
  const seenLater: StateChange = {
    gossip: { peers: [rival], known: [rival] },
    membership: {
      endpoints: new Map([["http://b:2379", answering(answer("b", [], { clusterId: "c3", lineage: later }))]]),
    },
  };
  const wrote = (record: Partial<NodeRecord>, change: StateChange = seenLater) => {
    const turn = turnOf([onData, { disk: { record: { ...bare, started, ...record } } }, change]);
    rememberUndecided(turn);
    assertEquals([...turn.node.effects.inFlight.keys()], requestsOf(turn).map(() => "local"));
    return requestsOf(turn);
  };
  assertEquals(wrote({}), [{ kind: "writeRecord", id: 1, record: { ...bare, started, undecided: later } }]);
  assertEquals([wrote({ undecided: later }), wrote({}, {})], [[], []]);
});

Deno.test("lineageToKeep() is the own lineage where the own cluster keeps none and the record is about that cluster", () => {
  const kept = (record: Partial<NodeRecord>, etcd: Partial<EtcdAnswer> = { lineage: "absent" }) =>
    lineageToKeep(turnOf({ disk: { record: { ...bare, ...record } } }), answer("a", members, etcd));
  assertEquals(kept({ started }), lineage);
  assertEquals(kept({}), undefined);
  assertEquals([kept({ started }, {}), kept({ started }, { lineage })], [undefined, undefined]);
  assertEquals(kept({ started: { ...started, clusterId: "c0" } }), undefined);
  assertEquals(kept({ started: { ...started, lineage: { ...lineage, epoch: 0 } } }), undefined);
});
