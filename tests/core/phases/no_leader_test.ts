import { leaderlessReason, ownEtcdSilent } from "../../../lib/core/phases/no_leader.ts";
import { endLifeDigest, planOf } from "../../../lib/core/evidence/order.ts";
import type { GossipPeer, PeerFacts } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, member, nowMs, peer, settings, silent, type StateChange } from "../facts.ts";
import { turnOf } from "../turns.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const lineage = { id: "line", epoch: 1, token: "own" };
const started = { lineage, how: "founded", renounced: [], clusterId: "c1" } as const;
const held = (
  name: string,
  change: Partial<Extract<PeerFacts["data"], { kind: "held" }>> = {},
  more: Partial<PeerFacts> = {},
) =>
  peer(name, {
    facts: facts(name, {
      data: { kind: "held", clusterId: "c1", memberId: `id-${name}`, lineage, revision: 0, ...change },
      ...more,
    }),
  });
const gone = (name: string, forMs: number, state: "dead" | "left" = "dead") =>
  peer(name, { state, sinceMs: nowMs - forMs });
const left = (...of: readonly (readonly [name: string, agoMs: number])[]): StateChange => ({
  gossip: {
    rememberedPeers: new Map(
      of.map(([name, agoMs]) => [name, { peerUrl: `http://${name}:2380`, leftAtMs: nowMs - agoMs }]),
    ),
  },
});

/** Node a, whose etcd runs without a leader for so long. */
function leaderless(forMs: number, peers: readonly GossipPeer[], ...changes: readonly StateChange[]) {
  return turnOf([
    {
      phase: "serving",
      disk: { data: data("a", members), record: { nonce: "n", pledges: [], started } },
      gossip: { peers, known: peers },
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, leaderlessSinceMs: nowMs - forMs },
      membership: { endpoints: new Map(["b", "c"].map((name) => [`http://${name}:2379`, silent(nowMs - forMs)])) },
    },
    ...changes,
  ]);
}
const told = (...of: Parameters<typeof leaderless>) => {
  const { level, reason } = leaderlessReason(leaderless(...of));
  return `${level} ${reason.code}`;
};
const dead = [gone("b", 60_000), gone("c", 60_000)];

Deno.test("an election is no alarm, nor is a planned restart; a quorum that stays away is one", () => {
  assertEquals([told(9_999, dead), told(10_000, dead)], ["info electing", "warn no_quorum"]);
  assertEquals(
    told(60_000, dead, { process: { watchingSinceMs: nowMs - 9_999 } }),
    "info electing",
    "as long as it watched",
  );
  assertEquals(told(60_000, dead, { ownEtcd: { leaderlessSinceMs: undefined } }), "info electing");
  const inFlight = (kind: "upgradeEtcd" | "stopEtcd"): StateChange => ({
    effects: { inFlight: new Map([["local", { kind, id: 1 }]]) as never },
  });
  assertEquals([told(60_000, dead, inFlight("upgradeEtcd")), told(60_000, dead, inFlight("stopEtcd"))], [
    "info plan_goes_on",
    "warn no_quorum",
  ]);
});

Deno.test("members that stopped in order are no alarm while they are why the quorum is missing", () => {
  const both = left(["b", 60_000], ["c", 30_000]);
  const stopped = [gone("b", 60_000, "left"), gone("c", 30_000, "left")];
  assertEquals(told(60_000, stopped, both), "info members_stopped");
  const { text } = leaderlessReason(leaderless(60_000, stopped, both)).reason;
  assertEquals(text, '"b", "c" stopped normally; writes are stopped until enough members return');
  assertEquals(
    told(60_000, [stopped[0]!, gone("c", 60_000)], left(["b", 60_000])),
    "warn no_quorum",
    "another one died",
  );
  assertEquals(
    told(200_000, [gone("b", 200_000, "left"), gone("c", 180_000, "left")], left(["b", 200_000], ["c", 180_000])),
    "warn no_quorum",
    "they stay away",
  );
});

Deno.test("an etcd that is apart from its cluster's quorum is told as that, and no other cluster's quorum counts", () => {
  const beside = (clusterId: string): StateChange => ({
    membership: {
      endpoints: new Map([["http://b:2379", answering(answer("b", members, { clusterId, leaderId: "id-b" }))]]),
    },
  });
  assertEquals(told(60_000, [peer("b")], beside("c1")), "warn etcd_apart");
  assertEquals(told(60_000, [peer("b")], beside("c2")), "warn no_quorum");
  assertEquals(told(60_000, [peer("b")], beside("c1"), { disk: { data: { kind: "unknown" } } }), "warn no_quorum");
  const both = ["b", "c"].map((name) =>
    [`http://${name}:2379`, answering(answer(name, members, { clusterId: `c-${name}` }))] as const
  );
  assertEquals(told(60_000, [peer("b"), peer("c")], { membership: { endpoints: new Map(both) } }), "warn no_quorum");
  const { hint } = leaderlessReason(leaderless(60_000, [peer("b")], beside("c1"))).reason;
  assertEquals(hint, "check the network between this node and the other members, and the log of etcd");
});

Deno.test("voters whose data cannot be used are an ERROR", () => {
  const unusable = ["b", "c"].map((name) =>
    peer(name, { facts: facts(name, { data: { kind: "unusable", why: "crc" } }) })
  );
  assertEquals(told(60_000, unusable), "error members_unusable");
});

Deno.test("another life that stands against the own one is an ERROR with both choices, until an operator has chosen", () => {
  const later = { lineage: { ...lineage, token: "other", epoch: 2 }, clusterId: "c2" };
  const rival = [held("b", later, { undecided: lineage }), gone("c", 60_000)];
  assertEquals(told(60_000, rival), "error two_epochs");
  const { reason } = leaderlessReason(leaderless(60_000, rival));
  assertEquals(
    reason.text,
    'etcd has no leader, and "b" holds another life of this cluster (epoch 2, this node epoch 1): an operator must choose',
  );
  assertEquals([reason.choices?.length, reason.hint?.split(";")[0]], [
    2,
    "start the members of the life that must continue",
  ]);
  const approved = [planOf(endLifeDigest(later.lineage, lineage))];
  assertEquals(told(60_000, rival, { settings: settings({ approved }) }), "warn no_quorum");
  const unknown: StateChange = { disk: { data: { kind: "unknown" }, record: { nonce: "n", pledges: [] } } };
  assertEquals(told(60_000, rival, unknown), "warn no_quorum", "no own life is known");
});

Deno.test("a lost quorum names when a recovery begins, or what keeps it from that", () => {
  const { reason } = leaderlessReason(leaderless(60_000, dead));
  assertEquals([reason.text, reason.hint], [
    "no quorum: etcd has no leader, and writes are stopped",
    "start the missing members; otherwise the disaster recovery from a survivor begins at 22:22:20 UTC; to prevent it, " +
    "run on this node: e2d hold",
  ]);
  const never = leaderlessReason(leaderless(60_000, dead, { settings: settings({ quorumLossTimeoutMs: "never" }) }));
  assertEquals([never.level, never.reason.code, never.reason.text, never.reason.hint], [
    "error",
    "no_quorum",
    "no quorum: etcd has no leader, and writes are stopped; no disaster recovery begins: --quorum-loss-timeout never",
    "bring members back",
  ]);
  assertEquals(told(60_000, [held("b"), gone("c", 60_000)]), "warn no_quorum");
});

Deno.test("an own etcd that served and answers nothing is told as that, with the time of its restart", () => {
  const quiet = (failingForMs: number | undefined, ...changes: readonly StateChange[]) => {
    const facts = failingForMs === undefined ? answering(answer("a", members)) : silent(nowMs - failingForMs);
    const turn = leaderless(
      60_000,
      dead,
      { membership: { endpoints: new Map([["http://a:2379", facts]]) } },
      ...changes,
    );
    const found = ownEtcdSilent(turn);
    return found && [found.level, found.reason.code, found.reason.hint];
  };
  const look = "check the disk and the load of this machine";
  const due = `${look}; etcd is restarted at 22:14:20 UTC unless it shows progress`;
  const progress = {
    ownEtcd: { etcdProgress: { atMs: nowMs, busy: false, startsAgain: false, restarts: 0, restartedAtMs: 0 } },
  };
  assertEquals([quiet(9_999, progress), quiet(10_000, progress)], [
    ["info", "etcd_silent", due],
    ["warn", "etcd_silent", due],
  ]);
  assertEquals(
    quiet(60_000, progress, { process: { watchingSinceMs: nowMs - 5 } })?.[0],
    "info",
    "as long as it watched",
  );
  assertEquals(quiet(undefined), undefined);
  assertEquals(quiet(60_000, { ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } }), undefined);
  assertEquals(
    told(60_000, dead, { membership: { endpoints: new Map([["http://a:2379", silent(0)]]) } }),
    "warn etcd_silent",
  );
});
