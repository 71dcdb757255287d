import fc from "fast-check";
import { goneForMs, refusalToRemove, selfQuorumLost, unreachableForMs } from "../../lib/core/quorum.ts";
import { quorumOf } from "../../lib/core/view.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { answer, answering, data, facts, member, nowMs, peer, settings, silent, view } from "./facts.ts";

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
  assert(with_(answering(answer("b", members, { alarms: ["CORRUPT"] }))) !== undefined);
  assert(with_(answering(answer("b", members), nowMs - 6_000)) !== undefined);
  assert(with_(answering(answer("b", members, { leaderId: "id-c" }))) !== undefined);
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
