import { Turn } from "../../../lib/core/state/turn.ts";
import { copyOf, createNode } from "../../../lib/core/state/state.ts";
import type { Effect } from "../../../lib/core/facts/effect.ts";
import type { Reason } from "../../../lib/core/facts/reason.ts";
import { assertEquals } from "../../support/assert.ts";
import { changed, data, member, peer, settings, type StateChange } from "../facts.ts";

const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const fresh = createNode(self, settings(), "seed", { monotonicMs: 0, wallMs: 0 });
const turnAt = (ms: number, change: StateChange = {}) =>
  new Turn(copyOf(changed(fresh, change)), { monotonicMs: ms, wallMs: 5_000 + ms });
const reason = (code: string, text = "text", hint?: string): Reason => ({
  code,
  text,
  ...(hint === undefined ? {} : { hint }),
});

/** The journal lines among the effects: level, kind, phase, outcome, code, text. */
const lines = (effects: readonly Effect[]) =>
  effects.flatMap((effect) => {
    if (effect.kind !== "journal") return [];
    const { level, what, phase, outcome, reason: { code, text } } = effect.entry;
    return [`${level} ${what} ${phase} ${outcome} ${code}: ${text}`];
  });

Deno.test("the view contains the facts of the state, and names nothing that is not known", () => {
  const always = {
    nowMs: 9,
    nowWallMs: 5_009,
    self,
    settings: fresh.settings,
    data: fresh.disk.data,
    record: fresh.disk.record,
    bootedAtMs: 0,
    peers: [],
    gossipKeys: { mismatches: [] },
    nameConflicts: [],
    endpoints: new Map(),
    memberSinceMs: new Map(),
    memberAnswers: new Map(),
    snapshotLookup: { kind: "unconfigured" },
    etcd: { kind: "stopped" },
    watchingSinceMs: 0,
    rememberedPeers: new Map(),
  };
  assertEquals(turnAt(9).view, always);
  const raft = { kind: "unreadable", atMs: 1 } as const;
  const pauseMark = { clusterId: "c1", paused: true, version: 1 };
  const lastCluster = { clusterId: "c1", voters: [], atMs: 2 };
  const known = turnAt(9, {
    membership: { raft, lastCluster },
    operator: { pauseMark },
    snapshots: { newestSince: { hash: "h", ms: 3, askedMs: 4 } },
    gossip: { gossipJoinedAtMs: 5, known: [peer("b"), peer("c")], peers: [peer("b")] },
    ownEtcd: { leaderlessSinceMs: 6 },
  });
  assertEquals(known.view, {
    ...always,
    peers: [peer("b")],
    raft,
    pauseMark,
    newestSinceMs: 3,
    newestAskedMs: 4,
    lastCluster,
    gossipJoinedAtMs: 5,
    leaderlessSinceMs: 6,
  });
});

Deno.test("the view is that of the begin of the turn, until a change of the facts is announced", () => {
  const turn = turnAt(0);
  const before = turn.view;
  turn.node.disk.data = data("a", [member("a")]);
  assertEquals(turn.view === before, true);
  turn.invalidateView();
  assertEquals(turn.view.data.kind, "valid");
});

Deno.test("answers count as invalid for 1.5 s after a change of the members", () => {
  const invalid = (ms: number) => turnAt(ms, { membership: { probesInvalidatedAtMs: 1_000 } }).probesJustInvalidated;
  assertEquals([invalid(1_000), invalid(2_499), invalid(2_500)], [true, true, false]);
  assertEquals(turnAt(0).probesJustInvalidated, false, "the members were not changed");
});

Deno.test("request() emits one effect for each free slot, each with an id of its own, and refuses the slot until then", () => {
  const turn = turnAt(0, { effects: { nextId: 4 }, ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } } });
  assertEquals(turn.request("local", { kind: "stopEtcd" }), true);
  assertEquals(turn.request("local", { kind: "stopEtcd" }), false);
  assertEquals(turn.request("cluster", { kind: "memberRemove", via: [], memberId: "x" }), true);
  const [stop, remove] = [
    { kind: "stopEtcd", id: 4 },
    { kind: "memberRemove", via: [], memberId: "x", id: 5 },
  ];
  assertEquals(turn.effects, [stop, remove] as Effect[]);
  assertEquals([...turn.node.effects.inFlight], [["local", stop], ["cluster", remove]]);
  assertEquals([turn.node.effects.nextId, turn.node.ownEtcd.etcd.kind], [6, "ready"]);
  assertEquals([turn.isFree("local"), turn.isFree("backup")], [false, true]);
});

Deno.test("request() of a start forgets the exit of the process before it", () => {
  const exited = { kind: "exited", atMs: 0, code: 1, cause: "unknown", count: 1 } as const;
  const turn = turnAt(0, { ownEtcd: { etcd: exited } });
  turn.request("local", { kind: "startEtcd", start: { state: "restart", othersServe: false } });
  assertEquals(turn.node.ownEtcd.etcd, { kind: "stopped" });
});

Deno.test("a slot that backs off is free again at that time, and the node wakes then", () => {
  const turn = turnAt(1_000);
  turn.backOff("local", 500);
  assertEquals([turn.isFree("local"), turn.wakeMs], [false, 1_500]);
  assertEquals(turn.isFree("cluster"), true);
  const later = (ms: number) => {
    const next = new Turn(copyOf(turn.node), { monotonicMs: ms, wallMs: 0 });
    return [next.isFree("local"), next.wakeMs];
  };
  assertEquals([later(1_499), later(1_500)], [[false, 1_500], [true, Infinity]]);
});

Deno.test("the node wakes at the earliest of all times that a turn names", () => {
  const turn = turnAt(1_000);
  assertEquals(turn.wakeMs, Infinity);
  turn.wakeIn(500);
  turn.wakeAt(2_000);
  assertEquals(turn.wakeMs, 1_500);
  turn.wakeAt(1_200);
  assertEquals(turn.wakeMs, 1_200);
});

Deno.test("setStatus() tells gossip of each change, once", () => {
  const turn = turnAt(0);
  turn.setStatus("unknown");
  turn.setStatus("pending");
  turn.setStatus("pending");
  assertEquals(turn.effects, [{ kind: "setStatus", status: "pending" }]);
  assertEquals(turn.node.gossip.status, "pending");
});

Deno.test("enter() journals a change of the phase, as an ERROR that of a failure, and ends the wait", () => {
  const turn = turnAt(0, { reports: { waitingFor: reason("w") } });
  turn.enter("booting", reason("r"));
  assertEquals([turn.effects, turn.node.reports.waitingFor?.code], [[], "w"]);
  turn.enter("gathering", reason("r"), { peers: 2 });
  assertEquals([turn.node.phase, turn.node.reports.waitingFor], ["gathering", undefined]);
  turn.enter("failed", reason("f"));
  assertEquals(lines(turn.effects), [
    "info decided gathering booting → gathering r: text",
    "error decided failed gathering → failed f: text",
  ]);
  assertEquals(turn.node.reports.journal[0]?.facts, { peers: 2 });
});

Deno.test("waitFor() tells a wait once until its code, text or level changes; the newest hint is kept", () => {
  const turn = turnAt(0);
  turn.waitFor(reason("w", "for b", "in 9 s"));
  turn.waitFor(reason("w", "for b", "in 8 s"));
  assertEquals([turn.node.reports.waitingFor?.hint, turn.node.reports.waitingLevel], ["in 8 s", "info"]);
  turn.waitFor(reason("w", "for c"));
  turn.waitFor(reason("v", "for c"));
  turn.waitFor(reason("v", "for c"), "warn");
  turn.waitFor(reason("v", "for c"), "warn");
  assertEquals(lines(turn.effects), [
    "info waits booting wait w: for b",
    "info waits booting wait w: for c",
    "info waits booting wait v: for c",
    "warn waits booting wait v: for c",
  ]);
  assertEquals([turn.node.reports.waitingLevel, turn.wakeMs], ["warn", Infinity]);
});

Deno.test("a wait that escalates wakes the node 30 s after it began, and one after another that escalates goes on", () => {
  let node = fresh;
  const wait = (ms: number, code: string) => {
    const turn = new Turn(copyOf(node), { monotonicMs: ms, wallMs: 0 });
    turn.waitFor(reason(code));
    node = turn.node;
    return [turn.node.reports.waitingLevel, turn.wakeMs];
  };
  assertEquals(wait(1_000, "size_contradiction"), ["info", 31_000]);
  assertEquals(wait(20_000, "same_address_twice"), ["info", 31_000]);
  assertEquals(wait(30_999, "size_contradiction"), ["info", 31_000]);
  assertEquals(wait(31_000, "size_contradiction"), ["error", Infinity]);
  assertEquals(wait(40_000, "too_few_peers"), ["info", Infinity]);
  assertEquals(wait(41_000, "size_contradiction"), ["info", 71_000]);
});

Deno.test("waitNoMore() tells the end of a wait, once", () => {
  const turn = turnAt(0);
  turn.waitNoMore();
  assertEquals(turn.effects, []);
  turn.node.reports.waitingFor = reason("w", "for b");
  turn.waitNoMore();
  turn.waitNoMore();
  assertEquals(lines(turn.effects), ["info noticed booting wait ended w: no longer: for b"]);
  assertEquals(turn.node.reports.waitingFor, undefined);
});

Deno.test("recordDecision() journals what is done, at INFO or as urgently as it is, and ends the wait", () => {
  const turn = turnAt(0, { reports: { waitingFor: reason("w") } });
  turn.recordDecision("stopEtcd", reason("r"), { member: "b" });
  assertEquals(turn.node.reports.waitingFor, undefined);
  turn.recordDecision("memberRemove", reason("s"), {}, "warn");
  assertEquals(lines(turn.effects), [
    "info decided booting stopEtcd r: text",
    "warn decided booting memberRemove s: text",
  ]);
  assertEquals(turn.node.reports.journal.map(({ facts }) => facts), [{ member: "b" }, {}]);
});

Deno.test("report() keeps a problem by its code, journals it anew with another level or text, and not for its hint", () => {
  const turn = turnAt(0);
  const problem = () => turn.node.reports.problems.get("p");
  turn.report("warn", reason("p", "one", "in 9 s"));
  const before = turn.node.reports.problems;
  turn.report("warn", reason("p", "one", "in 9 s"));
  assertEquals(turn.node.reports.problems === before, true, "nothing changed");
  turn.report("warn", reason("p", "one", "in 8 s"));
  assertEquals(problem(), { level: "warn", reason: reason("p", "one", "in 8 s") });
  turn.report("warn", reason("p", "one", "in 8 s"), { keepsReady: true });
  assertEquals(problem()?.keepsReady, true);
  turn.report("warn", reason("p", "two"));
  turn.report("error", reason("p", "two"));
  assertEquals(problem(), { level: "error", reason: reason("p", "two") });
  turn.report("warn", reason("q", "other"));
  turn.report("warn", reason("r", "third"));
  turn.report("error", reason("p", "two", "in 7 s"));
  turn.resolve("p");
  turn.resolve("p");
  assertEquals([...turn.node.reports.problems.keys()], ["q", "r"]);
  assertEquals(lines(turn.effects), [
    "warn noticed booting problem p: one",
    "warn noticed booting problem p: two",
    "error noticed booting problem p: two",
    "warn noticed booting problem q: other",
    "warn noticed booting problem r: third",
    "info noticed booting resolved p: resolved: two",
  ]);
});

Deno.test("an entry that one of the last two repeats is not journaled again; a wait always is", () => {
  const told = (...steps: readonly ((turn: Turn) => void)[]) => {
    const turn = turnAt(0);
    for (const step of steps) step(turn);
    return turn.effects.length;
  };
  const notice = (code: string, text = "t", outcome = "o", level: "info" | "warn" = "info") => (turn: Turn) =>
    turn.notice(level, outcome, reason(code, text));
  const [one, two, three] = [notice("1"), notice("2"), notice("3")];
  assertEquals([told(one, one), told(one, two, one, two), told(one, two, three, one)], [1, 2, 4]);
  const others = [notice("x"), notice("1", "x"), notice("1", "t", "x"), notice("1", "t", "o", "warn")];
  assertEquals(others.map((other) => told(one, other)), [2, 2, 2, 2]);
  const enter = (turn: Turn) => void (turn.node.phase = "serving");
  assertEquals(told(one, enter, one), 2, "in another phase");
  const wait = (turn: Turn) => turn.waitFor(reason("w"));
  const decide = (turn: Turn) => turn.recordDecision("o", reason("d"));
  assertEquals(told(wait, decide, wait), 3);
});

Deno.test("the journal in memory ends with the newest entry, and has 200 at most", () => {
  const turn = turnAt(0);
  for (let at = 0; at < 200; at++) turn.notice("info", "o", reason(`r${at}`));
  assertEquals([turn.node.reports.journal.length, turn.node.reports.journal[0]?.reason.code], [200, "r0"]);
  turn.notice("info", "o", reason("last"));
  assertEquals([turn.node.reports.journal.length, turn.node.reports.journal[0]?.reason.code], [200, "r1"]);
  assertEquals(turn.node.reports.journal.at(-1)?.reason.code, "last");
  assertEquals(turn.effects.length, 201);
});
