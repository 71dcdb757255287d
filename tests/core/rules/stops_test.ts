import { decideBootstrap } from "../../../lib/core/rules/bootstrap/commit.ts";
import {
  answeringCluster,
  holdReason,
  isNewerMark,
  pauseState,
  stopOfBootstrap,
  stopOfChange,
} from "../../../lib/core/rules/stops.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, nowMs, peer, settings, view } from "../facts.ts";
import { decideJoin } from "../../../lib/core/rules/start/join.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { PauseMark } from "../../../lib/core/facts/node_record.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const mark = (paused: boolean, version: number, clusterId = "c1"): PauseMark => ({ clusterId, paused, version });
const hold = { sinceWallMs: 1_700_000_000_000 };

/** Node c without data beside a cluster whose member a gives this answer. */
function joiner(cluster: EtcdAnswer, change: Partial<View> = {}): View {
  return view("c", {
    peers: [peer("a", { status: "running" })],
    endpoints: new Map([["http://a:2379", answering(cluster)]]),
    ...change,
  });
}

Deno.test("isNewerMark() goes by the version; at the same one the resume without a quorum is the later word", () => {
  assertEquals(isNewerMark(mark(false, 2), mark(true, 1)), true);
  assertEquals(isNewerMark(mark(true, 1), mark(false, 2)), false);
  assertEquals(isNewerMark(mark(false, 1), mark(true, 1)), true);
  assertEquals(isNewerMark(mark(true, 1), mark(false, 1)), false);
  assertEquals(isNewerMark(mark(true, 1), mark(true, 1)), false);
});

Deno.test("a joiner changes no member before it knows that the cluster is not paused", () => {
  const reason = (pause: EtcdAnswer["pause"]) => {
    const { pause: _, ...unread } = answer("a", members.slice(0, 1));
    const cluster = pause === undefined ? unread : { ...unread, pause };
    const step = decideJoin(joiner(cluster), cluster, undefined);
    return step.kind === "wait" ? step.reason.code : step.kind;
  };
  assertEquals(reason(undefined), "pause_unknown");
  assertEquals(reason({ paused: true, version: 1 }), "paused");
  assertEquals(reason({ paused: false, version: 2 }), "add");
  // Nor its own stale member, whose data is gone.
  const cluster = answer("a", members, { pause: { paused: true, version: 1 } });
  const step = decideJoin(joiner(cluster), cluster, undefined);
  assertEquals(step.kind === "wait" ? step.reason.code : step.kind, "paused");
});

Deno.test("a cluster that answers knows best, and says nothing of the own data's other cluster", () => {
  const running = answer("a", members);
  assertEquals(pauseState(joiner(running, { pauseMark: mark(true, 7) })).kind, "running");
  const other = joiner(running, { pauseMark: mark(true, 7, "c0"), data: data("c", members, { clusterId: "c0" }) });
  assertEquals(pauseState(other).kind, "paused");
});

Deno.test("without a cluster that answers the newest mark of the own data's cluster decides", () => {
  const survivor = (own: PauseMark | undefined, ...theirs: PauseMark[]) =>
    pauseState(view("c", {
      data: data("c", members),
      ...(own === undefined ? {} : { pauseMark: own }),
      peers: theirs.map((pause, at) => peer(`p${at}`, { facts: facts(`p${at}`, { pause }) })),
    })).kind;
  assertEquals(survivor(undefined), "running");
  assertEquals(survivor(mark(true, 1)), "paused");
  assertEquals(survivor(mark(true, 1), mark(false, 2)), "running");
  assertEquals(survivor(mark(false, 2), mark(true, 1)), "running");
  assertEquals(survivor(undefined, mark(true, 3), mark(false, 2)), "paused");
  assertEquals(survivor(undefined, mark(true, 3, "another")), "running");
});

Deno.test("empty nodes of which none was ever paused bootstrap; one mark of a paused cluster stops them", () => {
  const gathered = (change: Partial<View> = {}) => view("a", { peers: [peer("b"), peer("c")], ...change });
  assertEquals(stopOfBootstrap(gathered()), undefined);
  assertEquals(decideBootstrap(gathered(), {}).kind === "wait", true);
  assertEquals(stopOfBootstrap(gathered({ pauseMark: mark(true, 1) }))?.code, "paused");
  const told = gathered({ peers: [peer("b"), peer("c", { facts: facts("c", { pause: mark(true, 1) }) })] });
  assertEquals(stopOfBootstrap(told)?.code, "paused");
  assertEquals(stopOfChange(gathered(), answer("a", members)), undefined);
});

Deno.test("a hold stops every bootstrap step where it is seen, also after its node is gone", () => {
  const pledge = {
    initialMembers: [{ name: "a", peerUrl: "http://a:2380", nonce: "nonce-a" }],
    source: { kind: "empty" } as const,
    lineage: { id: "l", epoch: 1, token: "t" },
    digest: "d",
    token: "t",
  };
  const base = { record: { nonce: "nonce-a", pledges: [pledge] }, settings: settings({ requiredSize: 1 }) };
  assertEquals(decideBootstrap(view("a", base), {}).kind, "commit");
  const reason = (change: Partial<View>) => {
    const step = decideBootstrap(view("a", { ...base, ...change }), {});
    return step.kind === "wait" ? `${step.reason.code} ${step.reason.hint}` : step.kind;
  };
  const own = { settings: settings({ requiredSize: 1, hold }) };
  assertEquals(reason(own), 'held on node "a" run: e2d hold --release');
  const gone = peer("b", { state: "dead", sinceMs: nowMs - 60_000, facts: facts("b", { hold }) });
  assertEquals(reason({ peers: [gone] }), 'held on node "b" run: e2d hold --release');
  assertEquals(reason({ ...own, peers: [gone, goPeer("g")] }), "held on each of these nodes run: e2d hold --release");
  // Gossip has forgotten it, this process has not.
  const remembered = new Map([["b", { peerUrl: "http://b:2380", hold }]]);
  assertEquals(reason({ rememberedPeers: remembered }), 'held on node "b" run: e2d hold --release');
  const released = peer("b", { facts: facts("b") });
  assertEquals(reason({ rememberedPeers: remembered, peers: [released] }), "commit");
  // What a cluster with a quorum does is not disaster recovery.
  assertEquals(stopOfChange(view("a", own), answer("a", members)), undefined);
});

Deno.test("isNewerMark() of equal versions: only a resume after a pause is newer", () => {
  assertEquals(isNewerMark(mark(false, 1), mark(false, 1)), false);
});

Deno.test("answeringCluster() is the own etcd's with a quorum and a leader, else one that the peers run", () => {
  const cluster = (own: Partial<EtcdAnswer> | undefined, change: Partial<View> = {}) => {
    const theirs = answer("a", members, { revision: 7 });
    const endpoints = new Map([["http://a:2379", answering(theirs)]]);
    if (own !== undefined) endpoints.set("http://c:2379", answering(answer("c", members, own)));
    return answeringCluster(view("c", { peers: [peer("a")], endpoints, ...change }))?.memberId;
  };
  assertEquals(cluster({}), "id-c");
  assertEquals(cluster({ linearizable: false }), "id-a");
  assertEquals(cluster({ leaderId: undefined } as unknown as Partial<EtcdAnswer>), "id-a");
  assertEquals(cluster(undefined), "id-a");
  assertEquals(cluster(undefined, { data: data("c", members) }), "id-a");
  assertEquals(cluster(undefined, { data: data("c", members, { clusterId: "c2" }) }), undefined);
  const other = answering(answer("z", [member("z")], { clusterId: "c2", leaderId: "id-z" }));
  const two = new Map([["http://a:2379", answering(answer("a", members))], ["http://z:2379", other]]);
  assertEquals(cluster(undefined, { peers: [peer("a"), peer("z")], endpoints: two }), undefined);
});

Deno.test("pauseState() names whose word it is; holdReason() since when, why, and where it is released", () => {
  const paused = answer("a", members, { pause: { paused: true, version: 3 } });
  assertEquals(pauseState(joiner(paused)), { kind: "paused", by: "its etcd", mark: mark(true, 3) });
  const held = (change: Partial<View>) => holdReason(view("a", change))?.text;
  const why = settings({ hold: { sinceWallMs: 1_700_000_000_000, why: "a move" } });
  const text = 'held at "a" since 2023-11-14T22:13:20Z';
  assertEquals(held({ settings: settings({ hold }) })?.startsWith(`${text}: no cluster`), true);
  assertEquals(held({ settings: why })?.startsWith(`${text} (a move): no cluster`), true);
  assertEquals(held({}), undefined);
  // What this process remembers counts for the node of that name alone, and only while its facts are not known.
  const remembered = new Map([["b", { peerUrl: "http://b:2380", hold }]]);
  const { facts: _, ...mute } = peer("b");
  assertEquals(held({ rememberedPeers: remembered, peers: [peer("c"), mute] })?.startsWith('held at "b"'), true);
});
