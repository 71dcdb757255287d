import { missingVoters, silentVoters } from "../../../lib/core/rules/membership/redundancy.ts";
import { rememberPeers } from "../../../lib/core/watch/peers.ts";
import { watchRedundancy } from "../../../lib/core/watch/redundancy.ts";
import { statusReport } from "../../../lib/manager/status/report.ts";
import { copyOf, createNode, type NodeState } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { GossipPeer } from "../../../lib/core/facts/peer.ts";
import type { Plan } from "../../../lib/core/facts/plan.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { EndpointFacts, EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import {
  answer,
  answering,
  changed,
  facts,
  member,
  nowMs,
  peer,
  settings,
  silent,
  type StateChange,
  view,
} from "../facts.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const gone = (name: string, forMs: number, state: "dead" | "left" = "dead") =>
  peer(name, { state, sinceMs: nowMs - forMs });
const held = (name: string) =>
  peer(name, {
    facts: facts(name, {
      data: {
        kind: "held",
        clusterId: "c1",
        memberId: `id-${name}`,
        lineage: { id: "l", epoch: 1, token: "t" },
        revision: 0,
      },
    }),
  });

const listed = new Map(members.map(({ id }) => [id, 0]));

/** Node b follows a; c has answered nothing for so long. */
function follower(c: GossipPeer | undefined, silentMs: number, change: Partial<View> = {}, others: GossipPeer[] = []) {
  const known = [held("a"), ...c === undefined ? [] : [c], ...others];
  const endpoints = new Map<string, EndpointFacts>([
    ["http://a:2379", answering(answer("a", members))],
    ["http://b:2379", answering(answer("b", members))],
    ["http://c:2379", silentMs === 0 ? answering(answer("c", members)) : silent(nowMs - silentMs)],
  ]);
  return view("b", { peers: known, endpoints, memberSinceMs: listed, ...change });
}
const own = answer("b", members, { recordedSize: 3 });
const textOf = (of: View, plan?: Plan) => silentVoters(of, own, plan)?.reason.text;
const hintOf = (of: View) => silentVoters(of, own, undefined)?.reason.hint;

Deno.test("a voter that is silent for more than a few seconds is reported, whichever of gossip and etcd sees it first", () => {
  const reported = '2 of 3 voters answer; "c": silent';
  assertEquals(textOf(follower(held("c"), 0)), undefined);
  assertEquals(textOf(follower(gone("c", 2_000), 3_000)), undefined);
  assertEquals(textOf(follower(gone("c", 2_000), 16_000)), reported);
  assertEquals(textOf(follower(held("c"), 16_000)), reported);
  // A member that has the address of one that was silent.
  const justListed = { memberSinceMs: new Map(listed).set("id-c", nowMs - 2_000) };
  assertEquals(textOf(follower(held("c"), 16_000, justListed)), undefined);
  assertEquals(textOf(follower(undefined, 16_000)), reported);
  assertEquals(
    textOf(follower(gone("c", 16_000), 0)),
    '3 of 3 voters answer; "c": silent by gossip, and etcd there answers',
  );
});

Deno.test("the hint names when the silent voter is removed and who takes its place", () => {
  const dead = gone("c", 10_000);
  const at = '"c" since 22:13:04 UTC; it is removed at 22:14:04 UTC unless it answers; ';
  const alone = `${at}no standby node is here: start another node with the same settings`;
  assertEquals(hintOf(follower(dead, 16_000)), alone);
  assertEquals(hintOf(follower(dead, 16_000, {}, [peer("d")])), `${at}"d" takes its place`);
  const paused = follower(dead, 16_000, { settings: settings({ paused: true }) });
  assert(hintOf(paused)?.endsWith("it is not removed while automatic action is paused"));
  assert(hintOf(follower(held("c"), 16_000))?.endsWith("its node is there: see e2d status on it"));
});

Deno.test("a planned stop reduces redundancy and raises no alarm until it is overdue", () => {
  const left = (forMs: number) => {
    const of = follower(gone("c", forMs, "left"), forMs, {
      rememberedPeers: new Map([["c", { peerUrl: "http://c:2380", leftAtMs: nowMs - forMs }]]),
    });
    const found = silentVoters(of, own, undefined);
    return [found?.level, found?.reason.text];
  };
  assertEquals(left(16_000), ["info", '2 of 3 voters answer; "c": stopped normally']);
  assertEquals(left(130_000), ["warn", '2 of 3 voters answer; "c": silent']);
});

const planOf = (change: Partial<Plan>): Plan => ({
  id: "p",
  purpose: "upgrade",
  text: "upgrade",
  createdAtWallMs: 0,
  operations: [{ kind: "upgrade", memberId: "id-c", to: "3.7" }],
  ...change,
});

Deno.test("a member that a plan restarts is not silent while its node is there; a scaling does not miss voters", () => {
  assertEquals(textOf(follower(held("c"), 16_000), planOf({})), undefined);
  assertEquals(textOf(follower(gone("c", 16_000), 16_000), planOf({})), '2 of 3 voters answer; "c": silent');
  const few = answer("b", members, { recordedSize: 5 });
  const of = follower(held("c"), 0);
  assertEquals(missingVoters(of, few, planOf({ purpose: "scale" })), undefined);
  const found = missingVoters(of, few, undefined)?.reason;
  assertEquals([found?.text, found?.hint], [
    "the cluster has 3 of its 5 voters",
    "start 2 more nodes with the same settings",
  ]);
  assertEquals(missingVoters(of, own, undefined), undefined);
  const joining = answer("b", [...members.slice(0, 2), member("d", { isLearner: true })], { recordedSize: 3 });
  assertEquals(missingVoters(of, joining, undefined)?.reason.text, 'the cluster has 2 of its 3 voters; "d" is joining');
});

/** One turn of the serving node b. */
function turnOf(of: View, answered: EtcdAnswer, before?: NodeState): NodeState {
  const start = before ?? createNode(of.self, settings(), "seed", { monotonicMs: 0, wallMs: 0 });
  const draft = copyOf(changed(start, {
    phase: "serving",
    gossip: { peers: of.peers, known: of.peers },
    membership: {
      endpoints: new Map(of.endpoints).set("http://b:2379", answering(answered, of.nowMs)),
      memberSinceMs: listed,
    },
    process: { watchingSinceMs: 0 },
  }));
  const turn = new Turn(draft, { monotonicMs: of.nowMs, wallMs: of.nowWallMs });
  rememberPeers(turn);
  watchRedundancy(turn);
  return draft;
}

const later = (of: View, ms: number): View => ({ ...of, nowMs: of.nowMs + ms, nowWallMs: of.nowWallMs + ms });
const told = ({ reports }: NodeState) => [...reports.problems.values()].map(({ reason }) => reason.text);

Deno.test("from the silence over the removal to the new voter the node is degraded without a gap, told once each", () => {
  const dead = follower(gone("c", 16_000), 16_000);
  let node = turnOf(dead, own);
  assertEquals(told(node), ['2 of 3 voters answer; "c": silent']);
  node = turnOf(later(dead, 1_000), own, node);
  assertEquals(node.reports.journal.length, 1);
  const report = statusReport({
    node: changed(node, { membership: { endpoints: new Map([["http://b:2379", answering(own)]]) } }),
    certificates: [],
    certificateFailures: [],
    nowWallMs: 0,
    nowMs,
  });
  assertEquals([report.ready, report.degraded], [true, true]);
  const two = answer("b", members.slice(0, 2), { recordedSize: 3 });
  const without = later(follower(undefined, 16_000), 2_000);
  node = turnOf(without, two, node);
  assertEquals(told(node), ["the cluster has 2 of its 3 voters"]);
  // An election is no news.
  node = turnOf(later(without, 1_000), { ...two, leaderId: undefined } as unknown as EtcdAnswer, node);
  assertEquals(told(node), ["the cluster has 2 of its 3 voters"]);
  node = turnOf(later(without, 2_000), own, node);
  assertEquals(told(node).includes("the cluster has 2 of its 3 voters"), false);
});

Deno.test("a cluster that misses voters is given the time in which nodes that start together join", () => {
  const two = answer("b", members.slice(0, 2), { recordedSize: 3 });
  const of = follower(undefined, 0);
  const first = turnOf(of, two);
  assertEquals(told(first), []);
  assertEquals(told(turnOf(later(of, 9_000), two, first)), []);
  assertEquals(told(turnOf(later(of, 10_000), two, first)), ["the cluster has 2 of its 3 voters"]);
});

Deno.test("a node whose voter stopped normally is degraded, though nothing is a warning", () => {
  const node = turnOf(follower(gone("c", 16_000, "left"), 16_000), own);
  assertEquals([...node.reports.problems.values()].map(({ level }) => level), ["info"]);
  const sources = { certificates: [], certificateFailures: [], nowWallMs: 0, nowMs };
  assertEquals(statusReport({ node, ...sources }).degraded, true);
});

Deno.test("a node that does not serve, or has no leader for ten seconds, reports no redundancy, and begins to count anew", () => {
  const two = answer("b", members.slice(0, 2), { recordedSize: 3 });
  const of = follower(undefined, 0);
  const problem = { level: "warn", reason: { code: "voters_missing", text: "before" } } as const;
  const after = (change: StateChange, answered: EtcdAnswer = two) => {
    const before = changed(turnOf(of, two), { reports: { problems: new Map([["voters_missing", problem]]) } }, change);
    const turn = new Turn(
      copyOf(changed(before, { membership: { endpoints: new Map([["http://b:2379", answering(answered)]]) } })),
      {
        monotonicMs: nowMs,
        wallMs: of.nowWallMs,
      },
    );
    watchRedundancy(turn);
    return [told(turn.node), turn.node.membership.fewVotersSinceMs];
  };
  const few = ["the cluster has 2 of its 3 voters"];
  assertEquals(after({}), [few, nowMs]);
  assertEquals(after({ phase: "restarting" }), [[], undefined]);
  assertEquals(after({ ownEtcd: { leaderlessSinceMs: nowMs - 9_999 } }), [few, nowMs]);
  assertEquals(after({ ownEtcd: { leaderlessSinceMs: nowMs - 10_000 } }), [[], undefined]);
  const before = ["before"];
  assertEquals(after({}, { ...two, linearizable: false }), [before, nowMs], "what was reported stands");
  assertEquals(after({}, { ...two, leaderId: undefined } as unknown as EtcdAnswer), [before, nowMs]);
});

Deno.test("a voter that is silent and then removed is missing at once, and every report leaves the node ready", () => {
  const two = answer("b", members.slice(0, 2), { recordedSize: 3 });
  const dead = follower(gone("c", 16_000), 16_000);
  const first = turnOf(dead, own);
  const ready = (node: NodeState) => [...node.reports.problems.values()].map(({ keepsReady }) => keepsReady);
  assertEquals([ready(first), first.membership.fewVotersSinceMs], [[true], undefined]);
  const next = turnOf(follower(undefined, 0), two, first);
  assertEquals([told(next), ready(next)], [["the cluster has 2 of its 3 voters"], [true]]);
  // It stands while the number changes.
  const third = turnOf(follower(undefined, 0), answer("b", members.slice(0, 2), { recordedSize: 4 }), next);
  assertEquals(told(third), ["the cluster has 2 of its 4 voters"]);
});
