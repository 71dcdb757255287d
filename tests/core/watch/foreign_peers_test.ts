import { foreignCluster, separateForeign, shunAfterMs } from "../../../lib/core/watch/foreign_peers.ts";
import type { GossipPeer } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { changed, data, facts, member, nowMs, peer, settings, type StateChange } from "../facts.ts";
import { fresh, linesOf, problemOf, requestsOf, turnAfter, turnOf } from "../turns.ts";

const [x, y] = ["X", "Y"].map((id) => ({ id, epoch: 1, token: id })) as [typeof one, typeof one];
const one = { id: "", epoch: 1, token: "" };
const of = (name: string, lineage: typeof one, clusterId = "") =>
  peer(name, {
    facts: facts(name, { data: { kind: "held", clusterId, memberId: `id-${name}`, lineage, revision: 1 } }),
  });
const own: StateChange = {
  disk: {
    data: data("a", [member("a")]),
    record: { nonce: "n", pledges: [], started: { lineage: x, how: "founded", renounced: [] } },
  },
  settings: settings({ seeds: ["b:7980", "p:7980"] }),
};
const known = (...peers: GossipPeer[]): StateChange => ({ gossip: { known: peers } });
const named = (peers: readonly GossipPeer[]) => peers.map(({ name }) => name).join(" ");

Deno.test("separateForeign() keeps the peers of another cluster from the rules, and all others with them", () => {
  const separated = (change: StateChange, ...peers: GossipPeer[]) => {
    const turn = turnOf([change, known(...peers)]);
    separateForeign(turn);
    const { node } = turn;
    return [named(node.gossip.peers), [...node.gossip.foreign], problemOf(turn, "foreign_cluster")];
  };
  const text = (who: string) =>
    `error ready: the gossip of this node reaches another cluster, lineage Y: ${who}; this node belongs to cluster c1 ` +
    "(lineage X)";
  const [b, c, p, q] = [of("b", x, "c1"), peer("c"), of("p", y), of("q", y)];
  assertEquals(separated(own, b, c), ["b c", [], undefined]);
  assertEquals(separated(own, b, p, c, q), ["b c", [["p", nowMs], ["q", nowMs]], text('"p" (p:7980), "q" (q:7980)')]);
  assertEquals(separated(own, b, p).slice(0, 2), ["b", [["p", nowMs]]]);
  assertEquals(separated({}, p), ["p", [], undefined], "a node that belongs to none has none that is foreign");
  const stays = { ...own, gossip: { foreign: new Map([["p", 5]]) } };
  assertEquals(separated(stays, b, p, q)[1], [["p", 5], ["q", nowMs]]);
});

Deno.test("separateForeign() has gossip keep apart from a peer that has been foreign for 7 s, and no longer once it is not", () => {
  let node = changed(fresh, own, known(of("b", x, "c1"), of("p", y)));
  const turn = (afterMs: number, change: StateChange = {}) => {
    const next = turnAfter(changed(node, change), afterMs);
    separateForeign(next);
    node = next.node;
    return [requestsOf(next), next.wakeMs];
  };
  assertEquals(shunAfterMs, 7_000);
  assertEquals(turn(0), [[], nowMs + 7_000]);
  assertEquals(turn(6_999), [[], nowMs + 7_000]);
  assertEquals(turn(7_000), [[{ kind: "shunPeers", names: ["p"] }], Infinity]);
  assertEquals(turn(7_001), [[], Infinity]);
  assertEquals(node.gossip.shunned, ["p"]);
  assertEquals(turn(8_000, known(of("b", x, "c1"))), [[{ kind: "shunPeers", names: [] }], Infinity]);
  assertEquals(node.reports.problems.size, 0);
});

Deno.test("the report of a foreign cluster is journaled once", () => {
  const turn = turnOf([own, known(of("p", y))]);
  separateForeign(turn);
  separateForeign(turn);
  assertEquals(linesOf(turn).length, 1);
});

Deno.test("foreignCluster() names the wrong bootstrap address, or at which node to look for it", () => {
  const hint = (seeds: readonly string[], ...foreign: GossipPeer[]) => {
    const turn = turnOf([own, {
      settings: settings({ seeds }),
      gossip: { peers: [peer("b"), peer("d", { state: "dead" })] },
    }]);
    const reason = foreignCluster(foreign, { lineageId: "X" }, turn);
    assertEquals(reason.code, "foreign_cluster");
    return reason.hint;
  };
  const otherwise = "to give this node to the other cluster, stop it and move its data-dir and .e2d.json away";
  const [p, q] = [of("p", y), of("q", y)];
  assertEquals(
    hint(["b:7980", "q:7980", "p:7980"], p, q),
    `remove p:7980, q:7980 from this node's --bootstrap-addrs and restart it; ${otherwise}`,
  );
  assertEquals(hint(["p:7980"], p), `remove p:7980 from this node's --bootstrap-addrs and restart it; ${otherwise}`);
  assertEquals(
    hint(["b:7980"], p, q),
    "find the node with an address of the other cluster in its --bootstrap-addrs: one of p:7980, q:7980 on a node of " +
      `this cluster, or one of a:7980, b:7980 on a node of the other; ${otherwise}`,
  );
});
