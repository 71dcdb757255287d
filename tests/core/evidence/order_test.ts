import {
  challenger,
  countDisks,
  endLifeDigest,
  hasWaited,
  isApproved,
  judgeRival,
  judgeStore,
  lifeToRemember,
  otherLifeStored,
  planOf,
  rivalLife,
  withChoices,
} from "../../../lib/core/evidence/order.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { Lineage, StartedData } from "../../../lib/core/facts/node_record.ts";
import type { GossipPeer, PeerData, PeerFacts } from "../../../lib/core/facts/peer.ts";
import type { SnapshotLookup } from "../../../lib/core/facts/snapshot_lookup.ts";
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
  assertEquals(hasWaited(view("a", { nowMs: 600_000 })), true, "both at the start of the clock");
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
  const known = [rival("a"), holder("b", { clusterId: "c3", lineage: third }), peer("d")];
  assertEquals(found({ peers: known, endpoints: new Map([answers("d", "absent", "c3")]) }), "third b true");
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

const pledgeTo = (of: Lineage) => ({
  initialMembers: [{ name: "b", peerUrl: "http://b:2380", nonce: "n" }],
  source: { kind: "survivor", name: "b", revision: 1 } as const,
  lineage: of,
  digest: "d",
  token: of.token,
});

Deno.test("an approval has the same name on every node and release, and ends only the life that it names", () => {
  assertEquals(planOf(endLifeDigest(first, second)), "566475b3ce35a71f");
  const judge = (ends: string, change: Partial<View> = {}) =>
    told(judgeRival(
      view("b", {
        record,
        data: data("b", members),
        settings: settings({ approved: [planOf(ends)] }),
        bootedAtMs: nowMs,
        ...change,
      }),
      data("b", members),
    ));
  const ends = endLifeDigest(first, second);
  const waits = "waits info newer_epoch_silent";
  assertEquals(judge(ends, { peers: [rival("a")] }), waits, "until the quorum of the chosen life answers");
  assertEquals(judge(ends, { peers: [rival("a", { state: "suspect" })] }), waits);
  assertEquals(judge(ends, { peers: [rival("a", { state: "dead" })] }), "alone", "nobody here has that life");
  const former = { ...record, former: [{ ...started, lineage: second }] };
  assertEquals(judge(ends, { record: former }), waits, "an earlier life on the own disk does not live");
  const foreign = { ...second, id: "another line" };
  const held = holder("a", { clusterId: "c2", lineage: foreign });
  assertEquals(judge(endLifeDigest(first, foreign), { peers: [held] }), "alone", "of another lineage");
  assertEquals(judge(endLifeDigest(first, first), { peers: [holder("a")] }), "alone", "no life ends for itself");
});

Deno.test("the life that another node waits to be held against counts while that node is here with the same data", () => {
  const judge = (of: Partial<GossipPeer>, data: Partial<Held> = {}) =>
    told(judgeOwn({ peers: [holder("c", data, of, { undecided: second })] }));
  assertEquals(judge({}), "waits error two_epochs");
  assertEquals(judge({ state: "dead" }), "alone");
  assertEquals(judge({}, { clusterId: "c9" }), "alone");
});

Deno.test("a node that carries out the recovery to a later life, by its last pledge, does not wait for that life", () => {
  const judge = (pledges: readonly Lineage[], change: Partial<View> = {}) =>
    told(judgeOwn({ peers: [rival("a")], record: { ...record, pledges: pledges.map(pledgeTo) }, ...change }));
  const third = { ...second, token: "third", epoch: 3 };
  const waits = "waits info newer_epoch_silent";
  assertEquals(judge([]), waits);
  assertEquals([judge([second]), judge([third, second]), judge([second, third])], ["alone", "alone", waits]);
  const renamed = { ...view("b").self, name: "x" };
  assertEquals(judge([second], { self: renamed }), waits, "it is none of the initial members under another name");
});

function judgeOwn(change: Partial<View>) {
  return judgeRival(view("b", { record, data: data("b", members), ...change }), data("b", members));
}

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

const secondLives = new Map([answers("a", second)]);

function returning(change: Partial<View> = {}): View {
  return view("b", { data: data("b", members), record, ...change });
}

const verdictOf = (seen: View) => {
  const verdict = judgeRival(seen, data("b", members));
  return verdict.kind === "alone" ? "alone" : `${verdict.kind} ${verdict.reason.code}`;
};

Deno.test("judgeRival() lets one disk yield to a living quorum of a newer epoch, once the others have had their time", () => {
  const gone = { state: "dead", sinceMs: 0 } as const;
  const waits = returning({ peers: [rival("a"), peer("c", gone)], endpoints: secondLives, bootedAtMs: nowMs - 1_000 });
  assertEquals(verdictOf(waits), "waits newer_epoch_waits");
  assertEquals(verdictOf({ ...waits, bootedAtMs: 0 }), "yields newer_epoch");
  // Time that this node did not watch is no time.
  assertEquals(verdictOf({ ...waits, bootedAtMs: 0, watchingSinceMs: nowMs - 1_000 }), "waits newer_epoch_waits");
  const never = settings({ quorumLossTimeoutMs: "never" });
  assertEquals(verdictOf({ ...waits, bootedAtMs: 0, settings: never }), "waits newer_epoch_waits");
});

Deno.test("judgeRival() keeps data that is ahead of where the newer epoch began, for an operator: it may be a drill", () => {
  const beside = (from: Lineage["from"], own = 50, change: Partial<View> = {}) => {
    const later = from === undefined ? second : { ...second, from };
    const seen = returning({
      peers: [holder("a", { clusterId: "c2", lineage: later }), peer("c")],
      endpoints: new Map([answers("a", later)]),
      ...change,
    });
    return judgeRival(seen, data("b", members, { revision: own }));
  };
  const ahead = beside({ token: "first", revision: 49 });
  assertEquals(told(ahead), "waits error newer_epoch_behind");
  assertEquals("reason" in ahead && ahead.reason.text.includes("began with revision 49 of epoch 1"), true);
  const plans = "reason" in ahead ? ahead.reason.choices!.map(({ plan }) => plan) : [];
  assertEquals(plans, [planOf(endLifeDigest(first, second)), planOf(endLifeDigest(second, first))]);
  assertEquals(told(beside({ token: "first", revision: 50 })), "yields newer_epoch", "it has all that is here");
  assertEquals(told(beside({ token: "first", revision: 49 }, 49)), "yields newer_epoch");
  assertEquals(
    told(beside({ token: "another", revision: 49 })),
    "yields newer_epoch",
    "it began with another life's data",
  );
  assertEquals(told(beside(undefined)), "yields newer_epoch", "an older e2d made it");
  const approved = settings({ approved: [plans[0]!] });
  assertEquals(told(beside({ token: "first", revision: 49 }, 50, { settings: approved })), "yields newer_epoch");
});

Deno.test("judgeRival() does not wait for a disk that is known to hold nothing of the own life", () => {
  const emptied = returning({ peers: [rival("a"), peer("c")], endpoints: secondLives, bootedAtMs: nowMs });
  assertEquals(verdictOf(emptied), "yields newer_epoch");
  const unmounted = peer("c", { facts: facts("c", { data: { kind: "none", lost: first } }) });
  assertEquals(verdictOf({ ...emptied, peers: [rival("a"), unmounted] }), "waits newer_epoch_waits");
  const elsewhere = peer("c", { peerUrl: "http://elsewhere:2380" });
  assertEquals(
    verdictOf({ ...emptied, peers: [rival("a"), elsewhere] }),
    "waits newer_epoch_waits",
    "a name is a copy",
  );
});

Deno.test("judgeRival() holds nobody up who pledged to that very life: it is one of those who bootstrap it", () => {
  const initialMembers = ["a", "b", "c"].map((name) => ({
    name,
    peerUrl: `http://${name}:2380`,
    nonce: `nonce-${name}`,
  }));
  const source = { kind: "survivor", name: "b", revision: 1 } as const;
  const pledge = { initialMembers, source, lineage: second, digest: "d", token: second.token, verified: "h" };
  const seen = returning({ peers: [rival("a"), peer("c", { state: "dead", sinceMs: 0 })] });
  assertEquals(verdictOf(seen), "waits newer_epoch_silent");
  assertEquals(verdictOf({ ...seen, record: { ...record, pledges: [pledge] } }), "alone");
  // One that moved since is none of them any more.
  const moved = { ...seen.self, peerUrl: "http://elsewhere:2380" };
  assertEquals(
    verdictOf({ ...seen, self: moved, record: { ...record, pledges: [pledge] } }),
    "waits newer_epoch_silent",
  );
});

Deno.test("judgeRival() never lets a quorum of disks yield: it waits for an operator, or goes on when it is alive", () => {
  const cold = returning({ peers: [rival("a"), holder("c")], endpoints: secondLives });
  assertEquals(verdictOf(cold), "waits two_epochs");
  assertEquals(
    verdictOf({ ...cold, peers: [rival("a"), holder("c", {}, { status: "running" })] }),
    "stands two_epochs",
  );
  const verdict = judgeOwn(cold);
  assertEquals(verdict.kind === "waits" && [verdict.level, verdict.reason.choices?.length], ["error", 2]);
});

Deno.test("judgeRival() takes no peer's word: without an answer of the newer epoch's quorum nothing yields", () => {
  assertEquals(verdictOf(returning({ peers: [rival("a"), peer("c")] })), "waits newer_epoch_silent");
});

Deno.test("judgeRival() does as an operator approved, at any of the nodes", () => {
  const cold = returning({ peers: [rival("a"), holder("c")], endpoints: secondLives });
  const approved = (plan: string) => settings({ approved: [plan] });
  const [ends, stays] = [planOf(endLifeDigest(first, second)), planOf(endLifeDigest(second, first))];
  assertEquals(verdictOf({ ...cold, settings: approved(ends) }), "yields newer_epoch");
  assertEquals(verdictOf({ ...cold, settings: approved(stays) }), "stands two_epochs");
  const atPeer = holder("c");
  const told = { ...atPeer, facts: { ...atPeer.facts!, approved: [ends] } };
  assertEquals(verdictOf({ ...cold, peers: [rival("a"), told] }), "yields newer_epoch");
  const silent = { ...cold, settings: approved(ends), endpoints: new Map() };
  assertEquals(verdictOf(silent), "waits newer_epoch_silent", "the data stays until the other life lives");
});

Deno.test("judgeRival() never ends a life that stood beside the other one with a quorum of its own", () => {
  const stood = returning({
    peers: [rival("a"), peer("c", { state: "dead" })],
    endpoints: secondLives,
    record: { ...record, rival: second },
  });
  assertEquals(verdictOf(stood), "waits two_epochs");
});

Deno.test("judgeRival() holds data of an earlier life that is mounted again against the later one of the same disk", () => {
  const later = { ...started, lineage: second, clusterId: "c2" };
  const single = view("a", {
    data: data("a", [member("a")]),
    record: { nonce: "n", pledges: [], started, former: [later] },
    settings: settings({ requiredSize: 1 }),
  });
  const verdict = judgeRival(single, data("a", [member("a")]));
  assertEquals(verdict.kind === "waits" && [verdict.level, verdict.reason.code], ["error", "two_epochs"]);
});

const stored: SnapshotLookup = {
  kind: "newest",
  hash: "h",
  revision: 1_000_000_000,
  lineage: second,
  takenAtWallMs: 0,
  verified: true,
  epochMax: 2,
};

Deno.test("judgeStore() never ends a life: a quorum of disks starts, fewer wait for the others for a time", () => {
  const judge = (change: Partial<View>) =>
    judgeStore(returning({ snapshotLookup: stored, ...change }), data("b", members));
  assertEquals(judge({ peers: [holder("c")] }).kind, "stands");
  assertEquals(judge({ bootedAtMs: nowMs - 1_000 }).kind, "waits");
  assertEquals(judge({}).kind, "stands", "after the time-out");
  assertEquals(judge({ snapshotLookup: { ...stored, lineage: first, epochMax: 1 } }).kind, "alone");
  assertEquals(judge({ snapshotLookup: { ...stored, lineage: { ...second, id: "foreign" } } }).kind, "alone");
});

Deno.test("judgeRival() waits for an operator also while the life that it was seen with a quorum is away", () => {
  const cold = returning({ peers: [rival("a"), holder("c")], endpoints: secondLives });
  assertEquals(lifeToRemember(cold), second);
  assertEquals(lifeToRemember({ ...cold, endpoints: new Map() }), undefined, "no quorum of it was seen");
  const knows = { ...record, undecided: second };
  assertEquals(lifeToRemember({ ...cold, record: knows }), undefined, "it is known");
  const away = { ...cold, record: knows, peers: [holder("c")], endpoints: new Map() };
  assertEquals(verdictOf(away), "waits two_epochs");
  const verdict = judgeOwn(away);
  assertEquals(verdict.kind === "waits" && [verdict.level, verdict.reason.choices?.length], ["error", 2]);
  const [ends, stays] = [planOf(endLifeDigest(first, second)), planOf(endLifeDigest(second, first))];
  assertEquals(verdictOf({ ...away, settings: settings({ approved: [stays] }) }), "stands two_epochs");
  assertEquals(verdictOf({ ...away, settings: settings({ approved: [ends] }) }), "waits newer_epoch_silent");
  // A node that boots later learns it from the one that has seen it.
  const told = holder("c");
  const peers = [{ ...told, facts: { ...told.facts!, undecided: second } }];
  assertEquals(verdictOf({ ...away, record, peers }), "waits two_epochs");
  assertEquals(verdictOf({ ...away, record }), "alone");
  // Of another life of this disk it says nothing.
  const later = { ...started, lineage: { ...second, epoch: 3 } };
  assertEquals(verdictOf({ ...away, record: { ...knows, started: later } }), "alone");
});
