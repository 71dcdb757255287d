import { decideBackup } from "../../lib/core/backup.ts";
import { isDone, nextOperation, type Plan } from "../../lib/core/plan.ts";
import { planScale } from "../../lib/core/plan_scale.ts";
import { planUpgrade } from "../../lib/core/plan_upgrade.ts";
import { decideJoin, decideReplacement } from "../../lib/core/replace.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { answer, answering, goPeer, member, nowMs, peer, settings, silent, view } from "./facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const long = 100_000;
const deadC = view("a", {
  peers: [peer("b"), peer("c", { state: "dead", sinceMs: nowMs - long })],
  endpoints: new Map([
    ["http://b:2379", answering(answer("b", members))],
    ["http://c:2379", silent(nowMs - long)],
  ]),
});

Deno.test("decideReplacement() removes what gossip and etcd both hold for gone", () => {
  const deed = decideReplacement(deadC, answer("a", members));
  assertEquals(deed.kind === "remove" ? deed.member.name : deed.kind, "c");
});

Deno.test("decideReplacement() leaves a member alone that one of the two still sees", () => {
  const alive = { ...deadC, peers: [peer("b"), peer("c")] };
  assertEquals(decideReplacement(alive, answer("a", members)).kind, "nothing");
  const answers = new Map(deadC.endpoints).set("http://c:2379", answering(answer("c", members)));
  assertEquals(decideReplacement({ ...deadC, endpoints: answers }, answer("a", members)).kind, "wait");
  const recent = new Map(deadC.endpoints).set("http://c:2379", silent(nowMs - 1_000));
  assertEquals(decideReplacement({ ...deadC, endpoints: recent }, answer("a", members)).kind, "wait");
});

Deno.test("decideReplacement() does nothing while paused, and nothing beside a running change", () => {
  assertEquals(
    decideReplacement({ ...deadC, settings: settings({ paused: true }) }, answer("a", members)).kind,
    "nothing",
  );
  const busy = [...members, member("d", { isLearner: true, name: "" })];
  const deed = decideReplacement({ ...deadC, memberSinceMs: new Map([["id-d", nowMs - 1_000]]) }, answer("a", busy));
  assertEquals(deed.kind, "wait");
});

Deno.test("decideReplacement() evicts a joiner that gets nowhere", () => {
  const busy = [members[0]!, members[1]!, member("d", { isLearner: true, name: "", clientUrls: [] })];
  const seen = { ...deadC, memberSinceMs: new Map([["id-d", nowMs - long]]) };
  const deed = decideReplacement(seen, answer("a", busy));
  assertEquals(deed.kind === "remove" ? deed.reason.code : deed.kind, "joiner_stalled");
});

Deno.test("decideJoin() removes its former self first, waits for a change, is a spare, or adds itself", () => {
  const cluster = answer("a", members);
  const healthy = new Map(members.map((each) => [each.clientUrls[0]!, answering(answer(each.name, members))] as const));
  assertEquals(decideJoin(view("c", { endpoints: healthy }), cluster, undefined).kind, "removeFormerSelf");
  assertEquals(decideJoin(view("c", { endpoints: healthy }), cluster, "id-c").kind, "start");
  const spare = decideJoin(view("d"), cluster, undefined);
  assertEquals(spare.kind === "wait" && spare.spare, true);
  assertEquals(decideJoin(view("d"), answer("a", members.slice(0, 2)), undefined).kind, "add");
  const busy = [...members.slice(0, 2), member("e", { isLearner: true })];
  const waits = decideJoin(view("d"), answer("a", busy), undefined);
  assertEquals(waits.kind === "wait" ? waits.reason.code : waits.kind, "change_runs");
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
  for (const alarm of ["CORRUPT", "CORRUPT of 0"]) {
    assertEquals(why({ revision: 0, diverged: false }, answer("a", members, { alarms: [alarm] })), "corrupt");
  }
  assertEquals(why({ revision: 0, diverged: false }, answer("a", members, { alarms: ["CORRUPT of id-c"] })), "take");
});

Deno.test("planScale() changes the record first, and refuses beside Go nodes, sick members and missing spares", () => {
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
    ["upgrade id-b", "upgrade id-c", "moveLeaderFrom id-a", "upgrade id-a"],
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
