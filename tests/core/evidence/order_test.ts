import {
  challenger,
  countDisks,
  hasWaited,
  isApproved,
  judgeRival,
  lifeToRemember,
  otherLifeStored,
  planOf,
  rivalLife,
  withChoices,
} from "../../../lib/core/evidence/order.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { Lineage, StartedData } from "../../../lib/core/facts/node_record.ts";
import type { GossipPeer, PeerData, PeerFacts } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, nowMs, peer, settings, view } from "../facts.ts";

const first: Lineage = { id: "line", epoch: 1, token: "first" };
const second: Lineage = { id: "line", epoch: 2, token: "second" };
const members = ["a", "b", "c"].map((name) => member(name));
const started: StartedData = { lineage: first, how: "founded", clusterId: "c1", renounced: [] };
const record = { nonce: "n", pledges: [], started };

type Held = Extract<PeerData, { kind: "held" }>;
const holder = (name: string, data: Partial<Held> = {}, of: Partial<GossipPeer> = {}, more: Partial<PeerFacts> = {}) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage: first, revision: 50, ...data },
      ...more,
    }),
    ...of,
  });
const rival = (name: string, of: Partial<GossipPeer> = {}) => holder(name, { clusterId: "c2", lineage: second }, of);
const answers = (name: string, lineage: Lineage | "absent" | undefined, clusterId = "c2") =>
  [
    `http://${name}:2379`,
    answering(answer(name, [member(name)], { clusterId, ...(lineage === undefined ? {} : { lineage }) })),
  ] as const;

Deno.test("a plan is named by 16 digits, and its command follows what else an operator can do", () => {
  assertEquals(planOf("0123456789abcdef0123"), "0123456789abcdef");
  const choices = [{ plan: "p1", label: "one" }, { plan: "p2", label: "two" }];
  const orders = 'run "e2d restore approve p1": one; "e2d restore approve p2": two';
  assertEquals(withChoices({ code: "c", text: "t" }, choices), { code: "c", text: "t", hint: orders, choices });
  assertEquals(withChoices({ code: "c", text: "t" }, choices, "wait").hint, `wait; or ${orders}`);
  const told = (own: readonly string[], theirs: readonly string[]) =>
    isApproved(
      view("a", {
        settings: settings({ approved: own }),
        peers: [goPeer("g"), peer("b", { facts: facts("b", { approved: theirs }) })],
      }),
      "0123456789abcdef0123",
    );
  const plan = ["0123456789abcdef"];
  assertEquals([told([], []), told(plan, []), told([], plan), told(["other"], ["other"])], [false, true, true, false]);
});

Deno.test("hasWaited() counts from the last of the boot, the last gap, and what it waits for", () => {
  const waited = (bootedMs: number, watchingMs: number, sinceMs?: number, never = false) =>
    hasWaited(
      view("a", {
        bootedAtMs: nowMs - bootedMs,
        watchingSinceMs: nowMs - watchingMs,
        settings: settings(never ? { quorumLossTimeoutMs: "never" } : {}),
      }),
      sinceMs === undefined ? undefined : nowMs - sinceMs,
    );
  assertEquals(waited(600_000, 600_000), true);
  assertEquals([waited(599_999, 600_000), waited(600_000, 599_999)], [false, false]);
  assertEquals([waited(900_000, 900_000, 600_000), waited(900_000, 900_000, 599_999)], [true, false]);
  assertEquals(waited(900_000, 900_000, undefined, true), false);
});

Deno.test("countDisks() names each voter once, and takes no other data at its address for silence", () => {
  const count = (peers: readonly GossipPeer[], list = members) => {
    const { holding, gone, silent } = countDisks(view("b", { peers }), data("b", list));
    return `${holding.join(" ")} | ${gone.join(" ")} | ${silent.join(" ")}`;
  };
  assertEquals(count([]), "b |  | a c");
  assertEquals(count([holder("c"), peer("a")]), "b c | a | ");
  assertEquals(count([holder("c", {}, { state: "dead" })]), "b |  | a c");
  assertEquals(count([holder("c", { clusterId: "c2" })]), "b | c | a");
  assertEquals(count([holder("c", { clusterId: "" })]), "b |  | a c", "its etcd has not named the cluster yet");
  assertEquals(count([holder("c", { memberId: "id-x" })]), "b |  | a c");
  assertEquals(count([], [...members, member("l", { isLearner: true })]), "b |  | a c");
  assertEquals(count([], [member("b"), member("c", { name: "" })]), "b |  | id-c");
});

Deno.test("rivalLife() is a later life of the lineage, the living one first, then the first holder by name", () => {
  const found = (change: Partial<View>) => {
    const life = rivalLife(view("b", { record, ...change }), first);
    return life === undefined ? "none" : `${life.lineage.token} ${life.holder} ${life.living}`;
  };
  assertEquals(found({}), "none");
  assertEquals(found({ peers: [rival("c"), rival("a")] }), "second a false");
  assertEquals(found({ peers: [rival("a"), rival("c")] }), "second a false");
  assertEquals(found({ peers: [rival("a", { state: "dead" })] }), "none");
  assertEquals(found({ peers: [holder("a"), goPeer("g")] }), "none");
  const third = { ...second, token: "third", epoch: 3 };
  const living = { peers: [peer("d"), rival("a")], endpoints: new Map([answers("d", third, "c3")]) };
  assertEquals(found(living), "third d true");
  assertEquals(found({ ...living, peers: [rival("a"), peer("d")] }), "third d true");
  assertEquals(
    found({ ...living, endpoints: new Map([answers("d", "absent")]) }),
    "second a true",
    "its cluster answers",
  );
  assertEquals(found({ ...living, endpoints: new Map([answers("d", undefined, "c9")]) }), "second a false");
  const former = (lineage: Lineage) => ({ record: { ...record, former: [{ ...started, lineage }] } });
  assertEquals(found(former(second)), "second b false");
  assertEquals(found(former({ ...first, token: "x" })), "none");
});

Deno.test("lifeToRemember() is a living rival that the record does not name yet", () => {
  const seen = { record, data: data("b", members), peers: [peer("d")], endpoints: new Map([answers("d", second)]) };
  assertEquals(lifeToRemember(view("b", seen)), second);
  assertEquals(lifeToRemember(view("b", { ...seen, peers: [rival("d")], endpoints: new Map() })), undefined);
  assertEquals(lifeToRemember(view("b", { ...seen, record: { ...record, undecided: second } })), undefined);
  const { started: _, ...anew } = record;
  assertEquals(lifeToRemember(view("b", { ...seen, data: { kind: "absent" }, record: anew })), undefined);
});

Deno.test("challenger() is another life of the own lineage with a quorum, or whose nodes wait to be chosen", () => {
  const found = (change: Partial<View>) => {
    const life = challenger(view("b", change), second);
    return life === undefined ? "none" : `${life.lineage.token} ${life.holder} ${life.living}`;
  };
  const answered = (lineage: Lineage | "absent" | undefined) =>
    found({ peers: [peer("a")], endpoints: new Map([answers("a", lineage)]) });
  assertEquals(answered(first), "first a true");
  assertEquals([answered(second), answered({ ...first, id: "x" }), answered("absent"), answered(undefined)], [
    "none",
    "none",
    "none",
    "none",
  ]);
  const waiting = (of: Partial<GossipPeer> = {}, data: Partial<Held> = {}, undecided = second) =>
    found({ peers: [goPeer("g"), peer("n"), holder("a", data, of, { undecided })] });
  assertEquals(waiting(), "first a false");
  assertEquals(waiting({ state: "dead" }), "none");
  assertEquals(waiting({}, { lineage: { ...first, id: "x" } }), "none");
  assertEquals(waiting({}, { lineage: second }), "none");
  assertEquals(waiting({}, {}, { ...second, token: "x" }), "none");
});

function told(verdict: ReturnType<typeof judgeRival>): string {
  const level = verdict.kind === "waits" ? ` ${verdict.level}` : "";
  return verdict.kind + level + ("reason" in verdict ? ` ${verdict.reason.code}` : "");
}

Deno.test("judgeRival() lists first what an operator most probably wants, and who lives", () => {
  const judge = (change: Partial<View>) =>
    judgeRival(view("b", { record, data: data("b", members), ...change }), data("b", members));
  const labels = (change: Partial<View>) => {
    const verdict = judge(change);
    return "reason" in verdict ? verdict.reason.choices?.map(({ label }) => label.split(" ")[0]) : [];
  };
  const living = new Map([answers("a", second)]);
  const cold = { peers: [rival("a"), holder("c")] };
  assertEquals(told(judge(cold)), "waits error two_epochs");
  assertEquals(labels(cold), ["start", "quarantine"]);
  assertEquals(labels({ ...cold, endpoints: living }), ["quarantine", "start"]);
  // Another member of the own life runs, or serves.
  const beside = (c: GossipPeer) => told(judge({ peers: [rival("a"), c] }));
  assertEquals(beside(holder("c", {}, { status: "running" })), "stands two_epochs");
  assertEquals(beside(holder("c", {}, {}, { phase: "serving" })), "stands two_epochs");
  const runs = (of: GossipPeer) => told(judge({ peers: [rival("a"), holder("c"), of] }));
  assertEquals(runs(rival("x", { status: "running" })), "waits error two_epochs");
  assertEquals(runs(goPeer("x", { status: "running" })), "waits error two_epochs");
  assertEquals(runs(holder("x", {}, { status: "running", state: "dead" })), "waits error two_epochs");
  // A record says that it once stood beside the other one: without a quorum of its own it does not go on.
  const stood = { record: { ...record, rival: second } };
  assertEquals(
    told(judge({ ...stood, peers: [rival("a"), holder("x", {}, { status: "running" })] })),
    "waits error two_epochs",
  );
  const waits = judge({ peers: [rival("a")], bootedAtMs: nowMs });
  assertEquals(told(waits), "waits info newer_epoch_waits");
  assertEquals(told(judge({ peers: [rival("a")] })), "waits info newer_epoch_silent");
  const remembered = judge({ record: { ...record, undecided: second } });
  assertEquals(told(remembered), "waits error newer_epoch_silent");
  const text = (verdict: ReturnType<typeof judgeRival>) => "reason" in verdict ? verdict.reason.text.split(",")[0] : "";
  assertEquals(text(remembered), "a quorum of epoch 2 of this lineage was seen");
  assertEquals(text(waits), '"a" holds epoch 2 of this lineage');
  const { started: _, ...anew } = record;
  const nothing = view("b", { record: anew, peers: [rival("a")] });
  assertEquals(judgeRival(nothing, data("b", members)), { kind: "alone" });
});

Deno.test("otherLifeStored() names the later life's files, and since when it has saved nothing", () => {
  const life = { lineage: second, tag: "0a1b", newest: { hash: "h", revision: 1, takenAtWallMs: 1_700_000_000_000 } };
  const base = "the store holds epoch 2 of this lineage, and this node's data is of epoch 1";
  const text = (...of: Parameters<typeof otherLifeStored>) => otherLifeStored(...of).text;
  assertEquals(text(2, first), base);
  assertEquals(text(2, first, { saves: false }), base);
  assertEquals(text(2, first, { life }), `${base}; its snapshots end in -0a1b`);
  assertEquals(
    text(2, first, { life, saves: false }),
    `${base}; its snapshots end in -0a1b, and it has saved nothing since 2023-11-14T22:13:20Z`,
  );
});
