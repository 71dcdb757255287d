import {
  anotherHolds,
  quorumLost,
  selfQuorumLost,
  survivorWithoutUs,
  unusableMajority,
  unusablePeers,
  wasRemoved,
} from "../../../lib/core/rules/quorum_loss.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { EtcdMember } from "../../../lib/core/facts/cluster.ts";
import type { Lineage, LogPosition } from "../../../lib/core/facts/node_record.ts";
import type { GossipPeer, PeerData, PeerFacts } from "../../../lib/core/facts/peer.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { data, facts, goPeer, member, nowMs, peer, settings, silent, view } from "../facts.ts";

const line: Lineage = { id: "line", epoch: 1, token: "t" };
const started = { lineage: line, how: "founded", clusterId: "c1", renounced: [] } as const;
const record = { nonce: "n", pledges: [], started };
const timeoutMs = 600_000;
const named = (names: string) => names.split("").map((name) => member(name));

type Held = Extract<PeerData, { kind: "held" }>;
const held = (name: string, change: Partial<Held> = {}): Held => ({
  kind: "held",
  clusterId: "c1",
  memberId: `id-${name}`,
  lineage: line,
  revision: 50,
  ...change,
});
const withData = (name: string, of: PeerData, change: Partial<GossipPeer> = {}) =>
  peer(name, { facts: facts(name, { data: of }), ...change });

Deno.test("unusablePeers() and unusableMajority() count the voters whose disks are here and cannot be used", () => {
  const unusable = (name: string, change: Partial<GossipPeer> = {}) =>
    withData(name, { kind: "unusable", why: "EIO" }, change);
  const peers = [unusable("c"), unusable("b"), unusable("d", { state: "dead" }), withData("e", held("e")), goPeer("g")];
  assertEquals(unusablePeers(view("a", { peers })), ['"b"', '"c"']);
  const majority = (members: readonly EtcdMember[], of: readonly GossipPeer[]) =>
    unusableMajority(view("a", { data: data("a", members), peers: of }))?.code;
  assertEquals(majority(named("abc"), peers), "members_unusable");
  assertEquals(majority(named("abc"), [unusable("b")]), undefined);
  assertEquals(majority(named("ab"), [unusable("b")]), "members_unusable");
  assertEquals(majority(named("abc"), []), undefined);
  assertEquals(majority([], []), undefined);
  const learners = ["d", "e"].map((name) => member(name, { isLearner: true }));
  assertEquals(majority([...named("abc"), ...learners], peers), "members_unusable");
  assertEquals(unusableMajority(view("a", { peers })), undefined, "without own data");
});

const position = (term: number, index: number): LogPosition => ({ term, index });
const lost = (change: Partial<NonNullable<PeerFacts["quorumLost"]>> = {}): NonNullable<PeerFacts["quorumLost"]> => ({
  lineage: line,
  revision: 50,
  members: ["id-a", "id-b", "id-c"],
  raftIndex: 100,
  lastLog: position(2, 100),
  ...change,
});
const survivor = (name: string, change: Parameters<typeof lost>[0] = {}, of: Partial<GossipPeer> = {}) =>
  peer(name, { facts: facts(name, { data: held(name), quorumLost: lost(change) }), ...of });

Deno.test("survivorWithoutUs() finds a survivor whose newer log of the own life does not list this member", () => {
  const newer = { members: ["id-a"], lastLog: position(2, 101) };
  const without = (of: GossipPeer, change: Partial<View> = {}) =>
    survivorWithoutUs(view("b", {
      data: data("b", named("abc"), { lastLog: position(2, 100) }),
      record,
      peers: [goPeer("g"), peer("c"), of],
      ...change,
    }))?.name;
  assertEquals(without(survivor("a", newer)), "a");
  const cases: [string, GossipPeer][] = [
    ["gossip doubts it", survivor("a", newer, { state: "suspect" })],
    ["another life", survivor("a", { ...newer, lineage: { ...line, token: "other" } })],
    ["it applied less", survivor("a", { ...newer, raftIndex: 99 })],
    ["an equal log", survivor("a", { ...newer, lastLog: position(2, 100) })],
    ["an older log", survivor("a", { ...newer, lastLog: position(1, 900) })],
    ["it lists this member", survivor("a", { ...newer, members: ["id-a", "id-b"] })],
  ];
  for (const [what, of] of cases) assertEquals(without(of), undefined, what);
  assertEquals(without(survivor("a", newer), { data: data("b", named("abc")) }), undefined, "the own end is not known");
  const { started: _, ...anew } = record;
  assertEquals(without(survivor("a", newer), { data: { kind: "absent" }, record: anew }), undefined);
});

Deno.test("anotherHolds() sees a node with data of that cluster which has not lost its quorum", () => {
  const holds = (...peers: GossipPeer[]) => anotherHolds(view("a", { peers }), "c1");
  assertEquals(holds(goPeer("g"), peer("c"), withData("b", held("b"))), true);
  assertEquals(holds(), false);
  assertEquals(holds(withData("b", held("b"), { state: "dead" })), false);
  assertEquals(holds(withData("b", held("b", { clusterId: "c2" }))), false);
  assertEquals(holds(survivor("b")), false);
});

/** Voter a of five: b's node is given, the others are gone for as long as the time-out. */
function alone(b: readonly GossipPeer[], change: Partial<View> = {}, names = "abcde"): View {
  const others = names.slice(2).split("");
  return view("a", {
    data: data("a", named(names)),
    record,
    leaderlessSinceMs: nowMs - timeoutMs,
    peers: [goPeer("g"), ...others.map((name) => peer(name, { state: "dead", sinceMs: nowMs - timeoutMs })), ...b],
    endpoints: new Map(
      names.slice(1).split("").map((name) => [`http://${name}:2379`, silent(nowMs - timeoutMs)] as const),
    ),
    ...change,
  });
}
const dead = (name: string, agoMs: number, change: Partial<GossipPeer> = {}) =>
  peer(name, { state: "dead", sinceMs: nowMs - agoMs, ...change });
const gone = alone([dead("b", timeoutMs)]);

Deno.test("selfQuorumLost() needs the whole time-out without a leader, with the data of a voter, and no stop", () => {
  const { leaderlessSinceMs: _, ...led } = gone;
  const table: [string, View, boolean][] = [
    ["all others are gone", gone, true],
    ["it has a leader", led, false],
    ["for less than the time-out", { ...gone, leaderlessSinceMs: nowMs - timeoutMs + 1 }, false],
    ["this process stood still", { ...gone, watchingSinceMs: nowMs - timeoutMs + 1 }, false],
    ["never", { ...gone, settings: settings({ quorumLossTimeoutMs: "never" }) }, false],
    ["paused", { ...gone, settings: settings({ paused: true }) }, false],
    ["without data", { ...gone, data: { kind: "absent" } }, false],
    ["damaged", { ...gone, data: { kind: "damaged", what: "log" } }, false],
  ];
  for (const [what, seen, expected] of table) assertEquals(selfQuorumLost(seen), expected, what);
});

Deno.test("selfQuorumLost() counts a voter that holds its data, and waits for one that may", () => {
  const b = (of: PeerData, change: Partial<GossipPeer> = {}) => [withData("b", of, change)];
  const elsewhere = { peerUrl: "http://x:2380", gossipAddr: "x:7980" };
  const removed = held("b", { memberId: "id-x", lastLog: position(1, 50) });
  const long = { sinceMs: nowMs - timeoutMs };
  const logged = { data: data("a", named("abcde"), { lastLog: position(2, 100) }) };
  const recently = nowMs - timeoutMs + 1;
  const lately = new Map(gone.endpoints).set("http://b:2379", silent(recently));
  const table: [string, View, boolean][] = [
    ["two of five hold data", alone(b(held("b"))), true],
    ["two of three hold data", alone(b(held("b")), {}, "abc"), false],
    ["of another cluster", alone(b(held("b", { clusterId: "c2" }))), false],
    ["of another member", alone(b(held("b", { memberId: "id-x" }))), false],
    ["its holder died lately", alone(b(held("b"), { state: "dead", sinceMs: recently })), false],
    ["gone for less than the time-out", alone([dead("b", timeoutMs - 1)]), false],
    ["etcd answered since", { ...gone, endpoints: lately }, false],
    ["it is there, and has not looked", alone(b({ kind: "unknown" })), false],
    ["its disk is empty", alone(b({ kind: "none" })), true],
    ["its disk is empty, since lately", alone(b({ kind: "none" }, { sinceMs: recently })), true],
    ["empty, and gossip doubts it", alone(b({ kind: "none" }, { state: "suspect" })), false],
    ["not mounted, lately", alone(b({ kind: "none", lost: line }, { sinceMs: recently })), false],
    ["not mounted, for the time-out", alone(b({ kind: "none", lost: line }, long)), true],
    ["its disk holds a removed member, lately", alone(b(removed, { sinceMs: recently }), logged), false],
    ["its disk holds a removed member, for the time-out", alone(b(removed, long), logged), true],
    ["the log of that member is newer", alone(b({ ...removed, lastLog: position(2, 101) }, long), logged), false],
    ["the end of that log is not known", alone(b(held("b", { memberId: "id-x" }), long), logged), false],
    [
      "that member is of another life",
      alone(b({ ...removed, lineage: { ...line, token: "other" } }, long), logged),
      false,
    ],
    ["the end of the own log is not known", alone(b(removed, long)), false],
    ["an empty newcomer of its name", alone([dead("b", 1), ...b({ kind: "none" }, elsewhere)]), true],
    ["an empty node of another name", alone([dead("b", 1), withData("x", { kind: "none" }, elsewhere)]), false],
    [
      "an empty newcomer of its name, etcd answered since",
      alone([dead("b", 1), ...b({ kind: "none" }, elsewhere)], { endpoints: lately }),
      false,
    ],
  ];
  for (const [what, seen, expected] of table) assertEquals(selfQuorumLost(seen), expected, what);
  // A member that never published its name is no namesake of anybody.
  const unnamed = named("abcde").map((each) => each.id === "id-b" ? { ...each, name: "" } : each);
  const namesakes = [dead("", 1, { peerUrl: "http://b:2380" }), withData("", { kind: "none" }, elsewhere)];
  assertEquals(selfQuorumLost(alone(namesakes, { data: data("a", unnamed) })), false);
});

Deno.test("selfQuorumLost() of a learner's data: only when no voter's is left, and a learner is never missed", () => {
  const learner = (name: string) => member(name, { isLearner: true });
  const own = (b: readonly GossipPeer[]) => alone(b, { data: data("a", [learner("a"), ...named("bcde")]) });
  assertEquals(selfQuorumLost(own([dead("b", timeoutMs)])), true);
  assertEquals(selfQuorumLost(own([withData("b", held("b"))])), false);
  assertEquals(selfQuorumLost(own([dead("b", timeoutMs), survivor("x")])), true);
  // A learner b that is there counts for nothing beside the voter a.
  const beside = (of: PeerData) => alone([withData("b", of)], { data: data("a", [...named("acde"), learner("b")]) });
  assertEquals(selfQuorumLost(beside({ kind: "unknown" })), true);
  assertEquals(selfQuorumLost(beside(held("b"))), true);
});

const best = (...peers: GossipPeer[]) => quorumLost(view("x", { peers }));

Deno.test("quorumLost() takes the log that ends last, then the revision, then the name, and only of one life", () => {
  for (const flip of [false, true]) {
    const of = (...peers: GossipPeer[]) => best(...flip ? peers.toReversed() : peers)?.name;
    assertEquals(of(survivor("a"), survivor("b")), "a");
    assertEquals(of(survivor("a"), survivor("b", { revision: 51 })), "b");
    assertEquals(of(survivor("a", { revision: 51 }), survivor("b", { lastLog: position(2, 101) })), "b");
    assertEquals(of(survivor("a"), survivor("b", { lineage: { ...line, token: "other" } })), undefined);
    assertEquals(of(survivor("a"), survivor("b", { lineage: { ...line, id: "other" } })), undefined);
  }
  assertEquals(best(), undefined);
  assertEquals(best(peer("c"), goPeer("g"), survivor("b"), survivor("a", {}, { state: "dead" })), {
    lineage: line,
    survivors: ["b"],
    name: "b",
    revision: 50,
    outlived: [],
  });
});

Deno.test("quorumLost() is not held up by a minority with data of an earlier life, which takes no part", () => {
  const next = { ...line, epoch: 2, token: "next" };
  const earlier = (name: string, change: Partial<Held> = {}, more: Partial<PeerFacts> = {}) =>
    peer(name, { facts: facts(name, { data: held(name, change), ...more }) });
  const of = (...peers: GossipPeer[]) => best(survivor("a", { lineage: next }), ...peers);
  assertEquals([of(earlier("z"))?.survivors, of(earlier("z"))?.outlived], [["a"], ["z"]]);
  assertEquals(of(earlier("y"), earlier("z")), undefined, "they may be a quorum");
  assertEquals(of(earlier("z", {}, { undecided: next })), undefined, "it stands beside that life");
  assertEquals(of(earlier("z", { lineage: { ...next, token: "another" } })), undefined, "of the same epoch");
  assertEquals(of(earlier("z", { lineage: { ...line, id: "foreign" } })), undefined);
});

Deno.test("quorumLost() lists a survivor that the best log lists, or whose log is as new", () => {
  const alone = { members: ["id-a"] };
  assertEquals(best(survivor("a", alone), survivor("b"))?.survivors, ["a", "b"]);
  assertEquals(best(survivor("a", alone), survivor("b", { lastLog: position(2, 99) }))?.survivors, ["a"]);
  assertEquals(best(survivor("a"), survivor("b", { lastLog: position(2, 99) }))?.survivors, ["a", "b"]);
});

Deno.test("quorumLost() needs this node's own word where it holds data, unless the newest log has removed it", () => {
  const own = { lastLog: position(2, 100) };
  const beside = (of: GossipPeer, change: Partial<View> = {}, log: { lastLog?: LogPosition } = own) =>
    quorumLost({ ...alone([of]), data: data("a", named("abcde"), log), ...change })?.survivors;
  assertEquals(beside(survivor("b")), ["a", "b"]);
  assertEquals(beside(survivor("b"), {}, {}), undefined, "the end of the own log is not known");
  assertEquals(beside(survivor("b"), { leaderlessSinceMs: nowMs }), undefined, "it has not lost its quorum");
  const without = survivor("b", { members: ["id-b"], lastLog: position(2, 101) });
  assertEquals(beside(without, { leaderlessSinceMs: nowMs }), ["b"]);
});

Deno.test("wasRemoved() is true of an older log of the same life whose member the best one does not list", () => {
  const of = { memberId: "id-a", name: "a", revision: 50, lineage: line, lastLog: position(2, 100), members: ["id-a"] };
  const removed = (change: Partial<Held>) => wasRemoved(held("z", { lastLog: position(2, 99), ...change }), of);
  assert(removed({}));
  assert(!removed({ lastLog: position(2, 100) }));
  assert(!removed({ lastLog: position(3, 1) }));
  assert(!removed({ memberId: "id-a" }));
  assert(!removed({ lineage: { ...line, token: "other" } }));
  assert(!wasRemoved(held("z"), of));
});

Deno.test("quorumLost() neither waits for a member that the newest log does not list nor takes its data", () => {
  const listed = ["id-a", "id-b", "id-c"];
  const loss = (lastLog?: LogPosition) => {
    const removed = withData("z", held("z", lastLog === undefined ? {} : { lastLog }));
    return best(survivor("a", { members: listed, lastLog: position(2, 100) }), removed)?.survivors;
  };
  assertEquals(loss(position(2, 50)), ["a"]);
  assertEquals(loss(position(2, 150)), undefined, "its log is newer: it may have joined later");
  assertEquals(loss(), undefined, "its log is not known");
});
