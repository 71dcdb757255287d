import fc from "fast-check";
import { refusalToRemove, successorWaits } from "../../../../lib/core/rules/membership/removal_safety.ts";
import type { View } from "../../../../lib/core/facts/view.ts";
import { type EtcdAnswer, type EtcdMember, quorumOf } from "../../../../lib/core/facts/cluster.ts";
import type { GossipPeer } from "../../../../lib/core/facts/peer.ts";
import { assert, assertEquals } from "../../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, peer, settings, view } from "../../facts.ts";

const named = (names: string) => names.split("").map((name) => member(name));
const well = (names: string, members: readonly EtcdMember[]) =>
  new Map(names.split("").map((name) => [`http://${name}:2379`, answering(answer(name, members))] as const));

/** Why c may not be removed; `healthy`: those that answer besides a. */
function refusal(
  members: readonly EtcdMember[],
  healthy: string,
  change: Partial<View> = {},
  of: Partial<EtcdAnswer> = {},
) {
  const target = members.find(({ name }) => name === "c")!;
  const seen = view("a", { data: data("a", members), endpoints: well(healthy, members), ...change });
  return refusalToRemove(target, answer("a", members, of), seen) ?? "may go";
}

Deno.test("refusalToRemove() counts healthy voters before the removal and after it", () => {
  const none = "the cluster has no quorum now";
  assertEquals(refusal(named("abc"), "b"), "may go");
  assertEquals(refusal(named("abc"), "b", {}, { linearizable: false }), none);
  const { leaderId: _, ...leaderless } = answer("a", named("abc"));
  assertEquals(refusalToRemove(member("c"), leaderless, view("a")), none);
  assertEquals(refusal(named("abc"), "x"), "only 1 of 3 voters are seen healthy");
  assertEquals(refusal(named("abcde"), "bc"), "the 4 members that would remain have 2 healthy, fewer than a quorum");
  // Learners are no voters: they are neither counted nor missed.
  const learners = [...named("ab"), member("c"), member("d", { isLearner: true }), member("e", { isLearner: true })];
  assertEquals(refusal(learners, "b"), "may go");
  const learner = [...named("ab"), member("c", { isLearner: true })];
  assertEquals(refusal(learner, "b"), "may go");
  assertEquals(refusal(learner, "x"), "only 1 of 2 voters are seen healthy");
});

Deno.test("refusalToRemove() keeps a quorum of -n, unless a successor waits and more than one voter is left", () => {
  const five = settings({ requiredSize: 5 });
  const few = "2 voters would be fewer than a quorum of -n 5, and no successor waits";
  assertEquals(refusal(named("abc"), "b", { settings: five }), few);
  assertEquals(refusal(named("abc"), "b", { settings: five, peers: [peer("d")] }), "may go");
  assertEquals(
    refusal(named("ac"), "c", { settings: settings({ requiredSize: 3 }) }),
    "one voter alone would remain of -n 3",
  );
  assertEquals(refusal(named("ac"), "c", { settings: settings({ requiredSize: 1 }) }), "may go");
});

Deno.test("successorWaits() wants a live node without data that has neither the name nor the address of a live member", () => {
  const members = named("abc");
  const waits = (peers: readonly GossipPeer[], change: Partial<View> = {}, healthy = "b") =>
    successorWaits(
      members[2]!,
      answer("a", members),
      view("a", {
        data: data("a", members),
        endpoints: well(healthy, members),
        peers,
        ...change,
      }),
    );
  const elsewhere = { peerUrl: "http://x:2380" };
  const table: [string, boolean, readonly GossipPeer[]][] = [
    ["nobody", false, []],
    ["an empty node", true, [peer("d")]],
    ["gossip doubts it", false, [peer("d", { state: "suspect" })]],
    ["it has not looked", false, [peer("d", { facts: facts("d", { data: { kind: "unknown" } }) })]],
    ["a node of the original that is free", true, [goPeer("d", { status: "pending" })]],
    ["a node of the original that runs", false, [goPeer("d", { status: "running" })]],
    ["the node of a live member", false, [peer("b")]],
    ["a live member's name elsewhere", false, [peer("b", elsewhere)]],
    ["another name at a live member's address", false, [peer("d", { peerUrl: "http://b:2380" })]],
    ["the dead member's own node", true, [peer("c")]],
  ];
  for (const [what, expected, peers] of table) assertEquals(waits(peers), expected, what);
  assertEquals(waits([peer("c")], {}, "bc"), false, "it is healthy");
  assertEquals(waits([peer("b")], {}, "x"), false, "another member that is silent stays one");
  const conflict = (name: string) => ({ nameConflicts: [{ name, addresses: ["d:7980", "x:7980"] as const }] });
  assertEquals([waits([peer("d")], conflict("d")), waits([peer("d")], conflict("e"))], [false, true]);
  // This node itself, beside another one that leads.
  const self = { ...view("d").self };
  for (const kind of ["absent", "empty"] as const) assertEquals(waits([], { self, data: { kind } }), true, kind);
  assertEquals(waits([], { self, data: { kind: "unknown" } }), false);
  assertEquals(waits([], { data: { kind: "absent" } }), false, "it has a live member's name");
});

Deno.test("refusalToRemove() never allows what leaves fewer healthy voters than a quorum", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      fc.nat(4),
      (count, up, which) => {
        const members = named("abcde".slice(0, count));
        const target = members[which % count]!;
        const endpoints = new Map(
          members.filter((_, index) => index > 0 && up[index]).map((each) =>
            [each.clientUrls[0]!, answering(answer(each.name, members))] as const
          ),
        );
        const seen = view("a", {
          data: data("a", members),
          endpoints,
          settings: settings({ requiredSize: count }),
        });
        if (refusalToRemove(target, answer("a", members), seen) !== undefined) return;
        const healthy = members.filter((each, index) => each !== target && (index === 0 || up[index])).length;
        assert(healthy >= quorumOf(count - 1), `${healthy} healthy of ${count - 1}`);
        assert(count - 1 >= quorumOf(count), "fewer voters than a quorum of -n, and nobody waits");
      },
    ),
    { seed: 1, numRuns: 1_000 },
  );
});
