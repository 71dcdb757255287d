import { decideJoin, decideStale, nameHeld } from "../../../../lib/core/rules/start/join.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import type { EndpointFacts, EtcdAnswer, EtcdMember, RaftFacts } from "../../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../../support/assert.ts";
import { answer, answering, facts, member, nowMs, peer, settings, silent, view } from "../../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const cluster = (change: Partial<EtcdAnswer> = {}) => answer("a", members, change);
const endpoint = (name: string, of: EndpointFacts) => [`http://${name}:2379`, of] as const;
const healthy = ["a", "b"].map((name) => endpoint(name, answering(answer(name, members))));
const raft = (heard: boolean): RaftFacts => ({
  kind: "read",
  memberId: "id-a",
  sinceMs: nowMs - 4_000,
  atMs: nowMs,
  members: new Map([["id-c", { receivedBytes: 1, ...(heard ? { heardAtMs: nowMs } : {}) }]]),
});

function told(step: ReturnType<typeof decideJoin> | undefined): string {
  if (step === undefined) return "dead";
  switch (step.kind) {
    case "wait":
      return [step.kind, step.level, step.isStandby && "standby", step.reason.code].filter((each) => each).join(" ");
    case "start":
    case "removeStaleMember":
      return `${step.kind} ${step.member.id}`;
    default:
      return `${step.kind} ${step.reason.code}: ${step.reason.text}`;
  }
}

/** These members answer, with that list. */
const knownBy = (list: readonly EtcdMember[], ...names: string[]): Partial<View> => ({
  endpoints: new Map(names.map((name) => endpoint(name, answering(answer(name, list))))),
});

Deno.test("decideJoin() adds this node once no member that runs lists an earlier member at its address", () => {
  const two = members.slice(0, 2);
  const stale = [...two, member("x")];
  const join = (b: EndpointFacts | undefined, change: Partial<View> = {}) =>
    told(decideJoin(
      view("x", {
        peers: [peer("a"), peer("b")],
        endpoints: new Map(b === undefined ? [] : [endpoint("b", b)]),
        ...change,
      }),
      cluster({ members: two }),
      undefined,
    ));
  const adds = "add place_free: 2 of 3 members are there", waits = "wait removal_not_applied";
  assertEquals(join(answering(answer("b", two))), adds);
  assertEquals(join(answering(answer("b", stale))), waits, "it has not applied the removal");
  assertEquals(join(answering(answer("b", [members[1]!]))), adds);
  assertEquals(join(answering(answer("b", []))), waits, "its list could not be read");
  const before = { ...answering(answer("b", two)), atMs: -Infinity };
  assertEquals(join(before), adds, "it had applied the removal before");
  assertEquals(join({ ...before, last: answer("b", stale) }), waits);
  assertEquals(
    join(answering(answer("z", two)), { watchingSinceMs: nowMs - 1 }),
    waits,
    "another member answers there",
  );
  assertEquals(join(undefined), waits, "it was not asked");
  assertEquals(join(undefined, { peers: [peer("a")] }), waits, "it was not asked, and gossip does not know it");
  assertEquals(join(silent(nowMs - 59_999)), waits, "its node is there, and its etcd may start any moment");
  assertEquals(join(silent(nowMs - 60_000)), adds);
  assertEquals(join(silent(nowMs), { peers: [peer("a"), peer("b", { state: "dead" })] }), adds);
  const hung = { facts: facts("b", { etcdHung: "id-b" }) };
  assertEquals(join(silent(nowMs), { peers: [peer("a"), peer("b", hung)] }), adds);
});

Deno.test("decideJoin() starts what this process added, and goes no further during a pause or a conflict of names", () => {
  const join = (change: Partial<View>, of: Partial<EtcdAnswer> = {}, added?: string) =>
    told(decideJoin(view("x", { peers: [peer("a")], ...change }), cluster(of), added));
  const two = members.slice(0, 2);
  const listed = [...two, member("x", { name: "" })];
  const here = { peers: [peer("a")], endpoints: new Map(healthy) };
  assertEquals(join({}, { members: listed }, "id-x"), "start id-x");
  assertEquals(join(here, { members: listed, pause: { paused: true, version: 1 } }, "id-x"), "start id-x");
  assertEquals(join(here, { members: listed }, "id-y"), "removeStaleMember id-x");
  const knowing = knownBy(two, "b");
  assertEquals(join(knowing, { members: two }), "add place_free: 2 of 3 members are there");
  assertEquals(join({}, { members: two, pause: { paused: true, version: 1 } }), "wait paused");
  const { pause: _, ...unread } = cluster({ members: two });
  assertEquals(told(decideJoin(view("x"), unread, undefined)), "wait pause_unknown");
  const conflict = (name: string) => ({ nameConflicts: [{ name, addresses: ["x:7980", "y:7980"] as const }] });
  assertEquals(join(conflict("x"), { members: two }), "wait error name_taken");
  assertEquals(join({ ...knowing, ...conflict("y") }, { members: two }), "add place_free: 2 of 3 members are there");
});

Deno.test("decideJoin() is added while a place is free and no other change runs, and else waits as a standby node", () => {
  const join = (of: Partial<EtcdAnswer>, change: Partial<View> = {}) =>
    decideJoin(view("x", change), cluster(of), undefined);
  const two = members.slice(0, 2);
  assertEquals(told(join({})), "wait standby standby");
  assertEquals(told(join({ recordedSize: 5 }, knownBy(members, "b", "c"))), "add place_free: 3 of 5 members are there");
  assertEquals(told(join({ recordedSize: 1, members: two })), "wait standby standby");
  const learner = join({ members: [...two, member("d", { isLearner: true })] });
  assertEquals([told(learner), "reason" in learner && learner.reason.text], [
    "wait change_runs",
    '"d" is joining; one change at a time',
  ]);
  const unstarted = join({ members: [...two, member("d", { name: "" })] });
  assertEquals("reason" in unstarted && unstarted.reason.text, '"http://d:2380" is joining; one change at a time');
  // The bootstrap list names other nodes without data, and none of the members.
  const listed = {
    settings: settings({ seeds: ["x:7980", "y:7980", "z:7980"] }),
    peers: [...members.map(({ name }) => peer(name)), peer("y"), peer("z")],
  };
  assertEquals(told(join({}, listed)), "wait standby standby_unlisted");
});

/** A node of the name c at another address than member c. */
const newcomer = (c: EndpointFacts | undefined, change: Partial<View> = {}) =>
  view("c", {
    self: { name: "c", peerUrl: "http://x:2380", clientUrl: "http://x:2379", gossipAddr: "x:7980" },
    peers: [peer("a"), peer("b")],
    endpoints: new Map([...healthy, ...(c === undefined ? [] : [endpoint("c", c)])]),
    raft: raft(false),
    ...change,
  });

Deno.test("nameHeld() holds a member of this name for alive as long as one of the evidences does", () => {
  const old = silent(nowMs - 60_000);
  const held = (seen: View) => told(nameHeld(members[2]!, cluster(), seen));
  const { raft: _, ...unread } = newcomer(old);
  const cases: [string, View][] = [
    ["dead", newcomer(old)],
    ["dead", newcomer(old, { raft: { kind: "unreadable", atMs: nowMs } })],
    ["wait error name_taken", newcomer(answering(answer("c", members)))],
    ["wait error name_taken", newcomer(old, { raft: raft(true) })],
    ["wait error name_taken", newcomer(old, { peers: [peer("c")] })],
    ["wait asking_member", newcomer(undefined)],
    ["wait member_silent", newcomer(silent(nowMs - 59_999))],
    ["wait member_silent", newcomer(old, { peers: [peer("c", { state: "dead", sinceMs: nowMs - 59_999 })] })],
    ["dead", newcomer(old, { peers: [peer("c", { state: "dead", sinceMs: nowMs - 60_000 })] })],
    ["wait asking_raft", unread],
  ];
  for (const [index, [expected, seen]] of cases.entries()) assertEquals(held(seen), expected, `case ${index}`);
});

Deno.test("decideJoin() asks about a namesake before anything else, and removes it once it is dead", () => {
  const join = (seen: View) => told(decideJoin(seen, cluster(), undefined));
  assertEquals(join(newcomer(answering(answer("c", members)))), "wait error name_taken");
  assertEquals(join(newcomer(silent(0))), "removeStaleMember id-c");
  // Its own address is another member's, and its name that of a member which is dead.
  const both = newcomer(silent(0), {
    self: { name: "c", peerUrl: "http://b:2380", clientUrl: "http://x:2379", gossipAddr: "x:7980" },
  });
  assertEquals(join(both), "wait error address_taken");
});

Deno.test("decideStale() removes the own stale member only when nothing answers as it and the quorum allows it", () => {
  const listed = [members[0]!, members[1]!, member("c", { clientUrls: ["http://old:2379"] })];
  const stale = (of: readonly (readonly [string, EndpointFacts])[], change: Partial<View> = {}) =>
    told(decideStale(listed[2]!, answer("a", listed), view("c", { endpoints: new Map(of), ...change })));
  const well = ["a", "b"].map((name) => endpoint(name, answering(answer(name, listed))));
  assertEquals(stale(well), "wait asking_member");
  assertEquals(stale([...well, endpoint("old", silent(nowMs))]), "removeStaleMember id-c");
  assertEquals(stale([...well, endpoint("old", answering(answer("c", listed)))]), "wait error address_taken");
  assertEquals(stale([well[0]!, endpoint("old", silent(nowMs))]), "wait stale_member_stays");
  const removal = decideStale(
    listed[2]!,
    answer("a", listed),
    view("c", {
      endpoints: new Map([...well, endpoint("old", silent(nowMs))]),
      peers: [peer("c", { facts: facts("c") })],
    }),
  );
  assertEquals(removal.kind === "removeStaleMember" && removal.reason.code, "stale_member");
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
