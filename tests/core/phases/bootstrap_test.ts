import {
  advanceBootstrap,
  beginCommit,
  clearProposal,
  endKeptPledge,
  executeCommit,
} from "../../../lib/core/phases/bootstrap.ts";
import { bootstrapPlanOf, pledgeOf } from "../../../lib/core/rules/bootstrap/proposal.ts";
import type { AnsweredEffect } from "../../../lib/core/facts/effect.ts";
import type { BootstrapPlan, NodeRecord, Pledge, Source } from "../../../lib/core/facts/node_record.ts";
import type { GossipPeer, PeerFacts } from "../../../lib/core/facts/peer.ts";
import type { Turn } from "../../../lib/core/state/turn.ts";
import { assertEquals } from "../../support/assert.ts";
import { data, facts, found, goPeer, member, nowMs, peer, settings, silent, type StateChange } from "../facts.ts";
import { decisionsOf, linesOf, noneFree, requestsOf, turnOf } from "../turns.ts";

const initialMembers = ["a", "b", "c"].map((name) => ({
  name,
  peerUrl: `http://${name}:2380`,
  nonce: `nonce-${name}`,
}));
const empty = bootstrapPlanOf(initialMembers, { kind: "empty" }, undefined);
const pledge = pledgeOf(empty, undefined);
const record: NodeRecord = { nonce: "nonce-a", pledges: [] };
const ready: StateChange = {
  phase: "gathering",
  disk: { data: { kind: "absent" }, record, recordPersisted: true },
  gossip: { gossipJoinedAtMs: 0 },
};
const gather = (change: Partial<PeerFacts> = {}): StateChange => {
  const peers = ["b", "c"].map((name) => peer(name, { facts: facts(name, change) }));
  return { gossip: { peers, known: peers } };
};
const settled: StateChange = { bootstrap: { progress: { plan: empty, agreedSinceMs: nowMs - 300 } } };

const idless = (turn: Turn) =>
  requestsOf(turn).map((effect) => {
    const { id: _, ...rest } = effect as AnsweredEffect;
    return rest;
  });
function advanced(...changes: readonly StateChange[]) {
  const turn = turnOf([ready, ...changes]);
  const refused = turnOf([ready, ...changes, noneFree]);
  advanceBootstrap(refused);
  assertEquals(decisionsOf(refused).filter((each) => !each.includes(" → ")), []);
  advanceBootstrap(turn);
  return {
    turn,
    requests: idless(turn),
    waits: turn.node.reports.waitingFor?.code,
    progress: turn.node.bootstrap.progress,
  };
}

Deno.test("a proposal is kept in step with what is seen, and dropped when there is none", () => {
  const first = advanced(gather());
  assertEquals([first.progress.plan?.digest, first.waits, first.requests.map(({ kind }) => kind)], [
    empty.digest,
    "views_settle",
    ["setStatus"],
  ]);
  const other = { bootstrap: { progress: { plan: { ...empty, digest: "other" }, verified: "h" } } };
  assertEquals(advanced(gather(), other).progress, { plan: empty });
  assertEquals(advanced(other).progress, {}, "too few nodes");
  assertEquals(advanced(gather(), { bootstrap: { progress: { plan: empty, verified: "h" } } }).progress.verified, "h");
});

Deno.test("a plan that all agree on is pledged to once the views have settled, and the time begins anew when they differ", () => {
  const agreed = gather({ proposal: empty.digest });
  const began = advanced(agreed);
  assertEquals([began.progress.agreedSinceMs, began.turn.wakeMs - nowMs, began.waits], [nowMs, 300, "views_settle"]);
  const waits = advanced(agreed, { bootstrap: { progress: { plan: empty, agreedSinceMs: nowMs - 299 } } });
  assertEquals([waits.progress.agreedSinceMs, waits.turn.wakeMs - nowMs, waits.waits], [
    nowMs - 299,
    1,
    "views_settle",
  ]);
  const pledged = advanced(agreed, settled);
  assertEquals(pledged.requests, [{ kind: "writeRecord", record: { ...record, pledges: [pledge] } }]);
  assertEquals(pledged.turn.wakeMs, Infinity);
  assertEquals(linesOf(pledged.turn), ["info pledge views_agree: all initial members propose the same plan"]);
  assertEquals(pledged.turn.node.reports.journal[0]?.facts, {
    digest: empty.digest.slice(0, 8),
    initialMembers: "a b c",
    source: "empty",
  });
  assertEquals(advanced(gather(), settled).progress, { plan: empty }, "they do not agree any more");
});

Deno.test("a pledge that all initial members have published is carried out", () => {
  const published = {
    proposal: empty.digest,
    pledges: [{ digest: empty.digest, token: pledge.token, initialMembers }],
  };
  const { turn, requests } = advanced(gather(published), settled, {
    disk: { record: { ...record, pledges: [pledge] } },
  });
  assertEquals([turn.node.phase, turn.node.bootstrap.committing?.digest], ["bootstrapping", empty.digest]);
  assertEquals(requests.map(({ kind }) => kind), ["writeRecord"]);
});

Deno.test("a survivor whose data is the source exports it", () => {
  const names = ["a", "b", "c"];
  const lineage = { id: "line", epoch: 1, token: "t" };
  const survivor: StateChange = {
    phase: "serving",
    disk: {
      data: data("a", names.map((name) => member(name)), { lastLog: { term: 2, index: 100 } }),
      record: { ...record, started: { lineage, how: "founded", renounced: [], clusterId: "c1" } },
    },
    ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, leaderlessSinceMs: 0 },
    membership: { endpoints: new Map(["b", "c"].map((name) => [`http://${name}:2379`, silent(0)])) },
  };
  const { plan } = advanced(gather(), survivor).progress;
  assertEquals(plan?.source, { kind: "survivor", name: "a", revision: 50 });
  const exports = advanced(gather({ proposal: plan!.digest }), survivor, {
    bootstrap: { progress: { plan: plan!, agreedSinceMs: 0 } },
  });
  assertEquals(exports.requests, [{ kind: "exportSurvivor", plan: plan! }]);
  assertEquals(linesOf(exports.turn), ["info export best_source: this node has the newest data of all survivors"]);
});

Deno.test("a new pledge replaces one to the same plan, and sixteen are kept", () => {
  const earlier = (count: number): Pledge[] =>
    Array.from({ length: count }, (_, at) => ({ ...pledge, token: `t${at}`, digest: `d${at}` }));
  const kept = (...pledges: Pledge[]) => {
    const [request] =
      advanced(gather({ proposal: empty.digest }), settled, { disk: { record: { ...record, pledges } } }).requests;
    return request?.kind === "writeRecord" ? request.record.pledges.map(({ token }) => token) : request?.kind;
  };
  assertEquals(kept(pledge, ...earlier(1)), ["t0", pledge.token]);
  assertEquals(kept(...earlier(16)), [...earlier(16).slice(1).map(({ token }) => token), pledge.token]);
});

Deno.test("a node that waits without a plan says nothing to legacy peers, and with one that it is pending", () => {
  const status = (...changes: readonly StateChange[]) =>
    advanced({ gossip: { status: "running" } }, ...changes).turn.node.gossip.status;
  assertEquals([status(), status(gather())], ["unknown", "pending"]);
});

Deno.test("legacy peers bootstrap by their sorted list: pending until all are, then etcd starts as theirs does", () => {
  const legacy = (status: GossipPeer["status"]) => {
    const peers = ["b", "c"].map((name) => goPeer(name, { status }));
    return advanced({ gossip: { peers, known: peers } });
  };
  const pending = legacy("unknown");
  assertEquals([pending.turn.node.gossip.status, pending.waits], ["pending", "legacy_bootstrap"]);
  const { turn } = legacy("pending");
  assertEquals([turn.node.phase, turn.node.bootstrap.committing?.token, turn.node.bootstrap.committing?.digest], [
    "bootstrapping",
    "etcd-cluster",
    "go",
  ]);
  assertEquals(turn.node.bootstrap.committing, {
    digest: "go",
    token: "etcd-cluster",
    lineage: { id: "", epoch: 0, token: "etcd-cluster" },
    initialMembers: initialMembers.map((each) => ({ name: each.name, peerUrl: each.peerUrl, nonce: "" })),
    source: { kind: "empty" },
  });
});

const lookup = {
  kind: "newest",
  hash: "h",
  revision: 7,
  takenAtWallMs: 0,
  verified: true,
  epochMax: 1,
  lineage: { id: "l", epoch: 1, token: "t" },
} as const;

Deno.test("a snapshot that all agree on is prepared, and one that a survivor exports is fetched from it", () => {
  const digest = found(lookup);
  const change: StateChange = { settings: settings({ snapshots: true }), snapshots: { lookup } };
  const first = advanced(gather({ snapshotLookup: digest }), change);
  const plan = first.progress.plan!;
  assertEquals(plan.source.kind, "snapshot");
  const prepares = advanced(gather({ snapshotLookup: digest, proposal: plan.digest }), change, {
    bootstrap: { progress: { plan, agreedSinceMs: 0 } },
  });
  assertEquals(prepares.requests, [{ kind: "prepareSource", plan }]);
});

Deno.test("clearProposal() drops the plan of this life with all that was prepared for it", () => {
  const turn = turnOf({ bootstrap: { progress: { plan: empty, verified: "h" } } });
  clearProposal(turn);
  assertEquals(turn.node.bootstrap.progress, {});
  const none = turnOf({ bootstrap: { progress: { verified: "h" } } });
  clearProposal(none);
  assertEquals(none.node.bootstrap.progress, { verified: "h" });
});

const of = (source: Source): Pledge => ({
  ...pledge,
  source,
  digest: `digest of ${source.kind}`,
  token: source.kind,
  lineage: { ...pledge.lineage, token: source.kind },
});
const snapshot = of({ kind: "snapshot", hash: "h", revision: 7 });

Deno.test("beginCommit() journals what the cluster is made of, and begins at once", () => {
  const begun = (to: Pledge) => {
    const turn = turnOf([ready, { bootstrap: { restored: to.digest } }]);
    beginCommit(turn, to, { code: "c", text: "t" });
    const { node } = turn;
    assertEquals([node.bootstrap.committing, node.bootstrap.restored, requestsOf(turn).length], [to, undefined, 1]);
    return [node.phase, node.reports.journal[0]?.facts];
  };
  const told = (digest: string, source: string) => ({ digest, initialMembers: "a b c", source, epoch: 1 });
  assertEquals(begun(of({ kind: "empty" })), ["bootstrapping", told("digest o", "empty")]);
  assertEquals(begun(snapshot), ["restoring", told("digest o", "snapshot")]);
});

function committed(to: Pledge, ...changes: readonly StateChange[]) {
  const turn = turnOf([ready, { bootstrap: { committing: to } }, ...changes]);
  executeCommit(turn, to);
  return { turn, requests: idless(turn) };
}
const started = (to: Pledge, how: "founded" | "restored", change: Partial<NodeRecord> = {}): StateChange => ({
  disk: { record: { ...record, started: { lineage: to.lineage, how, renounced: [] }, ...change } },
});

Deno.test("a commitment writes the record, makes the data, and starts etcd, one effect at a time", () => {
  const others = { ...pledge, token: "other" };
  const plain = of({ kind: "empty" });
  const writes = (to: Pledge) =>
    committed(to, { disk: { record: { ...record, pledges: [others, to], lost: undefined } as never } }).requests;
  assertEquals(writes(plain), [{
    kind: "writeRecord",
    record: { ...record, pledges: [], started: { lineage: plain.lineage, how: "founded", renounced: ["other"] } },
  }]);
  assertEquals(writes(snapshot), [{
    kind: "writeRecord",
    record: {
      ...record,
      pledges: [snapshot],
      started: { lineage: snapshot.lineage, how: "restored", renounced: ["other"] },
    },
  }]);
  const restore = started(snapshot, "restored", { pledges: [snapshot] });
  assertEquals(committed(snapshot, restore).requests, [{ kind: "restoreData", plan: snapshot }]);
  const restored = { bootstrap: { restored: snapshot.digest } };
  assertEquals(committed(snapshot, restore, restored).requests, [
    { kind: "writeRecord", record: { ...restore.disk!.record, pledges: [] } },
  ]);
  const initialCluster = initialMembers.map(({ name, peerUrl }) => ({ name, peerUrl }));
  const start = (
    token: string,
    range = {},
  ) => [{ kind: "startEtcd", start: { state: "new", initialCluster, token, range } }];
  assertEquals(committed(snapshot, started(snapshot, "restored"), restored).requests, start("snapshot"));
  assertEquals(committed(plain, started(plain, "founded")).requests, start("empty"));
  const go = { ...plain, digest: "go" };
  const [request] = committed(go, started(go, "founded")).requests;
  assertEquals(
    request?.kind === "startEtcd" && Object.keys(request.start.range ?? {}).length > 0,
    true,
    "an etcd as old as theirs",
  );
  const busy: StateChange = { effects: { inFlight: new Map([["local", { kind: "stopEtcd", id: 1 }]]) } };
  assertEquals(committed(plain, busy).requests, []);
  const unusable: StateChange = { disk: { data: { kind: "damaged", what: "crc" } } };
  assertEquals(committed(plain, busy, unusable).turn.node.bootstrap.committing, plain, "until that effect has ended");
});

Deno.test("a commitment stops an etcd of other data, and quarantines that data with a copy of the record", () => {
  const plain = of({ kind: "empty" });
  const etcd = (kind: "starting" | "ready"): StateChange => ({ ownEtcd: { etcd: { kind, sinceMs: 0 } } });
  for (const kind of ["starting", "ready"] as const) {
    assertEquals(committed(plain, etcd(kind)).requests, [{ kind: "stopEtcd" }]);
    assertEquals(committed(plain, etcd(kind), started(plain, "founded")).requests, [], "it runs already");
  }
  const valid: StateChange = { disk: { data: data("a", []) } };
  assertEquals(committed(plain, valid).requests, [{ kind: "quarantineData", label: "superseded", keepRecord: true }]);
  assertEquals(committed(plain, valid, started(plain, "founded")).requests.map(({ kind }) => kind), ["startEtcd"]);
  assertEquals(committed(plain, { disk: { data: { kind: "unknown" } } }).requests, []);
});

Deno.test("a commitment ends where the data-dir became unusable: nothing is built over it", () => {
  const plain = of({ kind: "empty" });
  for (const kind of ["damaged", "unreadable"] as const) {
    const { turn, requests } = committed(plain, {
      phase: "bootstrapping",
      disk: { data: { kind, what: "w", why: "w" } as never },
    });
    assertEquals([turn.node.bootstrap.committing, turn.node.phase, requests], [undefined, "gathering", []]);
    assertEquals(linesOf(turn), [`info bootstrapping → gathering data_changed: the data-dir became ${kind}`]);
  }
  assertEquals(committed(plain, { disk: { data: { kind: "empty" } } }).requests.map(({ kind }) => kind), [
    "writeRecord",
  ]);
});

Deno.test("endKeptPledge() takes the pledge to the own life off the disk, and no other one", () => {
  const ended = (plan: BootstrapPlan, ...pledges: Pledge[]) => {
    const started = { lineage: plan.lineage, how: "restored", renounced: [] } as const;
    const turn = turnOf({ disk: { record: { ...record, started, pledges } } });
    const [request] = requestsOf(turn);
    assertEquals(request, undefined);
    return [endKeptPledge(turn), idless(turn).map((effect) => effect.kind === "writeRecord" && effect.record.pledges)];
  };
  assertEquals(ended(snapshot, snapshot, pledge), [true, [[pledge]]]);
  assertEquals([ended(snapshot, pledge), ended(snapshot)], [[false, []], [false, []]]);
});
