import { decideHandover, silentManager } from "../../../../lib/core/rules/membership/leader_handover.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import { assert, assertEquals } from "../../../support/assert.ts";
import { alarm, answer, goPeer, member, nowMs, peer, settings, view } from "../../facts.ts";
import type { GossipPeer } from "../../../../lib/core/facts/peer.ts";

const members = ["a", "b", "c", "d", "e"].map((name) => member(name));
const dead = (name: string) => peer(name, { state: "dead", sinceMs: nowMs - 1_000 });

/** Node b, a follower of a. */
const follower = (peers: readonly GossipPeer[], change: Partial<View> = {}) =>
  view("b", { peers, settings: settings({ requiredSize: 5 }), ...change });
const own = answer("b", members);
const silentFor = (ms: number) => ({ leaderId: "id-a", sinceMs: nowMs - ms });
const others = [peer("c"), peer("d"), peer("e")];

Deno.test("silentManager() counts from when gossip held the leader's manager for gone, and from no earlier leader's", () => {
  assertEquals(silentManager(follower([peer("a"), ...others]), own, silentFor(9_000)), undefined);
  assertEquals(silentManager(follower([dead("a"), ...others]), own, undefined), silentFor(0));
  assertEquals(silentManager(follower([dead("a"), ...others]), own, silentFor(9_000)), silentFor(9_000));
  // Gossip has forgotten it: that is no news.
  assertEquals(silentManager(follower(others), own, silentFor(40_000)), silentFor(40_000));
  const before = { leaderId: "id-c", sinceMs: 0 };
  assertEquals(silentManager(follower([dead("a"), ...others]), own, before), silentFor(0));
  // The node of the original that leads does as the original does.
  assertEquals(silentManager(follower([goPeer("a"), ...others]), own, undefined), undefined);
});

Deno.test("the first living node by name takes the leadership after the health-check time-out, the next ones later", () => {
  const take = (peers: readonly GossipPeer[], ms: number, change: Partial<View> = {}) =>
    decideHandover(follower([dead("a"), ...peers], change), own, silentFor(ms));
  assertEquals(take(others, 9_000).kind, "nothing");
  assertEquals(take(others, 59_000).kind, "wait");
  const taken = take(others, 60_000);
  assert(taken.kind === "take");
  assertEquals([taken.to, taken.via, taken.reason.code], ["id-b", "http://a:2379", "manager_silent"]);
  const third = (ms: number) =>
    decideHandover(
      view("c", { peers: [dead("a"), peer("b"), peer("d"), peer("e")], settings: settings({ requiredSize: 5 }) }),
      answer("c", members),
      silentFor(ms),
    ).kind;
  assertEquals([third(69_000), third(70_000)], ["wait", "take"]);
  // This process stood still: its silence was its own.
  assertEquals(take(others, 60_000, { watchingSinceMs: nowMs - 3_000 }).kind, "nothing");
});

Deno.test("nothing is taken by a node that sees no majority of managers, beside a pause, or with other data", () => {
  const reason = (view: View, answered = own) => {
    const handover = decideHandover(view, answered, silentFor(600_000));
    return handover.kind === "wait" ? handover.reason.text : handover.kind;
  };
  // b is cut off from gossip, and a, c, d and e may be well.
  assert(reason(follower([dead("a"), dead("c"), dead("d"), peer("e")])).includes("2 of 5 voters, while its etcd"));
  const paused = answer("b", members, { pause: { paused: true, version: 1 } });
  assert(reason(follower([dead("a"), ...others]), paused).includes("paused"));
  const corrupt = answer("b", members, { alarms: [alarm("CORRUPT", "b")] });
  assert(reason(follower([dead("a"), ...others]), corrupt).includes("another member"));
});

Deno.test("silentManager() watches another member that leads, and none where no leader is listed", () => {
  const seen = follower([dead("a"), ...others]);
  const { leaderId: _, ...leaderless } = own;
  assertEquals(silentManager(seen, leaderless, undefined), undefined);
  assertEquals(silentManager(seen, { ...own, leaderId: "id-x" }, undefined), undefined);
  assertEquals(silentManager(seen, { ...own, leaderId: "id-b" }, undefined), undefined);
  assertEquals(silentManager(seen, { ...own, leaderId: "id-c" }, undefined), undefined, "its manager is there");
});

Deno.test("decideHandover() tells who takes the leadership over and when, and hands over at the leader's address", () => {
  const seen = (change: Partial<View> = {}) => follower([dead("a"), ...others], change);
  assertEquals(decideHandover(seen(), own, undefined), { kind: "nothing" });
  assertEquals(decideHandover(seen(), own, { leaderId: "id-x", sinceMs: 0 }), { kind: "nothing" });
  assertEquals(decideHandover(seen(), own, silentFor(9_999)), { kind: "nothing" });
  const label = '"a" leads etcd and its e2d is silent: no snapshots, no replacing of members';
  assertEquals(decideHandover(seen(), own, silentFor(10_000)), {
    kind: "wait",
    reason: {
      code: "manager_silent",
      text: `${label}; "b" takes over after 60 s`,
      hint: 'look at e2d on "a": systemctl status e2d',
    },
    atMs: nowMs + 50_000,
  });
  const paused = decideHandover(seen(), { ...own, pause: { paused: true, version: 1 } }, silentFor(60_000));
  assertEquals(Object.keys(paused), ["kind", "reason"], "no time is named");
  const unnamed = own.members.map((each) => each.id === "id-a" ? { ...each, name: "" } : each);
  const named = decideHandover(seen(), { ...own, members: unnamed }, silentFor(60_000));
  assertEquals(named.kind === "take" && named.reason.text.slice(0, 6), '"id-a"');
});

Deno.test("decideHandover() counts voters only, and lets the first node of e2d by name act", () => {
  const kindOf = (answered: typeof own, peers: readonly GossipPeer[], ms = 60_000) =>
    decideHandover(follower([dead("a"), ...peers]), answered, silentFor(ms)).kind;
  const five = (change: (name: string) => Parameters<typeof member>[1]) =>
    answer("b", ["e", "d", "c", "b", "a"].map((name) => member(name, change(name))));
  assertEquals(kindOf(five(() => ({})), others), "take");
  const ownLearner = five((name) => ({ isLearner: name === "b" }));
  assertEquals(kindOf(ownLearner, others, 600_000), "wait");
  const noUrl = five((name) => name === "a" ? { clientUrls: [] } : {});
  assertEquals(kindOf(noUrl, others, 600_000), "wait");
  // A majority of the voters: b, c and d of five; of three voters and two learners b and c.
  assertEquals(kindOf(own, [peer("c"), peer("d")], 60_000), "take");
  const cutOff = decideHandover(follower([dead("a"), peer("c")]), own, silentFor(600_000));
  assertEquals(cutOff.kind === "wait" && cutOff.reason.code, "gossip_cut_off");
  const learners = five((name) => ({ isLearner: name === "d" || name === "e" }));
  assertEquals(kindOf(learners, [peer("c")]), "take");
  // Its turn comes after that of the nodes before it by name, those of the original not counted.
  const turn = (peers: readonly GossipPeer[], ms: number) =>
    decideHandover(
      view("d", { peers: [dead("a"), ...peers] }),
      { ...five(() => ({})), memberId: "id-d" },
      silentFor(ms),
    ).kind;
  const e2d = [peer("e"), peer("c"), peer("b")];
  assertEquals([turn(e2d, 79_999), turn(e2d, 80_000)], ["wait", "take"]);
  const mixed = [peer("e"), goPeer("c"), peer("b")];
  assertEquals([turn(mixed, 69_999), turn(mixed, 70_000)], ["wait", "take"]);
});
