import fc from "fast-check";
import { goneForMs, unreachableForMs } from "../../lib/core/evidence/members.ts";
import type { View } from "../../lib/core/facts/view.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { alarm, answer, answering, data, facts, member, nowMs, peer, settings, silent, view } from "./facts.ts";
import { quorumLost, selfQuorumLost } from "../../lib/core/rules/quorum_loss.ts";
import { refusalToRemove } from "../../lib/core/rules/membership/removal_safety.ts";
import { type EtcdMember, quorumOf } from "../../lib/core/facts/cluster.ts";

const all = ["a", "b", "c", "d", "e"];

Deno.test("refusalToRemove() never allows what leaves fewer healthy voters than a quorum", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
      fc.nat(4),
      (count, up, which) => {
        const members = all.slice(0, count).map((name) => member(name));
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

Deno.test("refusalToRemove() takes a member with a CORRUPT alarm or an old answer for sick", () => {
  const members = ["a", "b", "c"].map((name) => member(name));
  const target = members[2]!;
  const with_ = (facts: ReturnType<typeof answering>) =>
    refusalToRemove(
      target,
      answer("a", members),
      view("a", {
        data: data("a", members),
        endpoints: new Map([["http://b:2379", facts]]),
      }),
    );
  assertEquals(with_(answering(answer("b", members))), undefined);
  assert(with_(answering(answer("b", members, { alarms: [alarm("CORRUPT", "b")] }))) !== undefined);
  assert(with_(answering(answer("b", members), nowMs - 6_000)) !== undefined);
  assert(with_(answering(answer("b", members, { leaderId: "id-c" }))) !== undefined);
});

Deno.test("refusalToRemove() never lets two voters shrink to one, and counts only an empty node as successor", () => {
  const two = ["a", "b"].map((name) => member(name));
  const three = ["a", "b", "c"].map((name) => member(name));
  const seen = (peers: readonly string[], change: Partial<View> = {}) =>
    view("a", {
      data: data("a", three),
      settings: settings({ requiredSize: 5 }),
      endpoints: new Map(["b"].map((name) => [`http://${name}:2379`, answering(answer(name, three))] as const)),
      peers: peers.map((name) => peer(name)),
      ...change,
    });
  const refusal = (of: EtcdMember, list: readonly EtcdMember[], at: View) => refusalToRemove(of, answer("a", list), at);
  assert(refusal(two[1]!, two, seen(["d"])) !== undefined);
  assertEquals(refusal(three[2]!, three, seen(["d"])), undefined);
  // The dead member's own node, back with an empty disk, is one; the node of a live member is none.
  assertEquals(refusal(three[2]!, three, seen(["c"])), undefined);
  assert(refusal(three[2]!, three, seen(["b"])) !== undefined);
  const conflict = { name: "d", addresses: ["d:7980", "x:7980"] } as const;
  assert(refusal(three[2]!, three, seen(["d"], { nameConflicts: [conflict] })) !== undefined);
  assert(refusal(three[2]!, three, seen([])) !== undefined);
});

Deno.test("goneForMs() and unreachableForMs() never count time that this node did not watch", () => {
  const b = member("b");
  const seen = view("a", {
    watchingSinceMs: nowMs - 3_000,
    peers: [peer("b", { state: "dead", sinceMs: nowMs - 100_000 })],
    endpoints: new Map([["http://b:2379", silent(nowMs - 100_000)]]),
  });
  assertEquals(goneForMs(b, seen), 3_000);
  assertEquals(unreachableForMs(b, seen), 3_000);
});

Deno.test("selfQuorumLost() needs the time-out, gossip's verdict and etcd's silence, each for all the others", () => {
  const members = ["a", "b", "c"].map((name) => member(name));
  const dead = (name: string, agoMs: number) => peer(name, { state: "dead", sinceMs: nowMs - agoMs });
  const long = 700_000;
  const lost = view("a", {
    data: data("a", members),
    etcd: { kind: "starting", sinceMs: 0 },
    leaderlessSinceMs: nowMs - long,
    peers: [dead("b", long), dead("c", long)],
    endpoints: new Map([["http://b:2379", silent(nowMs - long)], ["http://c:2379", silent(nowMs - long)]]),
  });
  assertEquals(selfQuorumLost(lost), true);
  assertEquals(selfQuorumLost({ ...lost, leaderlessSinceMs: nowMs - 1_000 }), false);
  assertEquals(selfQuorumLost({ ...lost, peers: [dead("b", long), dead("c", 1_000)] }), false);
  assertEquals(selfQuorumLost({ ...lost, endpoints: new Map([["http://b:2379", silent(nowMs - 1_000)]]) }), false);
  assertEquals(selfQuorumLost({ ...lost, settings: settings({ quorumLossTimeoutMs: "never" }) }), false);
  assertEquals(selfQuorumLost({ ...lost, settings: settings({ paused: true }) }), false);
  const held = {
    kind: "held",
    clusterId: "c1",
    memberId: "id-b",
    lineage: { id: "c1", epoch: 0, token: "etcd-cluster" },
    revision: 1,
  } as const;
  const back = [peer("b", { facts: facts("b", { data: held }) }), dead("c", long)];
  assertEquals(selfQuorumLost({ ...lost, peers: back }), false, "two of three hold data: that is a quorum");
});

const life = { id: "line", epoch: 1, token: "t" };

/** A survivor among the peers, with the end of its log. */
const survivor = (name: string, term: number, index: number, listed = ["id-a", "id-b", "id-c", "id-d", "id-e"]) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage: life, revision: 50 },
      quorumLost: { lineage: life, revision: 50, members: listed, raftIndex: 100, lastLog: { term, index } },
    }),
  });

Deno.test("quorumLost() takes the survivor whose log ends last: the term decides, then the index, the name never", () => {
  const best = (...peers: ReturnType<typeof survivor>[]) => quorumLost(view("x", { peers }))?.name;
  assertEquals(best(survivor("a", 2, 100), survivor("b", 2, 101)), "b");
  assertEquals(best(survivor("a", 2, 500), survivor("b", 3, 101)), "b");
  assertEquals(best(survivor("b", 2, 101), survivor("a", 2, 101)), "a");
});

Deno.test("quorumLost() needs the end of the own log before this node counts itself among the survivors", () => {
  const members = ["a", "b", "c", "d", "e"].map((name) => member(name));
  const long = 700_000;
  const seen = view("a", {
    data: data("a", members),
    record: { nonce: "n", pledges: [], started: { lineage: life, how: "founded", renounced: [] } },
    leaderlessSinceMs: nowMs - long,
    peers: [survivor("b", 2, 101), ...["c", "d", "e"].map((name) => peer(name, { state: "dead", sinceMs: 0 }))],
    endpoints: new Map(["c", "d", "e"].map((name) => [`http://${name}:2379`, silent(nowMs - long)] as const)),
  });
  assertEquals(quorumLost(seen), undefined);
  const read = { ...seen, data: data("a", members, { lastLog: { term: 2, index: 102 } }) };
  assertEquals(quorumLost(read)?.name, "a");
});

Deno.test("quorumLost() counts no survivor that the best log has removed, whatever that one publishes", () => {
  const peers = [survivor("a", 3, 101, ["id-a", "id-b"]), survivor("b", 3, 90), survivor("e", 2, 80)];
  assertEquals(quorumLost(view("x", { peers }))?.survivors, ["a", "b"]);
});

Deno.test("quorumLost() neither waits for a member that the newest log does not list nor takes its data", () => {
  const removed = (lastLog?: { term: number; index: number }) =>
    peer("z", {
      facts: facts("z", {
        data: {
          kind: "held",
          clusterId: "c1",
          memberId: "id-z",
          lineage: life,
          revision: 9,
          ...(lastLog && { lastLog }),
        },
      }),
    });
  const lost = (each: ReturnType<typeof removed>) => quorumLost(view("x", { peers: [survivor("a", 2, 100), each] }));
  assertEquals(lost(removed({ term: 2, index: 50 }))?.survivors, ["a"]);
  assertEquals(lost(removed({ term: 2, index: 150 })), undefined, "its log is newer: it may have joined later");
  assertEquals(lost(removed()), undefined, "its log is not known");
});
