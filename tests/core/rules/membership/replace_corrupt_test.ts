import { decideCorrupt } from "../../../../lib/core/rules/membership/replace_corrupt.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import { assert, assertEquals } from "../../../support/assert.ts";
import { alarm, answer, answering, data, goPeer, member, nowMs, peer, settings, view } from "../../facts.ts";
import type {
  EtcdAlarm,
  EtcdAnswer,
  EtcdMember,
  HashEvidence,
  MemberHash,
} from "../../../../lib/core/facts/cluster.ts";

const members = ["a", "b", "c"].map((name) => member(name));
type Changes = Readonly<Record<string, Partial<EtcdAnswer> | "silent">>;

/** a leads and is asked; its alarms are those of etcd. */
function decide(
  alarms: readonly EtcdAlarm[],
  evidence?: HashEvidence,
  { of = members, changes = {}, peers = of.map(({ name }) => peer(name)), change = {} }: {
    of?: readonly EtcdMember[];
    changes?: Changes;
    change?: Partial<View>;
    peers?: ReturnType<typeof peer>[];
  } = {},
) {
  const own = answer("a", of, { alarms });
  const endpoints = new Map(of.flatMap((each) => {
    const change = changes[each.name] ?? {};
    if (each.name === "a" || change === "silent") return [];
    return [[each.clientUrls[0]!, answering(answer(each.name, of, change))] as const];
  }));
  return decideCorrupt(view("a", { endpoints, peers, ...change }), own, evidence);
}

const hash = (name: string, hash: number, compactRevision = 10): MemberHash => ({
  memberId: `id-${name}`,
  hash,
  compactRevision,
});

function proof(hashes: readonly MemberHash[], ageMs = 0, of = members): HashEvidence {
  return { revision: 50, atMs: nowMs - ageMs, voters: of.map(({ id }) => id).sort(), hashes };
}

const cDiffers = [hash("a", 1), hash("b", 1), hash("c", 2)];
const accuseC = [alarm("CORRUPT", "c")];

Deno.test("decideCorrupt() does nothing without that alarm", () => {
  assertEquals(decide([], proof(cDiffers)).kind, "nothing");
  assertEquals(decide([alarm("NOSPACE", "a"), alarm("NOSPACE", "c")], proof(cDiffers)).kind, "nothing");
});

Deno.test("decideCorrupt() asks for hashes at the lowest revision of those that are not accused", () => {
  const decision = decide(accuseC, undefined, { changes: { b: { revision: 47 }, c: { revision: 3 } } });
  assertEquals(decision, {
    kind: "hash",
    revision: 47,
    voters: ["id-a", "id-b", "id-c"],
    members: ["a", "b", "c"].map((name) => ({ memberId: `id-${name}`, endpoint: `http://${name}:2379` })),
  });
});

Deno.test("decideCorrupt() removes a voter whose data differs from that of all others, which agree", () => {
  const decision = decide(accuseC, proof(cDiffers));
  assert(decision.kind === "remove", JSON.stringify(decision));
  assertEquals([decision.member.id, decision.reason.code], ["id-c", "member_corrupt"]);
});

Deno.test("decideCorrupt() removes an accused voter that gives no answer", () => {
  const silent = { changes: { c: "silent" } } as const;
  const asked = decide(accuseC, undefined, silent);
  assertEquals(asked.kind === "hash" && asked.members.map(({ memberId }) => memberId), ["id-a", "id-b"]);
  assertEquals(decide(accuseC, proof(cDiffers.slice(0, 2)), silent).kind, "remove");
});

Deno.test("decideCorrupt() moves the lead away from an accused leader first, to a node that goes on with it", () => {
  const hashes = [hash("a", 2), hash("b", 1), hash("c", 1)];
  const to = (peers: ReturnType<typeof peer>[]) => {
    const decision = decide([alarm("CORRUPT", "a")], proof(hashes), { peers });
    return decision.kind === "moveLeader" && decision.to;
  };
  assertEquals(to([peer("b"), peer("c")]), "id-b");
  assertEquals(to([goPeer("b"), peer("c")]), "id-c");
});

Deno.test("decideCorrupt() disarms the alarm of a removed member, but not while a member is accused", () => {
  const decision = decide([alarm("CORRUPT", "x")]);
  assertEquals(decision.kind === "disarm" && decision.memberId, "id-x");
  assertEquals(decide([alarm("CORRUPT", "x"), ...accuseC], proof(cDiffers)).kind, "remove");
});

Deno.test("decideCorrupt() acts on fresh hashes of today's voters only", () => {
  assertEquals(decide(accuseC, proof(cDiffers, 10_000)).kind, "remove");
  assertEquals(decide(accuseC, proof(cDiffers, 10_001)).kind, "hash");
  assertEquals(decide(accuseC, proof(cDiffers, 0, members.slice(0, 2))).kind, "hash");
  const equal = [hash("a", 1), hash("b", 1), hash("c", 1)];
  assertEquals(decide(accuseC, proof(equal, 60_000)).kind, "wait");
  assertEquals(decide(accuseC, proof(equal, 60_001)).kind, "hash");
});

Deno.test("decideCorrupt() takes nobody out where those left are too few for -n and nobody waits to step in", () => {
  const change = { settings: settings({ requiredSize: 5 }), data: data("a", members) };
  const peers = members.map(({ name }) => goPeer(name, { status: "running" }));
  const decision = decide(accuseC, proof(cDiffers), { peers, change });
  assertEquals(decision.kind === "wait" && [decision.reason.code, decision.replace], ["removal_unsafe", true]);
  assertEquals(decide(accuseC, proof(cDiffers), { peers: [...peers, peer("d")], change }).kind, "remove");
});

Deno.test("decideCorrupt() waits for every reason there is, and says it", () => {
  const five = ["a", "b", "c", "d", "e"].map((name) => member(name));
  const learner = member("d", { isLearner: true });
  const of3 = (hashes: readonly MemberHash[]) => decide(accuseC, proof(hashes));
  const told: Record<string, ReturnType<typeof decide>> = {
    "0 is accused": decide([alarm("CORRUPT")], proof(cDiffers)),
    "0 beside another": decide([alarm("CORRUPT"), ...accuseC], proof(cDiffers)),
    "two are accused": decide([alarm("CORRUPT", "a"), ...accuseC], proof(cDiffers)),
    "two of five": decide([alarm("CORRUPT", "d"), ...accuseC], undefined, { of: five }),
    "a learner is there": decide(accuseC, proof(cDiffers), { of: [...members, learner] }),
    "a learner is accused": decide([alarm("CORRUPT", "d")], proof(cDiffers), { of: [...members, learner] }),
    "a cluster of one": decide([alarm("CORRUPT", "a")], undefined, { of: members.slice(0, 1) }),
    "a cluster of two": decide([alarm("CORRUPT", "b")], undefined, { of: members.slice(0, 2) }),
    "another is silent": decide(accuseC, proof(cDiffers), { changes: { b: "silent" } }),
    "another follows another": decide(accuseC, proof(cDiffers), { changes: { b: { leaderId: "ffff" } } }),
    "another gives no hash": of3([hash("a", 1), hash("c", 2)]),
    "the first gives no hash": of3([hash("b", 1), hash("c", 2)]),
    "the others differ": of3([hash("a", 1), hash("b", 3), hash("c", 2)]),
    "another is compacted otherwise": of3([hash("a", 1), hash("b", 1, 20), hash("c", 2)]),
    "the accused is compacted otherwise": of3([hash("a", 1), hash("b", 1), hash("c", 2, 20)]),
    "the accused is equal": of3([hash("a", 1), hash("b", 1), hash("c", 1)]),
  };
  const codes = Object.entries(told).map(([what, decision]) => {
    assert(decision.kind === "wait", `${what}: ${JSON.stringify(decision)}`);
    return `${what}: ${decision.reason.code}${decision.replace ? ", the dead are replaced meanwhile" : ""}`;
  });
  assertEquals(codes, [
    "0 is accused: corrupt_unnamed",
    "0 beside another: corrupt_unnamed",
    "two are accused: corrupt_many",
    "two of five: corrupt_many",
    "a learner is there: change_runs, the dead are replaced meanwhile",
    "a learner is accused: change_runs, the dead are replaced meanwhile",
    "a cluster of one: corrupt_no_majority",
    "a cluster of two: corrupt_no_majority",
    "another is silent: corrupt_other_silent, the dead are replaced meanwhile",
    "another follows another: corrupt_other_silent, the dead are replaced meanwhile",
    "another gives no hash: corrupt_other_silent, the dead are replaced meanwhile",
    "the first gives no hash: corrupt_other_silent, the dead are replaced meanwhile",
    "the others differ: corrupt_others_differ",
    "another is compacted otherwise: corrupt_incomparable, the dead are replaced meanwhile",
    "the accused is compacted otherwise: corrupt_incomparable, the dead are replaced meanwhile",
    "the accused is equal: corrupt_equal, the dead are replaced meanwhile",
  ]);
});

Deno.test("decideCorrupt() tells how the accused differs, and whose alarm is disarmed", () => {
  const text = (decision: ReturnType<typeof decide>) => "reason" in decision ? decision.reason.text : decision.kind;
  assertEquals(
    text(decide(accuseC, proof(cDiffers))),
    '"c" has other data than all others at revision 50; all others agree',
  );
  assertEquals(
    text(decide(accuseC, proof(cDiffers.slice(0, 2)))),
    '"c" is accused of wrong data and gives no hash at revision 50; all others agree',
  );
  const disarmed = decide([alarm("CORRUPT", "y"), alarm("CORRUPT", "x")]);
  assert(disarmed.kind === "disarm");
  assertEquals([disarmed.memberId, disarmed.reason], [
    "id-x",
    { code: "stale_alarm", text: "member id-x was removed: its alarm CORRUPT is disarmed" },
  ]);
  assertEquals(
    text(decide(accuseC, proof([hash("a", 1), hash("c", 2)]))),
    '"c" is accused of wrong data, and "b" gives no hash at revision 50',
  );
  const leads = [alarm("CORRUPT", "a")];
  const moved = decide(leads, proof([hash("a", 2), hash("b", 1), hash("c", 1)]), {
    peers: [goPeer("b"), goPeer("c")],
  });
  assert(moved.kind === "moveLeader");
  assertEquals([moved.to, moved.reason.code], ["id-b", "member_corrupt"], "nobody else goes on with it");
  const unnamed = members.map((each) => each.id === "id-c" ? { ...each, name: "" } : each);
  assertEquals(
    text(decide(accuseC, undefined, { of: unnamed })),
    '"id-c" is accused of wrong data and stays while "id-c" is joining',
  );
});

Deno.test("decideCorrupt() hints at what an operator does, and asks where an address is missing for nothing", () => {
  const hint = (decision: ReturnType<typeof decide>) => decision.kind === "wait" ? decision.reason.hint : decision.kind;
  assertEquals(hint(decide([alarm("CORRUPT")]))?.includes("etcdctl member remove"), true);
  assertEquals(hint(decide(accuseC, undefined, { changes: { b: "silent" } })), "bring that member back");
  const incomparable = decide(accuseC, proof([hash("a", 1), hash("b", 1, 20), hash("c", 2)]));
  assertEquals(incomparable.kind === "wait" && Object.keys(incomparable.reason), ["code", "text"]);
  const without = (name: string) => members.map((each) => each.name === name ? { ...each, clientUrls: [] } : each);
  const asked = decide(accuseC, undefined, { of: without("a") });
  assertEquals(asked.kind === "wait" && asked.reason.code, "corrupt_other_silent");
  // The accused leads, and no endpoint of its own was asked: its own answer counts.
  const own = decide([alarm("CORRUPT", "a")]);
  assertEquals(own.kind === "hash" && own.members.map(({ memberId }) => memberId), ["id-b", "id-c", "id-a"]);
  const unreachable = decide([alarm("CORRUPT", "a")], undefined, { of: without("a") });
  assertEquals(unreachable.kind === "hash" && unreachable.members.map(({ memberId }) => memberId), ["id-b", "id-c"]);
});
