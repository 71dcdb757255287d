import {
  answerOf,
  changeInProgress,
  freshAnswer,
  goneForMs,
  isHealthy,
  peerOf,
  unreachableForMs,
} from "../../../lib/core/evidence/members.ts";
import { clientEvidence, mayBeNodeOf, nodesOf, reportedHung } from "../../../lib/core/evidence/member_evidence.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { EndpointFacts, EtcdAnswer, MemberAnswer } from "../../../lib/core/facts/cluster.ts";
import type { GossipPeer, PeerData } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { alarm, answer, answering, facts, goPeer, member, nowMs, peer, silent, view } from "../facts.ts";

const b = member("b");
const ofB = answering(answer("b", []));
const held = (memberId: string): PeerData => ({
  kind: "held",
  clusterId: "c1",
  memberId,
  lineage: { id: "l", epoch: 1, token: "t" },
  revision: 1,
});
const withData = (name: string, data: PeerData, change: Partial<GossipPeer> = {}) =>
  peer(name, { facts: facts(name, { data }), ...change });
const elsewhere = { peerUrl: "http://x:2380" };

Deno.test("freshAnswer() is at most 5 s old; answerOf() is the member's own, at any of its addresses", () => {
  assertEquals(freshAnswer(ofB, nowMs + 5_000)?.memberId, "id-b");
  assertEquals(freshAnswer(ofB, nowMs + 5_001), undefined);
  assertEquals(freshAnswer(silent(0), nowMs), undefined);
  assertEquals(freshAnswer(undefined, nowMs), undefined);
  const of = (first: EndpointFacts, second: EndpointFacts) =>
    answerOf(
      member("b", { clientUrls: ["http://1", "http://2"] }),
      view("a", { endpoints: new Map([["http://1", first], ["http://2", second]]) }),
    )?.memberId;
  assertEquals(of(silent(0), ofB), "id-b");
  assertEquals(of(answering(answer("c", [])), ofB), "id-b");
  assertEquals(of(answering(answer("c", [])), silent(0)), undefined);
});

Deno.test("isHealthy(): it answers, in this cluster, behind this leader, and is not accused", () => {
  const cluster = answer("a", [member("a"), b]);
  const healthy = (of: Partial<EtcdAnswer> | undefined, by: Partial<EtcdAnswer> = {}, which = b) => {
    const endpoints = new Map(of === undefined ? [] : [["http://b:2379", answering(answer("b", [], of))]]);
    return isHealthy(which, { ...cluster, ...by }, view("a", { endpoints }));
  };
  assertEquals(healthy({}), true);
  assertEquals(healthy(undefined), false);
  assertEquals(healthy({ clusterId: "c2" }), false);
  assertEquals(healthy({ leaderId: "id-c" }), false);
  const leaderless = { leaderId: undefined } as unknown as Partial<EtcdAnswer>;
  assertEquals(healthy(leaderless, leaderless), false);
  assertEquals(healthy({ alarms: [alarm("CORRUPT", "b")] }), false);
  assertEquals(healthy({ alarms: [alarm("CORRUPT", "c")] }), true);
  assertEquals(healthy(undefined, {}, member("a")), true, "the answer itself");
});

Deno.test("changeInProgress() is a learner, or a member that never started", () => {
  const change = (...of: ReturnType<typeof member>[]) => changeInProgress([member("a"), ...of])?.id;
  assertEquals(change(), undefined);
  assertEquals(change(member("l", { isLearner: true })), "id-l");
  assertEquals(change(member("n", { name: "" })), "id-n");
});

Deno.test("mayBeNodeOf() goes by the address, else by the name of a node that does not hold other data", () => {
  const named = (data: PeerData) => mayBeNodeOf(withData("b", data, elsewhere), b);
  assertEquals(mayBeNodeOf(peer("x", { peerUrl: "http://b:2380" }), b), true);
  assertEquals(mayBeNodeOf(peer("x"), b), false);
  assertEquals(named({ kind: "none" }), false);
  assertEquals(named({ kind: "unknown" }), true);
  assertEquals([named(held("id-b")), named(held("")), named(held("id-c"))], [true, true, false]);
  assertEquals(mayBeNodeOf(goPeer("b", elsewhere), b), true);
  assertEquals(mayBeNodeOf(goPeer("", elsewhere), { ...b, name: "" }), false);
  const namesake = withData("b", { kind: "unknown" }, elsewhere);
  const own = peer("other", { peerUrl: "http://b:2380" });
  assertEquals(nodesOf(b, view("a", { peers: [namesake, peer("c"), own] })), [namesake, own]);
  assertEquals(peerOf(b, view("a", { peers: [namesake, own] })), own, "the address comes first");
  assertEquals(peerOf(b, view("a", { peers: [peer("c"), namesake] })), namesake);
  assertEquals(peerOf(b, view("a", { peers: [peer("c")] })), undefined);
});

Deno.test("goneForMs() runs from the last of its nodes that gossip lost, and from when this node began to watch", () => {
  const dead = (sinceMs: number, change: Partial<GossipPeer> = {}) => peer("b", { state: "dead", sinceMs, ...change });
  const gone = (peers: readonly GossipPeer[], watchingSinceMs = 0) =>
    goneForMs(b, view("a", { peers, watchingSinceMs }));
  assertEquals(gone([peer("b")]), undefined);
  assertEquals(gone([peer("b", { state: "suspect" })]), undefined);
  assertEquals(gone([dead(nowMs - 500)]), 500);
  assertEquals(gone([dead(nowMs - 500)], nowMs - 100), 100);
  assertEquals(gone([], nowMs - 700), 700);
  const twice = withData("b", { kind: "unknown" }, { ...elsewhere, state: "left", sinceMs: nowMs - 300 });
  assertEquals(gone([dead(nowMs - 500), twice]), 300);
  assertEquals(gone([dead(nowMs - 500), { ...twice, state: "alive" }]), undefined);
});

Deno.test("clientEvidence() tells a member that answers from one that is silent and from one that was not asked", () => {
  const evidence = (
    of: readonly (readonly [string, EndpointFacts])[],
    change: Partial<View> = {},
    which = b,
  ) => {
    const found = clientEvidence(which, view("a", { endpoints: new Map(of), ...change }));
    return found.kind === "answers"
      ? `answers ${found.url}`
      : found.kind === "silent"
      ? `silent ${found.forMs}`
      : `unasked ${found.urls.join(" ")}`;
  };
  const url = "http://b:2379";
  assertEquals(evidence([]), `unasked ${url}`);
  assertEquals(evidence([[url, ofB]]), `answers ${url}`);
  assertEquals(evidence([[url, { ...ofB, atMs: 0 }]]), `answers ${url}`, "its own address, not asked since");
  assertEquals(evidence([[url, silent(nowMs - 300)]]), "silent 300");
  assertEquals(evidence([[url, { ...silent(0), atMs: nowMs - 10_000 }]]), `silent ${nowMs}`);
  assertEquals(evidence([[url, { ...silent(0), atMs: nowMs - 10_001 }]]), `unasked ${url}`);
  assertEquals(evidence([[url, silent(nowMs - 300)]], { watchingSinceMs: nowMs - 100 }), "silent 100");
  const answered = (agoMs: number): ReadonlyMap<string, MemberAnswer> =>
    new Map([["id-b", { clusterId: "c1", atMs: nowMs - agoMs, raftIndex: 1, storedIndex: 0 }]]);
  assertEquals(evidence([[url, silent(nowMs - 300)]], { memberAnswers: answered(200) }), "silent 200");
  // Another member answers there: it is silent since it answered last, or as long as this node watches.
  assertEquals(evidence([[url, answering(answer("c", []))]], { watchingSinceMs: nowMs - 900 }), "silent 900");
  // At an address that is not registered any more.
  const other = "http://former:2379";
  assertEquals(evidence([[other, { ...ofB, atMs: nowMs - 10_000 }]]), `answers ${other}`);
  assertEquals(evidence([[other, { ...ofB, atMs: nowMs - 10_001 }]]), `unasked ${url}`);
  assertEquals(evidence([[other, silent(0)], [url, silent(nowMs - 5)]]), "silent 5");
  // At this node's own address listens its own etcd or nobody.
  const self = { ...view("a").self, clientUrl: url };
  assertEquals(evidence([[url, ofB]], { self, watchingSinceMs: nowMs - 50 }), "silent 50");
  const two = member("b", { clientUrls: ["http://1", "http://2"] });
  assertEquals(evidence([["http://1", silent(nowMs - 9)]], {}, two), "unasked http://2");
  assertEquals(evidence([["http://1", silent(nowMs - 9)], ["http://2", silent(nowMs - 4)]], {}, two), "silent 4");
  // Before it has registered an address it is asked at its node's.
  const unstarted = member("b", { name: "", clientUrls: [] });
  assertEquals(evidence([], { peers: [peer("c"), peer("b")] }, unstarted), `unasked ${url}`);
  assertEquals(evidence([], { watchingSinceMs: nowMs - 7 }, unstarted), "silent 7");
  const ms = (of: EndpointFacts) => unreachableForMs(b, view("a", { endpoints: new Map([[url, of]]) }));
  assertEquals([ms(ofB), ms(silent(nowMs - 300)), unreachableForMs(b, view("a"))], [0, 300, 0]);
});

Deno.test("reportedHung() is the word of a live node about its own member", () => {
  const hung = (memberId: string, change: Partial<GossipPeer> = {}) =>
    reportedHung(
      b,
      view("a", {
        peers: [peer("c"), goPeer("g"), peer("b", { facts: facts("b", { etcdHung: memberId }), ...change })],
      }),
    );
  assertEquals(hung("id-b"), true);
  assertEquals(hung("id-c"), false);
  assertEquals(hung("id-b", { state: "suspect" }), false);
});
