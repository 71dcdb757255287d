import { decideCorrupt, type HashEvidence, type MemberHash } from "../../lib/core/replace_corrupt.ts";
import type { EtcdAnswer, EtcdMember, View } from "../../lib/core/view.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { answer, answering, data, goPeer, member, nowMs, peer, settings, view } from "./facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
type Changes = Readonly<Record<string, Partial<EtcdAnswer> | "silent">>;

/** a leads and is asked; its alarms are those of etcd. */
function decide(
  alarms: readonly string[],
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
const accuseC = ["CORRUPT of id-c"];

Deno.test("decideCorrupt() does nothing without that alarm", () => {
  assertEquals(decide([], proof(cDiffers)).kind, "nothing");
  assertEquals(decide(["NOSPACE", "NOSPACE of id-c"], proof(cDiffers)).kind, "nothing");
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
    const decision = decide(["CORRUPT"], proof(hashes), { peers });
    return decision.kind === "moveLeader" && decision.to;
  };
  assertEquals(to([peer("b"), peer("c")]), "id-b");
  assertEquals(to([goPeer("b"), peer("c")]), "id-c");
});

Deno.test("decideCorrupt() disarms the alarm of a removed member, but not while a member is accused", () => {
  const decision = decide(["CORRUPT of id-x"]);
  assertEquals(decision.kind === "disarm" && decision.memberId, "id-x");
  assertEquals(decide(["CORRUPT of id-x", ...accuseC], proof(cDiffers)).kind, "remove");
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
    "0 is accused": decide(["CORRUPT of 0"], proof(cDiffers)),
    "0 beside another": decide(["CORRUPT of 0", ...accuseC], proof(cDiffers)),
    "two are accused": decide(["CORRUPT", ...accuseC], proof(cDiffers)),
    "two of five": decide(["CORRUPT of id-d", ...accuseC], undefined, { of: five }),
    "a learner is there": decide(accuseC, proof(cDiffers), { of: [...members, learner] }),
    "a learner is accused": decide(["CORRUPT of id-d"], proof(cDiffers), { of: [...members, learner] }),
    "a cluster of one": decide(["CORRUPT"], undefined, { of: members.slice(0, 1) }),
    "a cluster of two": decide(["CORRUPT of id-b"], undefined, { of: members.slice(0, 2) }),
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
