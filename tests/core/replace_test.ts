import { decideBackup } from "../../lib/core/rules/backup.ts";
import { isDone, nextOperation } from "../../lib/core/plans/progress.ts";
import { planScale } from "../../lib/core/plans/scale.ts";
import { planUpgrade } from "../../lib/core/plans/upgrade.ts";
import { decideReplacement } from "../../lib/core/rules/membership/replace.ts";
import { assert, assertEquals } from "../support/assert.ts";
import type { View } from "../../lib/core/facts/view.ts";
import { alarm, answer, answering, facts, goPeer, member, nowMs, peer, settings, silent, view } from "./facts.ts";
import type { Plan } from "../../lib/core/facts/plan.ts";
import { decideJoin } from "../../lib/core/rules/start/join.ts";
import type { EndpointFacts, RaftFacts } from "../../lib/core/facts/cluster.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const long = 100_000;
const raft = (active: boolean, atMs = nowMs): RaftFacts => ({
  kind: "read",
  memberId: "id-a",
  sinceMs: atMs - 4_000,
  atMs,
  members: new Map([["id-c", { receivedBytes: 1, ...(active ? { heardAtMs: atMs } : {}) }]]),
});
const deadC = view("a", {
  raft: raft(false),
  peers: [peer("b"), peer("c", { state: "dead", sinceMs: nowMs - long })],
  endpoints: new Map([
    ["http://b:2379", answering(answer("b", members))],
    ["http://c:2379", silent(nowMs - long)],
  ]),
});

Deno.test("decideReplacement() removes what gossip and etcd both hold for gone", () => {
  const action = decideReplacement(deadC, answer("a", members));
  assertEquals(action.kind === "remove" ? action.member.name : action.kind, "c");
});

Deno.test("decideReplacement() leaves a member alone that one of the two still sees", () => {
  const alive = { ...deadC, peers: [peer("b"), peer("c")] };
  assertEquals(decideReplacement(alive, answer("a", members)).kind, "nothing");
  const answers = new Map(deadC.endpoints).set("http://c:2379", answering(answer("c", members)));
  assertEquals(decideReplacement({ ...deadC, endpoints: answers }, answer("a", members)).kind, "wait");
  const recent = new Map(deadC.endpoints).set("http://c:2379", silent(nowMs - 1_000));
  assertEquals(decideReplacement({ ...deadC, endpoints: recent }, answer("a", members)).kind, "wait");
});

Deno.test("decideReplacement() never removes a member that raft reaches, nor before the leader's raft was asked", () => {
  const code = (seen: View) => {
    const action = decideReplacement(seen, answer("a", members));
    return action.kind === "wait" ? [action.reason.code, action.level] : action.kind;
  };
  assertEquals(code({ ...deadC, raft: raft(true) }), ["member_reachable_by_raft", "error"]);
  assertEquals(code({ ...deadC, raft: raft(false, nowMs - 6_000) }), ["asking_raft", undefined]);
  const { raft: _, ...unasked } = deadC;
  assertEquals(code(unasked), ["asking_raft", undefined]);
  // The metrics of a former leader say nothing of this one's connections.
  const former = { ...raft(false), memberId: "id-b" };
  assertEquals(code({ ...deadC, raft: former }), ["asking_raft", undefined]);
  // Metrics that cannot be read leave the decision to gossip and etcd.
  assertEquals(code({ ...deadC, raft: { kind: "unreadable", atMs: nowMs } }), "remove");
});

Deno.test("decideReplacement() never takes a member that was not asked for a silent one", () => {
  const endpoints = new Map([...deadC.endpoints].filter(([url]) => url !== "http://c:2379"));
  assertEquals(decideReplacement({ ...deadC, endpoints }, answer("a", members)).kind, "wait");
  // Another member answers at its URL: the time-out runs from its own last answer.
  const other = new Map(deadC.endpoints).set("http://c:2379", answering(answer("b", members)));
  const recent = new Map([["id-c", { clusterId: "c1", atMs: nowMs - 1_000, raftIndex: 1, storedIndex: 0 }]]);
  assertEquals(
    decideReplacement({ ...deadC, endpoints: other, memberAnswers: recent }, answer("a", members)).kind,
    "wait",
  );
  assertEquals(decideReplacement({ ...deadC, endpoints: other }, answer("a", members)).kind, "remove");
});

Deno.test("decideReplacement() removes a dead member although an empty newcomer has its name, and no live one for it", () => {
  const newcomer = peer("c", { peerUrl: "http://x:2380", clientUrl: "http://x:2379", gossipAddr: "x:7980" });
  const seen = { ...deadC, peers: [peer("b"), newcomer] };
  assertEquals(decideReplacement(seen, answer("a", members)).kind, "remove");
  const unknown = { ...newcomer, facts: facts("c", { data: { kind: "unknown" } }) };
  assertEquals(decideReplacement({ ...seen, peers: [peer("b"), unknown] }, answer("a", members)).kind, "nothing");
});

Deno.test("decideReplacement() does nothing while paused, and nothing beside a running change", () => {
  assertEquals(
    decideReplacement({ ...deadC, settings: settings({ paused: true }) }, answer("a", members)).kind,
    "nothing",
  );
  const busy = [...members, member("d", { isLearner: true, name: "" })];
  const action = decideReplacement({ ...deadC, memberSinceMs: new Map([["id-d", nowMs - 1_000]]) }, answer("a", busy));
  assertEquals(action.kind, "wait");
});

Deno.test("decideReplacement() evicts a joiner that gets nowhere", () => {
  const busy = [members[0]!, members[1]!, member("d", { isLearner: true, name: "", clientUrls: [] })];
  const seen = { ...deadC, memberSinceMs: new Map([["id-d", nowMs - long]]) };
  const action = decideReplacement(seen, answer("a", busy));
  assertEquals(action.kind === "remove" ? action.reason.code : action.kind, "joiner_stalled");
});

Deno.test("decideJoin() removes its stale member first, waits for a change, is a standby node, or adds itself", () => {
  const cluster = answer("a", members);
  const healthy = new Map(members.map((each) => [each.clientUrls[0]!, answering(answer(each.name, members))] as const));
  assertEquals(decideJoin(view("c", { endpoints: healthy }), cluster, undefined).kind, "removeStaleMember");
  assertEquals(decideJoin(view("c", { endpoints: healthy }), cluster, "id-c").kind, "start");
  const standby = decideJoin(view("d"), cluster, undefined);
  assertEquals(standby.kind === "wait" && standby.isStandby, true);
  assertEquals(decideJoin(view("d"), answer("a", members.slice(0, 2)), undefined).kind, "add");
  const busy = [...members.slice(0, 2), member("e", { isLearner: true })];
  const waits = decideJoin(view("d"), answer("a", busy), undefined);
  assertEquals(waits.kind === "wait" ? waits.reason.code : waits.kind, "change_runs");
});

Deno.test("decideJoin() never removes a member whose name the newcomer has, unless it is dead by all evidence", () => {
  const cluster = answer("a", members);
  const newcomer = (change: Partial<View>) =>
    view("c", {
      self: { name: "c", peerUrl: "http://x:2380", clientUrl: "http://x:2379", gossipAddr: "x:7980" },
      peers: [peer("a"), peer("b")],
      raft: raft(false),
      ...change,
    });
  const healthy = ["a", "b"].map((name) => [`http://${name}:2379`, answering(answer(name, members))] as const);
  const asked = (c: EndpointFacts) => new Map([...healthy, ["http://c:2379", c]]);
  const code = (seen: View) => {
    const step = decideJoin(seen, cluster, undefined);
    return step.kind === "wait" ? [step.reason.code, step.level] : step.kind;
  };
  const taken = ["name_taken", "error"];
  assertEquals(code(newcomer({ endpoints: new Map(healthy) })), ["asking_member", undefined]);
  assertEquals(code(newcomer({ endpoints: asked(answering(answer("c", members))) })), taken);
  assertEquals(code(newcomer({ endpoints: asked(silent(nowMs - 1_000)) })), ["member_silent", undefined]);
  assertEquals(code(newcomer({ endpoints: asked(silent(nowMs - long)), raft: raft(true) })), taken);
  const conflict = { name: "c", addresses: ["x:7980", "c:7980"] } as const;
  assertEquals(code(newcomer({ endpoints: asked(silent(nowMs - long)), nameConflicts: [conflict] })), taken);
  assertEquals(code(newcomer({ endpoints: asked(silent(nowMs - long)), watchingSinceMs: nowMs - 1_000 })), [
    "member_silent",
    undefined,
  ]);
  assertEquals(code(newcomer({ endpoints: asked(silent(nowMs - long)) })), "removeStaleMember");
});

Deno.test("decideJoin() removes no stale member at its own address that answers, or was not asked", () => {
  const elsewhere = [members[0]!, members[1]!, member("c", { clientUrls: ["http://other:2379"] })];
  const healthy = ["a", "b"].map((name) => [`http://${name}:2379`, answering(answer(name, elsewhere))] as const);
  const code = (endpoints: View["endpoints"]) => {
    const step = decideJoin(view("c", { endpoints }), answer("a", elsewhere), undefined);
    return step.kind === "wait" ? step.reason.code : step.kind;
  };
  assertEquals(code(new Map(healthy)), "asking_member");
  assertEquals(code(new Map([...healthy, ["http://other:2379", answering(answer("c", elsewhere))]])), "address_taken");
  assertEquals(code(new Map([...healthy, ["http://other:2379", silent(nowMs)]])), "removeStaleMember");
});

Deno.test("decideBackup() saves what moved, in the original's format beside Go nodes, never what is corrupt", () => {
  const on = view("a", { settings: settings({ snapshots: true }), peers: [goPeer("b")] });
  const own = answer("a", members);
  assertEquals(decideBackup(on, own, { revision: 0, diverged: false }), { kind: "take", format: "go-v1" });
  assertEquals(decideBackup({ ...on, peers: [] }, own, { revision: 0, diverged: false }), {
    kind: "take",
    format: "v2",
  });
  const why = (history: Parameters<typeof decideBackup>[2], answered = own) => {
    const decision = decideBackup(on, answered, history);
    return decision.kind === "skip" ? decision.why : decision.kind;
  };
  assertEquals(why({ revision: 50, diverged: false }), "unchanged");
  assertEquals(why({ revision: 0, diverged: true }), "diverged");
  assertEquals(why({ revision: 0, diverged: false, attemptedAtMs: nowMs - 10 }), "not_due");
  for (const corrupt of [alarm("CORRUPT", "a"), alarm("CORRUPT")]) {
    assertEquals(why({ revision: 0, diverged: false }, answer("a", members, { alarms: [corrupt] })), "corrupt");
  }
  assertEquals(
    why({ revision: 0, diverged: false }, answer("a", members, { alarms: [alarm("CORRUPT", "c")] })),
    "take",
  );
});

Deno.test("planScale() changes the record first, and refuses beside Go nodes, sick members and missing standby nodes", () => {
  const healthy = new Map(members.map((each) => [each.clientUrls[0]!, answering(answer(each.name, members))] as const));
  const own = answer("a", members, { recordedSize: 3 });
  const up = planScale(view("a", { endpoints: healthy, peers: [peer("d"), peer("e")] }), own, 5, "p1");
  assertEquals(
    up.kind === "plan" ? up.plan.operations.map((each) => each.kind) : up.why,
    ["resize", "add", "promote", "add", "promote"],
  );
  for (const peers of [[], [goPeer("g")]]) {
    assertEquals(planScale(view("a", { endpoints: healthy, peers }), own, 5, "p1").kind, "refused");
  }
  assertEquals(planScale(view("a", { peers: [peer("d"), peer("e")] }), own, 5, "p1").kind, "refused");
});

Deno.test("planUpgrade() goes followers first, the leader last, and knows the bad path from 3.5", () => {
  const on = (version: string) =>
    new Map(members.map((each) => [each.clientUrls[0]!, answering(answer(each.name, members, { version }))] as const));
  const good = planUpgrade(view("a", { endpoints: on("3.6.14") }), answer("a", members), "3.7", "p1");
  assertEquals(
    good.kind === "plan"
      ? good.plan.operations.map((each) => "memberId" in each ? `${each.kind} ${each.memberId}` : "")
      : good.why,
    ["upgrade id-b", "upgrade id-c", "moveLeaderFrom id-a", "upgrade id-a", ""],
  );
  const old = (version: string, to: string) => {
    const outcome = planUpgrade(view("a", { endpoints: on(version) }), answer("a", members, { version }), to, "p1");
    return outcome.kind === "refused" ? outcome.why : outcome.kind;
  };
  assert(old("3.5.25", "3.6").includes("3.5.26"));
  assertEquals(old("3.5.26", "3.6"), "plan");
  assert(old("3.4.9", "3.6").includes("3.5 first"));
  assertEquals(old("3.7.1", "3.6"), "plan");
});

Deno.test("nextOperation() looks at the cluster, not at a note of what was done", () => {
  const plan: Plan = {
    id: "p",
    purpose: "replace",
    text: "replace c by d",
    createdAtWallMs: 0,
    operations: [
      { kind: "remove", memberId: "id-c", name: "c" },
      { kind: "add", peerUrl: "http://d:2380" },
      { kind: "promote", peerUrl: "http://d:2380" },
    ],
  };
  const at = (list: readonly ReturnType<typeof member>[]) => ({
    members: list,
    leaderId: "id-a",
    recordedSize: 3,
    clusterVersion: undefined,
    lastSnapshotAtWallMs: undefined,
    endpoints: new Map(),
  });
  const [a, b, c] = members as [typeof members[0], typeof members[0], typeof members[0]];
  assertEquals(nextOperation(plan, at([a!, b!, c!]))?.kind, "remove");
  assertEquals(nextOperation(plan, at([a!, b!]))?.kind, "add");
  assertEquals(nextOperation(plan, at([a!, b!, member("d", { isLearner: true })]))?.kind, "promote");
  assertEquals(nextOperation(plan, at([a!, b!, member("d")])), undefined);
  assertEquals(isDone({ kind: "moveLeaderFrom", memberId: "id-a" }, at([a!]), plan), false);
});
