import { leadsItself, takeOver } from "../../../lib/core/phases/take_over.ts";
import type { GossipPeer } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, member, nowMs, peer, settings, type StateChange } from "../facts.ts";
import { linesOf, problemOf, requestsOf, turnOf } from "../turns.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const own = answer("a", members, { leaderId: "id-b" });
const gossip = (...peers: GossipPeer[]): StateChange => ({ gossip: { peers, known: peers } });
const dead = peer("b", { state: "dead", sinceMs: 0 });
const silent = (forMs: number): StateChange => ({
  membership: { silentManager: { leaderId: "id-b", sinceMs: nowMs - forMs } },
});
const before: StateChange = {
  reports: {
    problems: new Map(["manager_silent", "gossip_cut_off"].map((code) => [
      code,
      { level: "warn", reason: { code, text: "before" } } as const,
    ])),
  },
};

Deno.test("takeOver() reports a silent manager beside the leader, and moves the leadership once it is this node's turn", () => {
  const taken = (...changes: readonly StateChange[]) => {
    const turn = turnOf([{ settings: settings({ healthCheckTimeoutMs: 60_000 }) }, before, ...changes]);
    const takes = takeOver(turn, own);
    return {
      takes,
      requests: requestsOf(turn),
      wakesInMs: turn.wakeMs - nowMs,
      problems: ["manager_silent", "gossip_cut_off"].map((code) => problemOf(turn, code)?.split(";")[0]),
      since: turn.node.membership.silentManager?.sinceMs,
      decided: linesOf(turn).filter((line) => line.includes("moveLeader")).length,
    };
  };
  const nothing = { takes: false, requests: [], wakesInMs: Infinity, problems: [undefined, undefined], decided: 0 };
  assertEquals(taken(gossip(peer("b"), peer("c")), silent(90_000)), { ...nothing, since: undefined });
  assertEquals(taken(gossip(dead, peer("c"))), { ...nothing, since: nowMs }, "it has just fallen silent");
  const text = 'warn: "b" leads etcd and its e2d is silent: no snapshots, no replacing of members';
  const again = turnOf([before, gossip(dead, peer("c")), silent(20_000)]);
  takeOver(again, own);
  assertEquals(linesOf(again).filter((line) => line.includes(" resolved manager_silent")), []);
  const waits = taken(gossip(dead, peer("c")), silent(20_000));
  assertEquals(waits, { ...nothing, wakesInMs: 40_000, problems: [text, undefined], since: nowMs - 20_000 });
  const moves = taken(gossip(dead, peer("c")), silent(60_000));
  const move = { kind: "moveLeader", to: "id-a", via: "http://b:2379", id: 1 } as const;
  assertEquals(moves, { ...nothing, takes: true, requests: [move], since: nowMs - 60_000, decided: 1 });
  const busy = taken(gossip(dead, peer("c")), silent(60_000), {
    effects: { inFlight: new Map([["cluster", { ...move, id: 7 }]]) },
  });
  assertEquals([busy.takes, busy.requests, busy.decided], [true, [], 0]);
  const cutOff = taken(gossip(dead, peer("c", { state: "dead" })), silent(60_000));
  assertEquals([cutOff.takes, cutOff.problems, cutOff.wakesInMs], [
    false,
    [undefined, "warn: gossip shows this node the nodes of 1 of 3 voters, while its etcd has a leader and a quorum"],
    Infinity,
  ]);
});

Deno.test("leadsItself() ends every report of a silent manager", () => {
  const turn = turnOf([before, silent(5)]);
  leadsItself(turn);
  assertEquals([turn.node.reports.problems.size, turn.node.membership.silentManager], [0, undefined]);
});
