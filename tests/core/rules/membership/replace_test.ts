import { decideReplacement } from "../../../../lib/core/rules/membership/replace.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import type { EtcdAnswer, EtcdMember, RaftFacts } from "../../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../../support/assert.ts";
import { answer, answering, facts, member, nowMs, peer, settings, silent, view } from "../../facts.ts";

const names = ["a", "b", "c", "d", "e"];
const members = names.map((name) => member(name));

function told(step: ReturnType<typeof decideReplacement>): string {
  if (step.kind === "nothing") return step.kind;
  const who = step.kind === "wait" ? step.level : step.member.id;
  return [step.kind, who, step.reason.code].filter((each) => each !== undefined).join(" ");
}

interface Gone {
  /** For how long etcd has been silent, and gossip; 0: it answers. */
  readonly etcdMs: number;
  readonly gossipMs?: number;
  readonly heard?: boolean;
  readonly hung?: boolean;
}

/** The leader a of five; what it sees of the others. */
function seen(of: Readonly<Record<string, Gone>>, change: Partial<View> = {}): View {
  const raft: RaftFacts = {
    kind: "read",
    memberId: "id-a",
    sinceMs: nowMs - 4_000,
    atMs: nowMs,
    members: new Map(
      Object.entries(of).map(([name, { heard }]) =>
        [`id-${name}`, { receivedBytes: 1, ...(heard ? { heardAtMs: nowMs } : {}) }] as const
      ),
    ),
  };
  const others = names.slice(1);
  return view("a", {
    settings: settings({ requiredSize: 5 }),
    peers: others.map((name) => {
      const { gossipMs, hung } = of[name] ?? {};
      const published = { facts: facts(name, hung ? { etcdHung: `id-${name}` } : {}) };
      return gossipMs === undefined
        ? peer(name, published)
        : peer(name, { ...published, state: "dead", sinceMs: nowMs - gossipMs });
    }),
    endpoints: new Map(others.map((name) => {
      const silentMs = of[name]?.etcdMs ?? 0;
      return [
        `http://${name}:2379`,
        silentMs === 0 ? answering(answer(name, members)) : silent(nowMs - silentMs),
      ] as const;
    })),
    raft,
    ...change,
  });
}

const decide = (of: Parameters<typeof seen>[0], change: Partial<View> = {}) =>
  decideReplacement(seen(of, change), answer("a", members));
const code = (...of: Parameters<typeof decide>) => told(decide(...of));

Deno.test("decideReplacement() of one member: what gossip, etcd, raft and the quorum say, in this order", () => {
  const gone: Gone = { etcdMs: 60_000, gossipMs: 60_000 };
  assertEquals(code({}), "nothing");
  assertEquals(code({ c: gone }), "remove id-c member_dead");
  assertEquals(code({ c: { ...gone, etcdMs: 59_999 } }), "wait member_silent");
  assertEquals(code({ c: { ...gone, gossipMs: 1 } }), "remove id-c member_dead", "the time-out is etcd's");
  assertEquals(code({ c: { etcdMs: 60_000 } }), "nothing", "gossip sees it");
  assertEquals(code({ c: { ...gone, heard: true } }), "wait error member_reachable_by_raft");
  const { raft: _, ...unread } = seen({ c: gone });
  assertEquals(told(decideReplacement(unread, answer("a", members))), "wait asking_raft");
  assertEquals(code({ c: gone }, { raft: { kind: "unreadable", atMs: nowMs } }), "remove id-c member_dead");
  const silentOnes = { c: gone, d: { etcdMs: 1 }, e: { etcdMs: 1 } };
  assertEquals(code(silentOnes), "wait removal_unsafe");
  assertEquals(code({ c: gone }, { settings: settings({ requiredSize: 5, paused: true }) }), "nothing");
  // Gossip never saw it.
  const unseen = { peers: [peer("b"), peer("d"), peer("e")] };
  assertEquals(code({ c: { etcdMs: 60_000 } }, unseen), "remove id-c member_dead");
  assertEquals(code({ c: { etcdMs: 59_999 } }, unseen), "wait member_silent");
});

Deno.test("decideReplacement() believes a node whose own etcd hangs, also where raft hears that etcd", () => {
  const hung: Gone = { etcdMs: 60_000, hung: true, heard: true };
  const step = decide({ c: hung });
  assertEquals(told(step), "remove id-c member_dead");
  const text = (of: Gone) => {
    const step = decide({ c: of });
    return "reason" in step ? step.reason.text.includes("reports that its etcd hangs") : undefined;
  };
  assertEquals(text(hung), true);
  assertEquals(text({ ...hung, etcdMs: 1 }), true);
  assertEquals(text({ etcdMs: 60_000, gossipMs: 1 }), false);
  assertEquals(text({ etcdMs: 1, gossipMs: 1 }), false);
  const gone = decide({ c: { etcdMs: 60_000, gossipMs: 1 } });
  assertEquals("reason" in gone && gone.reason.text.startsWith('"c" is gone by gossip, and etcd'), true);
});

Deno.test("decideReplacement() of several: one that can go does, and a wait that an operator must know of comes first", () => {
  const gone: Gone = { etcdMs: 60_000, gossipMs: 60_000 };
  const waits: Gone = { etcdMs: 1, gossipMs: 1 };
  const heard: Gone = { ...gone, heard: true };
  assertEquals(code({ c: waits, d: gone }), "remove id-d member_dead");
  assertEquals(code({ c: heard, d: gone }), "remove id-d member_dead");
  const first = (of: Parameters<typeof seen>[0]) => {
    const step = decide(of);
    return step.kind === "wait" ? `${step.level} ${step.reason.text.slice(0, 3)}` : step.kind;
  };
  assertEquals(first({ c: waits, d: waits }), 'undefined "c"');
  assertEquals(first({ c: waits, d: heard }), 'error "d"');
  assertEquals(first({ c: heard, d: waits }), 'error "c"');
  assertEquals(first({ c: heard, d: heard }), 'error "c"');
});

const three = members.slice(0, 3);
/** Beside three voters the member d, which joins. */
function joining(d: EtcdMember, of: Partial<EtcdAnswer> | "silent" | undefined, change: Partial<View> = {}, own = 100) {
  const listed = [...three, d];
  const endpoints = new Map(
    ["b", "c"].map((name) => [`http://${name}:2379`, answering(answer(name, listed))] as const),
  );
  if (of === "silent") endpoints.set("http://d:2379", silent(0));
  else if (of !== undefined) {
    endpoints.set("http://d:2379", { ...answering(answer("d", [], { isLearner: true, ...of })), progressAtMs: 0 });
  }
  return decideReplacement(
    view("a", {
      endpoints,
      peers: ["b", "c", "d"].map((name) => peer(name)),
      memberSinceMs: new Map([["id-d", 0]]),
      leaderSinceMs: 0,
      ...change,
    }),
    answer("a", listed, { raftIndex: own }),
  );
}
const learner = member("d", { isLearner: true });

Deno.test("decideReplacement() promotes a learner that is 10 entries behind, or 5 % of a longer log", () => {
  const behind = (own: number, applied: number, of: Partial<EtcdAnswer> = {}, d = learner) =>
    told(joining(d, { raftAppliedIndex: applied, ...of }, { memberSinceMs: new Map([["id-d", nowMs]]) }, own));
  const promotes = "promote id-d caught_up", waits = "wait change_runs";
  assertEquals(behind(100, 90), promotes);
  assertEquals(behind(100, 89), waits);
  assertEquals(behind(1_000, 950), promotes);
  assertEquals(behind(1_000, 949), waits);
  assertEquals(behind(100, 100, { isLearner: false }), waits);
  assertEquals(behind(100, 100, { leaderId: "id-b" }), waits);
  assertEquals(behind(100, 100, {}, member("d", { name: "" })), waits);
  assertEquals(told(joining(learner, "silent", { memberSinceMs: new Map([["id-d", nowMs]]) })), waits);
});

Deno.test("decideReplacement() removes a joiner that makes no progress, sooner when its node is there", () => {
  const times = settings({ learnerStallTimeoutMs: 30_000 });
  const stalled = (ms: number, change: Partial<View> = {}, d = learner) =>
    told(joining(d, undefined, { settings: times, memberSinceMs: new Map([["id-d", nowMs - ms]]), ...change }));
  const removed = "remove id-d joiner_stalled", waits = "wait change_runs";
  assertEquals([stalled(29_999), stalled(30_000)], [waits, removed]);
  const gone = { peers: [peer("b"), peer("c"), peer("d", { state: "dead" })] };
  assertEquals([stalled(59_999, gone), stalled(60_000, gone)], [waits, removed]);
  const unseen = { peers: [peer("b"), peer("c")] };
  assertEquals([stalled(59_999, unseen), stalled(60_000, unseen)], [waits, removed]);
  const quick = { ...unseen, settings: settings({ healthCheckTimeoutMs: 5_000 }) };
  assertEquals([stalled(9_999, quick), stalled(10_000, quick)], [waits, removed]);
  assertEquals(stalled(60_000, { memberSinceMs: new Map() }), waits, "it was seen in the list just now");
  assertEquals(stalled(60_000, { watchingSinceMs: nowMs - 1_000 }), waits, "this process stood still");
  assertEquals(stalled(60_000, { leaderSinceMs: nowMs - 29_999 }), waits, "without a leader nothing is replicated");
  assertEquals(stalled(60_000, { leaderSinceMs: nowMs - 30_000 }), removed);
  const unled = { leaderSinceMs: undefined } as unknown as Partial<View>;
  assertEquals(stalled(60_000, unled), waits, "the own etcd has no leader");
  const step = joining(member("d", { name: "" }), undefined, {
    settings: times,
    memberSinceMs: new Map([["id-d", nowMs - 45_400]]),
  });
  assertEquals("reason" in step && step.reason.text, '"http://d:2380" made no progress for 45 s');
  // It made progress a moment ago, and does not answer now.
  const quiet = new Map([
    ...["b", "c"].map((name) => [`http://${name}:2379`, answering(answer(name, [...three, learner]))] as const),
    ["http://d:2379", { ...silent(nowMs - 1), progressAtMs: nowMs - 1 }] as const,
  ]);
  assertEquals(stalled(60_000, { endpoints: quiet }), waits);
  const named = joining(learner, undefined, { settings: times });
  assertEquals("reason" in named && named.reason.text.slice(0, 3), '"d"');
  // Two of three voters are silent.
  const alone = joining(learner, undefined, { endpoints: new Map() });
  assertEquals(told(alone), "wait removal_unsafe");
});

Deno.test("decideReplacement() counts the progress that the joiner itself made, at the first address where it answers", () => {
  const twoUrls = member("d", { isLearner: true, clientUrls: ["http://shared:2379", "http://d:2379"] });
  const progressed = (atMs: number, shared: string) => {
    const listed = [...three, twoUrls];
    const of = (name: string, progressAtMs: number) => ({
      ...answering(answer(name, listed, { isLearner: true, raftAppliedIndex: 1 })),
      progressAtMs,
    });
    const endpoints = new Map([
      ...["b", "c"].map((name) => [`http://${name}:2379`, answering(answer(name, listed))] as const),
      ["http://shared:2379", of(shared, nowMs)] as const,
      ["http://d:2379", of("d", atMs)] as const,
    ]);
    return told(decideReplacement(
      view("a", {
        endpoints,
        peers: [peer("b"), peer("c"), peer("d")],
        memberSinceMs: new Map([["id-d", 0]]),
        leaderSinceMs: 0,
      }),
      answer("a", listed),
    ));
  };
  assertEquals(progressed(nowMs - 59_999, "x"), "wait change_runs");
  assertEquals(progressed(nowMs - 60_000, "x"), "remove id-d joiner_stalled");
  assertEquals(progressed(nowMs - 60_000, "d"), "wait change_runs");
});
