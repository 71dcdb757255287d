import { decide } from "../../../lib/core/phases/decide.ts";
import type { AnsweredEffect } from "../../../lib/core/facts/effect.ts";
import type { EndpointFacts, EtcdAnswer, EtcdMember } from "../../../lib/core/facts/cluster.ts";
import type { GossipPeer, PeerData, PeerFacts } from "../../../lib/core/facts/peer.ts";
import type { NodeRecord, Pledge } from "../../../lib/core/facts/node_record.ts";
import type { NodeState } from "../../../lib/core/state/state.ts";
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
import { decisionsOf, linesOf, noneFree, requestsOf, self, turnOf } from "../turns.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const first = { id: "line", epoch: 1, token: "first" };
const started = { lineage: first, how: "founded", renounced: [], clusterId: "c1", memberId: "id-a" } as const;
const record: NodeRecord = { nonce: "nonce-a", pledges: [] };
const bound: NodeRecord = { ...record, started };
const gossip = (...peers: readonly GossipPeer[]): StateChange => ({
  gossip: { peers, known: peers, gossipJoinedAtMs: 0 },
});
const endpoints = (of: Readonly<Record<string, EndpointFacts>>): StateChange => ({
  membership: { endpoints: new Map(Object.entries(of).map(([name, each]) => [`http://${name}:2379`, each])) },
});
const running = (name: string) => peer(name, { status: "running" });
const b = (list: readonly EtcdMember[], change: Partial<EtcdAnswer> = {}) =>
  endpoints({ b: answering(answer("b", list, { leaderId: "id-b", recordedSize: 3, ...change })) });
const held = (name: string, change: Partial<Extract<PeerData, { kind: "held" }>> = {}, more: Partial<PeerFacts> = {}) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage: first, revision: 0, ...change },
      ...more,
    }),
  });

/** Node a with an empty disk, whose etcd does not run; nothing is due to be probed. */
const base: StateChange = {
  phase: "gathering",
  disk: { data: { kind: "absent" }, record, recordPersisted: true, logsWrittenMs: nowMs },
  gossip: { gossipJoinedAtMs: 0 },
};
const probes = ["probe", "probeRaft", "inspectData", "readPlan"];

function decided(...changes: readonly StateChange[]) {
  const turn = turnOf([base, ...changes]);
  const refused = turnOf([base, ...changes, noneFree]);
  decide(refused);
  // A phase may change, but no effect is told that was not requested.
  assertEquals(decisionsOf(refused).filter((each) => !each.includes(" → ") || each.endsWith("→ restarting")), []);
  decide(turn);
  const { waitingFor, waitingLevel } = turn.node.reports;
  const requests = requestsOf(turn).filter(({ kind }) => !probes.includes(kind)).map((effect) => {
    const { id: _, ...rest } = effect as AnsweredEffect;
    return rest;
  });
  const waits = waitingFor && `${waitingLevel} ${waitingFor.code}`;
  return {
    turn,
    requests,
    waits,
    brief: [turn.node.phase, ...requests.map(({ kind }) => kind), ...waits === undefined ? [] : [waits]],
  };
}
const brief = (...changes: readonly StateChange[]) => decided(...changes).brief;
const onData = (change: Partial<NodeRecord> = {}): StateChange => ({
  disk: { data: data("a", members), record: { ...bound, ...change } },
});

Deno.test("a node that boots gathers as soon as it has looked at its disk, and probes members from the begin", () => {
  const booting = { phase: "booting" } as const;
  const unknown = decided(booting, { disk: { data: { kind: "unknown" } } }, gossip(running("b")));
  assertEquals([unknown.brief, unknown.turn.effects.some(({ kind }) => kind === "probe")], [["booting"], true]);
  const looked = decided(booting);
  assertEquals([looked.turn.node.phase, linesOf(looked.turn)[0]], [
    "gathering",
    "info booting → gathering data_inspected: the data-dir is absent",
  ]);
  assertEquals(looked.waits, "info too_few_peers");
});

Deno.test("each phase before a node serves probes members, carries its commitment out, brings etcd up, or gathers", () => {
  const committing = {
    initialMembers: [],
    source: { kind: "empty" },
    lineage: first,
    digest: "d",
    token: "t",
  } as const;
  for (const phase of ["gathering", "joining", "bootstrapping", "restoring", "restarting"] as const) {
    assertEquals(
      decided({ phase }, gossip(running("b"))).turn.effects.some(({ kind }) => kind === "probe"),
      true,
      phase,
    );
    assertEquals(brief({ phase, bootstrap: { committing } }), [phase, "writeRecord"]);
    for (const kind of ["starting", "ready"] as const) {
      const etcd: StateChange = { ownEtcd: { etcd: { kind, sinceMs: 0 }, leaderlessSinceMs: nowMs - 5 } };
      assertEquals(brief({ phase }, onData(), etcd), [phase, "info etcd_starts"]);
    }
  }
});

const ready: StateChange = {
  phase: "serving",
  ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
  membership: { clusterRecordVerified: true },
};

Deno.test("a node that serves goes on, writes down what it saw, and gathers when its etcd does not run any more", () => {
  const lastCluster = { clusterId: "c1", voters: [], atMs: nowMs };
  assertEquals(brief(ready, onData(), { membership: { lastCluster } }), ["serving", "writeRecord", "info electing"]);
  assertEquals(brief(ready, onData(), { ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } })[0], "serving");
  const gone = decided(ready, onData(), { ownEtcd: { etcd: { kind: "stopped" } }, gossip: { status: "running" } });
  assertEquals([gone.turn.node.gossip.status, linesOf(gone.turn)[0]], [
    "unknown",
    "info serving → gathering etcd_gone: etcd has stopped",
  ]);
  const busy: StateChange = { effects: { inFlight: new Map([["local", { kind: "stopEtcd", id: 1 }]]) } };
  const waiting = decided(
    ready,
    onData(),
    { ownEtcd: { etcd: { kind: "stopped" } }, gossip: { status: "running" } },
    busy,
  );
  assertEquals(waiting.brief, ["gathering", "setStatus"]);
  assertEquals(decided(ready, onData(), gossip(running("b"))).turn.effects.some(({ kind }) => kind === "probe"), true);
});

Deno.test("a node that serves yields to a newer epoch, recovers, and corrects its address before all else", () => {
  const second = { id: "line", epoch: 2, token: "second" };
  const rival = held("b", { clusterId: "c2", lineage: second });
  const newer = endpoints({
    b: answering(answer("b", [member("b")], { clusterId: "c2", lineage: second, leaderId: "id-b" })),
  });
  const leaderless: StateChange = { ownEtcd: { leaderlessSinceMs: nowMs - 60_000 } };
  assertEquals(brief(ready, onData(), leaderless, gossip(rival, peer("c")), newer), ["serving", "stopEtcd"]);
  const lost = [
    { ownEtcd: { leaderlessSinceMs: nowMs - 700_000 } },
    endpoints({ b: silent(0), c: silent(0) }),
    { disk: { data: data("a", members, { lastLog: { term: 2, index: 100 } }), record: bound, logReadMs: nowMs } },
  ] as const;
  const recovers = decided(ready, ...lost);
  assertEquals(recovers.brief, ["serving", "info too_few_peers"], "it looks for who recovers with it");
  const old = [member("a", { peerUrls: ["http://old:2380"], clientUrls: ["http://old:2379"] }), ...members.slice(1)];
  const moved = endpoints({ a: answering(answer("a", old, { leaderId: "id-b" })), old: silent(nowMs - 5_000) });
  const raft = { membership: { raft: { kind: "unreadable", atMs: nowMs } } } as const;
  const there: StateChange = { disk: { data: data("a", old), record: bound } };
  assertEquals(brief(ready, there, gossip(held("b"), held("c")), moved, raft), ["serving", "memberUpdate"]);
});

Deno.test("a conflict of names is reported in every phase", () => {
  const conflict: StateChange = {
    gossip: { nameConflicts: [{ name: "a", addresses: ["x:1", "y:1"] }], nameConflictSinceMs: 0 },
  };
  assertEquals(decided(conflict).turn.node.reports.problems.has("name_taken"), true);
});

Deno.test("a node that leaves stops its etcd, then says why it ends, and does nothing any more", () => {
  const leaving = (code: number, ...changes: readonly StateChange[]) =>
    decided({
      phase: "leaving",
      process: { ending: { code, reason: { code: "r", text: "t" } } },
      gossip: { status: "running" },
    }, ...changes);
  for (const kind of ["starting", "ready"] as const) {
    assertEquals(leaving(0, { ownEtcd: { etcd: { kind, sinceMs: 0 } } }).brief, ["leaving", "stopEtcd"]);
  }
  const busy = (slot: "local" | "cluster"): StateChange => ({
    effects: { inFlight: new Map([[slot, { kind: "stopEtcd", id: 1 }]]) },
  });
  assertEquals([leaving(0, busy("local")).brief, leaving(0, busy("cluster")).brief[0]], [["leaving"], "stopped"]);
  const ended = leaving(0);
  assertEquals([ended.turn.node.phase, ended.turn.node.gossip.status, ended.requests], [
    "stopped",
    "unknown",
    [{ kind: "setStatus", status: "unknown" }, { kind: "exit", code: 0, reason: { code: "r", text: "t" } }] as never,
  ]);
  assertEquals(leaving(1).turn.node.phase, "failed");
  const without = decided({ phase: "leaving" }).requests.at(-1) as unknown as {
    code: number;
    reason: { code: string };
  };
  assertEquals([without.code, without.reason.code], [1, "unknown"]);
  for (const phase of ["stopped", "failed"] as const) assertEquals(brief({ phase }), [phase]);
});

Deno.test("an empty node keeps its nonce on disk before anything else, and waits for the effect that is in flight", () => {
  assertEquals(brief({ disk: { recordPersisted: false } }), ["gathering", "writeRecord"]);
  assertEquals(brief({ disk: { data: { kind: "empty" }, recordPersisted: false } }), ["gathering", "writeRecord"]);
  assertEquals(
    brief({ disk: { data: data("a", members), record: bound, recordPersisted: false } })[1] === "writeRecord",
    false,
  );
  const busy: StateChange = { effects: { inFlight: new Map([["local", { kind: "stopEtcd", id: 1 }]]) } };
  assertEquals(brief(busy), ["gathering"]);
});

const initialMembers = ["a", "b", "c"].map((name) => ({
  name,
  peerUrl: `http://${name}:2380`,
  nonce: `nonce-${name}`,
}));
const pledge: Pledge = {
  initialMembers,
  source: { kind: "empty" },
  lineage: { id: "new", epoch: 1, token: "new" },
  digest: "d",
  token: "new",
};
const keep = (name: string, change: Partial<GossipPeer> = {}) =>
  peer(name, { facts: facts(name, { pledges: [{ digest: "d", token: "new", initialMembers }] }), ...change });

Deno.test("a pledge that all have kept is carried out, unless the own life has a quorum or the disk cannot be read", () => {
  const pledged = (change: NonNullable<StateChange["disk"]>, ...changes: readonly StateChange[]) => {
    const { turn } = decided(gossip(keep("b"), keep("c")), {
      disk: { record: { ...record, pledges: [pledge] }, ...change },
    }, ...changes);
    return turn.node.bootstrap.committing?.token;
  };
  assertEquals(pledged({}), "new");
  assertEquals(pledged({ record }), undefined);
  assertEquals([pledged({ data: { kind: "unknown" } }), pledged({ data: { kind: "unreadable", why: "EIO" } })], [
    undefined,
    undefined,
  ]);
  const lost = { ...record, pledges: [pledge], lost: started };
  const cluster = endpoints({ b: answering(answer("b", members, { leaderId: "id-b" })) });
  assertEquals([pledged({ record: lost }), pledged({ record: lost }, cluster)], ["new", undefined]);
  const valid = { data: data("a", members), record: { ...bound, pledges: [{ ...pledge, replaces: "c1" }] } };
  assertEquals([pledged(valid), pledged(valid, cluster)], ["new", undefined]);
  assertEquals(pledged({}, cluster), "new", "a cluster that it never was of");
  assertEquals(
    pledged({ record: { ...lost, lost: { ...started, clusterId: "c9" } } }, cluster),
    "new",
    "another life's",
  );
});

Deno.test("a wait drops the proposal, ends the phase before it, and tells legacy peers that hold data", () => {
  const plan = { initialMembers, source: { kind: "empty" }, lineage: first, digest: "d" } as const;
  const waits = decided({
    phase: "joining",
    bootstrap: { progress: { plan } },
    gossip: { gossipJoinedAtMs: undefined },
  });
  assertEquals([waits.turn.node.phase, waits.turn.node.bootstrap.progress, waits.waits?.split(" ")[0]], [
    "gathering",
    {},
    "info",
  ]);
  const status = (...peers: readonly GossipPeer[]) =>
    decided(gossip(...peers), onData(), { process: { bootedAtMs: nowMs }, gossip: { status: "running" } }).turn.node
      .gossip.status;
  assertEquals([
    status(goPeer("g")),
    status(goPeer("g", { status: "running" })),
    status(goPeer("g", { state: "dead" })),
    status(peer("b")),
  ], [
    "pending",
    "unknown",
    "unknown",
    "unknown",
  ]);
  const asks: StateChange = { gossip: { gossipJoinedAtMs: nowMs } };
  const asking = (...peers: readonly GossipPeer[]) => decided(gossip(...peers), onData(), asks).turn.node.gossip.status;
  assertEquals([asking(goPeer("g")), asking(goPeer("g"), goPeer("h", { status: "running" })), asking(peer("b"))], [
    "pending",
    "unknown",
    "unknown",
  ]);
  const alone: StateChange = { gossip: { gossipJoinedAtMs: undefined, status: "running" } };
  assertEquals(decided(gossip(goPeer("g")), alone).turn.node.gossip.status, "unknown", "it holds no data");
  const empty = decided(gossip(goPeer("g", { status: "running" }), goPeer("h")), { gossip: { status: "running" } });
  assertEquals(empty.turn.node.gossip.status, "unknown");
});

Deno.test("a node whose rest of the pledge is on its way looks again soon, and tells a stop that keeps it", () => {
  const second: Pledge = {
    ...pledge,
    source: { kind: "survivor", name: "b", revision: 1 },
    lineage: { ...first, epoch: 2, token: "second" },
    token: "second",
    replaces: "c1",
    verified: "h",
  };
  const own = onData({ pledges: [second] });
  const waits = decided(gossip(peer("b")), own);
  assertEquals([waits.waits, waits.turn.wakeMs - nowMs <= 300], ["info recovery_pending", true]);
  const held = decided(gossip(peer("b")), own, { settings: settings({ hold: { sinceWallMs: 0 } }) });
  assertEquals(held.waits?.endsWith(" held"), true, held.waits);
});

Deno.test("a node with data that asks its peers looks again in 0.3 s", () => {
  const asking = decided(gossip(peer("b")), onData(), { gossip: { gossipJoinedAtMs: nowMs } });
  assertEquals([asking.waits, asking.turn.wakeMs - nowMs <= 300], ["info asking_peers", true]);
  const hold: StateChange = { settings: settings({ hold: { sinceWallMs: 0 } }) };
  assertEquals(
    decided(gossip(peer("b")), onData(), { gossip: { gossipJoinedAtMs: nowMs } }, hold).waits,
    "info asking_peers",
  );
  const unreadable = decided(gossip(peer("b")), { disk: { data: { kind: "unreadable", why: "EIO" } } });
  assertEquals([unreadable.waits, unreadable.turn.wakeMs - nowMs > 300], ["info data_unreadable", true]);
});

Deno.test("a size that contradicts the cluster ends the process", () => {
  const { turn } = decided(gossip(running("b")), b(members.slice(1), { recordedSize: 5 }));
  assertEquals([turn.node.process.ending?.code, turn.node.phase], [1, "failed"]);
  assertEquals(linesOf(turn).map((line) => line.split(" ").slice(1, 4).join(" ")), [
    "gathering → leaving",
    "leaving → failed",
  ]);
});

Deno.test("data of a removed member is quarantined as a WARN", () => {
  const { requests, turn } = decided(gossip(running("b"), running("c")), b(members.slice(1)), onData());
  assertEquals(requests, [{ kind: "quarantineData", label: "removed", keepRecord: false }]);
  assertEquals(linesOf(turn)[0]?.startsWith("warn quarantine removed_member: "), true);
  const progress = { bootstrap: { progress: { plan: pledge } } };
  assertEquals(
    decided(gossip(running("b"), running("c")), b(members.slice(1)), onData(), progress).turn.node.bootstrap.progress,
    {},
  );
  const inFlight: StateChange = { effects: { backoffUntilMs: new Map([["local", Infinity]]) } };
  assertEquals(linesOf(decided(gossip(running("b"), running("c")), b(members.slice(1)), onData(), inFlight).turn), []);
});

Deno.test("a new address is registered before etcd starts, not during a pause", () => {
  const old = [member("a", { peerUrls: ["http://old:2380"], clientUrls: ["http://old:2379"] }), ...members.slice(1)];
  const moved = (change: Partial<EtcdAnswer> = {}) =>
    [
      gossip(running("b")),
      endpoints({
        b: answering(answer("b", old, { leaderId: "id-b", recordedSize: 3, ...change })),
        old: silent(nowMs - 5_000),
      }),
      { membership: { raft: { kind: "unreadable", atMs: nowMs } } },
      { disk: { data: data("a", old), record: bound } },
    ] as const;
  const { requests, turn } = decided(...moved());
  assertEquals(requests, [{ kind: "memberUpdate", via: ["http://b:2379"], memberId: "id-a", peerUrl: self.peerUrl }]);
  assertEquals(linesOf(turn).map((line) => line.split(" ")[1]), ["updateAddress"]);
  assertEquals(brief(...moved({ pause: { paused: true, version: 1 } })), ["gathering", "info paused"]);
});

Deno.test("etcd starts again on its own data, with the versions that its cluster permits", () => {
  const { requests, turn } = decided(
    gossip(running("b"), running("c")),
    b(members, { version: "3.6.14", clusterVersion: "3.6.0" }),
    onData(),
    { bootstrap: { progress: { verified: "h", plan: pledge } } },
  );
  const [request] = requests;
  assertEquals(request?.kind === "startEtcd" && request.start.state === "restart" && request.start.othersServe, true);
  assertEquals([turn.node.phase, turn.node.bootstrap.progress], ["restarting", {}]);
  const alone = settings({ requiredSize: 1, gossip: false });
  const single: StateChange = {
    disk: { data: data("a", [member("a")], { etcdAtLeast: "3.6" }), record: bound },
    settings: alone,
  };
  const [start] = decided(single).requests;
  assertEquals(start?.kind === "startEtcd" && [start.start.state, start.start.range?.atLeast], ["restart", "3.6"]);
  const kept = { ...pledge, lineage: first, token: first.token };
  assertEquals(brief(single, { disk: { record: { ...bound, pledges: [kept] } } }), ["gathering", "writeRecord"]);
  const unasked = decided(gossip(running("b"), held("c")), b(members, { version: "3.6.14" }), onData(), {
    process: { bootedAtMs: nowMs },
  });
  assertEquals([unasked.requests, unasked.waits], [[], "info etcd_needed"], "c was not asked for its version yet");
});

const two = members.slice(1);
const joins = (...changes: readonly StateChange[]) =>
  decided(
    gossip(running("b"), running("c")),
    endpoints({
      b: answering(
        answer("b", two, {
          leaderId: "id-b",
          recordedSize: 3,
          version: "3.6.14",
          clusterVersion: "3.6.0",
          lineage: first,
        }),
      ),
      c: answering(
        answer("c", two, {
          leaderId: "id-b",
          recordedSize: 3,
          version: "3.6.14",
          clusterVersion: "3.6.0",
          lineage: first,
        }),
      ),
    }),
    ...changes,
  );
const provided: StateChange = { ownEtcd: { provided: "3.6.14" } };

Deno.test("a joiner gets an etcd that fits, then adds itself, and says that it joins", () => {
  const first_ = joins({ gossip: { status: "running" } });
  assertEquals([first_.turn.node.phase, first_.turn.node.gossip.status, first_.waits], [
    "joining",
    "unknown",
    "info etcd_needed",
  ]);
  assertEquals(first_.requests.map(({ kind }) => kind), ["setStatus", "provideEtcd"]);
  assertEquals(first_.turn.node.reports.journal[0]?.facts, { cluster: "c1" });
  assertEquals(joins({ bootstrap: { progress: { plan: pledge } } }).turn.node.bootstrap.progress, {});
  assertEquals(joins({ ownEtcd: { provided: "3.4.45" } }).waits, "info etcd_needed", "it is too old");
  const adds = joins(provided);
  assertEquals(adds.requests, [{
    kind: "memberAdd",
    via: ["http://b:2379", "http://c:2379"],
    peerUrl: self.peerUrl,
    beside: ["id-b", "id-c"],
  }]);
  assertEquals(linesOf(adds.turn).some((line) => line.startsWith("info add place_free:")), true);
  const seen = joins(provided, { membership: { lastCluster: { clusterId: "c1", voters: [], atMs: nowMs } } });
  assertEquals(seen.requests[0]?.kind, "writeRecord", "what it saw is written down first");
  const full = decided(gossip(running("b")), b(["b", "c", "d"].map((name) => member(name)), { lineage: first }));
  assertEquals([full.turn.node.phase, full.requests.length, full.waits], ["joining", 0, "info standby"]);
});

Deno.test("a joiner waits for the versions of its cluster before it changes the members", () => {
  const unnamed = { lineage: first, leaderId: "id-b", version: "" };
  const unknown = decided(gossip(running("b")), b([member("b")], unnamed), {
    process: { bootedAtMs: nowMs },
  });
  assertEquals([unknown.requests, unknown.waits], [[], "info etcd_needed"]);
});

Deno.test("a joiner removes its own stale member as a WARN", () => {
  const stale = [...two, member("a", { id: "id-stale", clientUrls: [] })];
  const { requests, turn } = decided(
    gossip(running("b"), running("c")),
    endpoints({
      b: answering(
        answer("b", stale, {
          leaderId: "id-b",
          recordedSize: 3,
          version: "3.6.14",
          clusterVersion: "3.6.0",
          lineage: first,
        }),
      ),
      c: answering(
        answer("c", stale, {
          leaderId: "id-b",
          recordedSize: 3,
          version: "3.6.14",
          clusterVersion: "3.6.0",
          lineage: first,
        }),
      ),
    }),
    provided,
  );
  assertEquals(requests, [{ kind: "memberRemove", via: ["http://b:2379", "http://c:2379"], memberId: "id-stale" }]);
  assertEquals(linesOf(turn).some((line) => line.startsWith("warn removeStaleMember ")), true);
  assertEquals(turn.node.reports.journal.at(-1)?.facts, { member: "id-stale" });
});

Deno.test("a joiner that was added binds its record to the cluster's lineage, then starts etcd beside the others", () => {
  const list = [...two, member("a", { name: "", clientUrls: [] }), member("n", { name: "" })];
  const added = (
    change: Partial<NodeState["disk"]["record"]>,
    etcd: Partial<EtcdAnswer> = { lineage: first },
    ...changes: readonly StateChange[]
  ) =>
    decided(
      gossip(running("b"), running("c")),
      endpoints({
        b: answering(
          answer("b", list, { leaderId: "id-b", recordedSize: 3, version: "3.6.14", clusterVersion: "3.6.0", ...etcd }),
        ),
      }),
      { membership: { added: "id-a" }, disk: { record: { ...record, ...change } } },
      endpoints({
        b: answering(
          answer("b", list, { leaderId: "id-b", recordedSize: 3, version: "3.6.14", clusterVersion: "3.6.0", ...etcd }),
        ),
        c: answering(
          answer("c", list, { leaderId: "id-b", recordedSize: 3, version: "3.6.14", clusterVersion: "3.6.0", ...etcd }),
        ),
      }),
      ...changes,
    );
  const joined = { lineage: first, how: "joined", renounced: [], clusterId: "c1" } as const;
  const binds = [{ kind: "writeRecord", record: { ...record, started: joined } }];
  assertEquals(added({ pledges: [pledge] }).requests, binds);
  assertEquals(added({ started: { ...joined, lineage: { ...first, token: "x" } } }).requests, binds);
  assertEquals(added({ started: { ...joined, lineage: { ...first, id: "x" } } }).requests, binds);
  const initialCluster = ["b", "c", "a"].map((name) => ({ name, peerUrl: `http://${name}:2380` }));
  const [start] = added({ started: joined }).requests;
  assertEquals(
    start?.kind === "startEtcd" && start.start.state === "existing" && start.start.initialCluster,
    initialCluster,
  );
  const busy: StateChange = {
    effects: { inFlight: new Map([["cluster", { kind: "memberPromote", id: 1, via: [], memberId: "" }]]) },
  };
  assertEquals(added({ started: joined }, { lineage: first }, busy).requests, []);
  const { facts: _, ...mute } = running("b");
  const unknown = added({}, {}, { gossip: { peers: [mute, running("c")] } });
  assertEquals([unknown.requests, unknown.waits], [[], "info lineage_unknown"]);
  const named_ = added({}, {}, { gossip: { peers: [mute, running("c")] }, settings: settings({ newCluster: "blue" }) });
  assertEquals([named_.turn.node.phase, named_.requests, named_.waits], ["joining", [], "info lineage_unknown"]);
});

Deno.test("a joiner that changed the members a moment ago does not fall back to waiting or to a bootstrap", () => {
  const just: StateChange = { phase: "joining", membership: { probesInvalidatedAtMs: nowMs - 1 } };
  assertEquals(brief(just, { gossip: { gossipJoinedAtMs: undefined } }), ["joining"]);
  assertEquals([brief(just), brief(just, gossip(peer("b"), peer("c")))], [["joining"], ["joining"]]);
  assertEquals(brief({ ...just, phase: "gathering" }), ["gathering", "info too_few_peers"]);
  const long: StateChange = { phase: "joining", membership: { probesInvalidatedAtMs: nowMs - 1_500 } };
  assertEquals(brief(long), ["gathering", "info too_few_peers"]);
  assertEquals(joins(provided, just).requests.map(({ kind }) => kind), ["memberAdd"], "it goes on");
});

Deno.test("a node whose data stands against a later life waits for an operator, and writes that life down", () => {
  const second = { id: "line", epoch: 2, token: "second" };
  const rival = held("b", { clusterId: "c2", lineage: second });
  const newer = endpoints({
    b: answering(answer("b", [member("b")], { clusterId: "c2", lineage: second, leaderId: "id-b" })),
  });
  assertEquals(brief(gossip(rival, held("c")), newer, onData()), ["gathering", "writeRecord", "error two_epochs"]);
  const soon: StateChange = { process: { bootedAtMs: nowMs } };
  assertEquals(brief(gossip(rival, peer("c", { state: "dead" })), newer, onData(), soon), [
    "gathering",
    "info newer_epoch_waits",
  ]);
});

Deno.test("nodes without data and without a cluster bootstrap one", () => {
  const gathers = decided(gossip(peer("b"), peer("c")), { phase: "joining" });
  assertEquals([gathers.turn.node.phase, gathers.waits, gathers.turn.node.bootstrap.progress.plan !== undefined], [
    "gathering",
    "info views_settle",
    true,
  ]);
});
