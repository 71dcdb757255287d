import { publishedFacts } from "../../lib/core/published_facts.ts";
import { bootstrapPlanOf, pledgeOf } from "../../lib/core/rules/bootstrap/proposal.ts";
import type { NodeRecord, StartedData } from "../../lib/core/facts/node_record.ts";
import { assertEquals } from "../support/assert.ts";
import { data, member, nowMs, settings, silent, type StateChange } from "./facts.ts";
import { turnOf } from "./turns.ts";

const of = (...changes: readonly StateChange[]) => publishedFacts(turnOf(changes));
const record = (change: Partial<NodeRecord>): StateChange => ({
  disk: { record: { nonce: "n", pledges: [], ...change }, recordPersisted: true },
});
const lineage = { id: "line", epoch: 1, token: "t" };
const started: StartedData = { lineage, how: "founded", renounced: ["r"], clusterId: "c1" };
const members = ["a", "b", "c"].map((name) => member(name));
const lastLog = { term: 2, index: 100 };

Deno.test("a node that knows nothing publishes who it is, and leaves out all else", () => {
  assertEquals(of(record({})), {
    nonce: "n",
    formerNonces: [],
    sequence: 0,
    requiredSize: 3,
    phase: "booting",
    data: { kind: "unknown" },
    pledges: [],
    renounced: [],
    approved: [],
    snapshotLookup: "unconfigured",
  });
});

Deno.test("a node publishes what its record and its operator say", () => {
  const seen = { clusterId: "c1", lineageId: "line" };
  const logs = { clusterId: "c1", members: [] };
  const hold = { sinceWallMs: 5 };
  const pauseMark = { clusterId: "c1", paused: true, version: 2 };
  const facts = of(
    record({ formerNonces: ["o"], started, seen: { ...seen, voters: [] }, logs, undecided: lineage }),
    { settings: settings({ hold, approved: ["p"] }), operator: { pauseMark } },
  );
  const { formerNonces, renounced, approved } = facts;
  assertEquals([formerNonces, renounced, approved], [["o"], ["r"], ["p"]]);
  assertEquals([facts.seen, facts.logs, facts.undecided], [seen, logs, lineage], "without the voters");
  assertEquals([facts.hold, facts.pause], [hold, pauseMark]);
});

Deno.test("a node publishes its plan of a bootstrap, what it verified for it, and what it pledged to", () => {
  const initialMembers = [{ name: "a", peerUrl: "http://a:2380", nonce: "n" }];
  const plan = bootstrapPlanOf(initialMembers, { kind: "snapshot", hash: "h", revision: 1 }, lineage);
  const offer = { hash: "h", revision: 1, url: "u" };
  const facts = of({ bootstrap: { progress: { plan, verified: "h", offer } } });
  assertEquals([facts.proposal, facts.verified, facts.offer], [plan.digest, "h", offer]);
  const { digest, lineage: { token } } = plan;
  assertEquals(of(record({ pledges: [pledgeOf(plan, "h"), pledgeOf(plan, undefined)] })).pledges, [
    { digest, token, initialMembers, verified: "h" },
    { digest, token, initialMembers },
  ]);
});

Deno.test("a node publishes that its backups fail, and that its etcd hangs", () => {
  const failure = { attempts: 2, text: "no route" };
  assertEquals(of({ snapshots: { backup: { revision: 0, diverged: false, failure } } }).backupFailure, failure);
  const etcdProgress = { atMs: 0, busy: false, startsAgain: false, restarts: 1, restartedAtMs: 0 };
  const hung = of({
    phase: "serving",
    disk: { data: data("a", members) },
    ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, etcdProgress },
  });
  assertEquals(hung.etcdHung, "id-a");
});

Deno.test("what a node says of its data: held with its revision and log, while it serves without them", () => {
  const held = { kind: "held", clusterId: "c1", memberId: "id-a", lineage, revision: 50 };
  const own: StateChange = { disk: { data: data("a", members, { lastLog }) } };
  const said = (...changes: readonly StateChange[]) => of(record({ started }), own, ...changes).data;
  assertEquals(said(), { ...held, lastLog });
  assertEquals(of(record({ started }), { disk: { data: data("a", members) } }).data, held);
  assertEquals(said({ phase: "serving" }), { ...held, revision: 0 });
  assertEquals(said({ phase: "serving", ownEtcd: { leaderlessSinceMs: 5 } }), { ...held, lastLog });
});

Deno.test("what a node says of its data: unusable, about to be made, not looked at, none, or lost", () => {
  const said = (of_: NonNullable<StateChange["disk"]>["data"], change: Partial<NodeRecord> = {}, isPersisted = true) =>
    of(record(change), { disk: { data: of_!, recordPersisted: isPersisted } }).data;
  assertEquals(said({ kind: "damaged", what: "crc" }, { started }), { kind: "unusable", why: "crc" });
  assertEquals(said({ kind: "unreadable", why: "EIO" }, { started }), { kind: "unusable", why: "EIO" });
  assertEquals(said({ kind: "absent" }, { started }), {
    kind: "held",
    clusterId: "",
    memberId: "",
    lineage,
    revision: 0,
  });
  assertEquals(said({ kind: "unknown" }), { kind: "unknown" });
  assertEquals([said({ kind: "absent" }), said({ kind: "empty" })], [{ kind: "none" }, { kind: "none" }]);
  assertEquals(said({ kind: "absent" }, {}, false), { kind: "unknown" }, "its nonce is not on disk yet");
  assertEquals(said({ kind: "absent" }, { lost: started }), { kind: "none", lost: lineage });
  const { clusterId: _, ...never } = started;
  assertEquals(said({ kind: "absent" }, { lost: never }), { kind: "none" }, "etcd never ran on it");
});

Deno.test("a survivor publishes that its quorum is lost once the time is over and the end of its log is known", () => {
  const endpoints = new Map(["b", "c"].map((name) => [`http://${name}:2379`, silent(0)]));
  const lost = (log: boolean, leaderlessSinceMs = 0) =>
    of(record({ started }), {
      phase: "serving",
      disk: { data: data("a", members, log ? { lastLog } : {}) },
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, leaderlessSinceMs },
      membership: { endpoints },
    }).quorumLost;
  assertEquals(lost(true), { lineage, revision: 50, members: ["id-a", "id-b", "id-c"], raftIndex: 100, lastLog });
  assertEquals([lost(false), lost(true, nowMs - 5)], [undefined, undefined]);
});

Deno.test("facts that are published are those of the end of the turn", () => {
  const turn = turnOf(record({}));
  assertEquals(turn.view.settings.requiredSize, 3);
  turn.node.disk.record = { ...turn.node.disk.record, started };
  assertEquals(publishedFacts(turn).data.kind, "held");
  const unknown = of({ settings: settings({ snapshots: true }), snapshots: { lookup: { kind: "unknown" } } });
  assertEquals(Object.keys(unknown).includes("snapshotLookup"), false, "the store was not looked up yet");
});
