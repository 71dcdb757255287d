import { committedIndex, logConflict, withEarlier } from "../../../lib/core/evidence/log_terms.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { LogPosition } from "../../../lib/core/facts/node_record.ts";
import type { GossipPeer } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, goPeer, member, peer, view } from "../facts.ts";

const at = (...starts: readonly [term: number, index: number][]): LogPosition[] =>
  starts.map(([term, index]) => ({ term, index }));
const terms = (...starts: readonly [number, number][]) => ({ clusterId: "c1", starts: at(...starts) });
const own = { ...terms([2, 4], [3, 20]), committedIndex: 100 };
const saw = (name: string, starts: readonly [number, number][], change: Partial<GossipPeer> = {}, clusterId = "c1") =>
  peer(name, { facts: facts(name, { logTerms: { clusterId, starts: at(...starts) } }), ...change });

function conflict(peers: readonly GossipPeer[], change: Partial<View> = {}): string | undefined {
  const found = logConflict(view("a", { data: data("a", [member("a")]), logTerms: own, peers, ...change }));
  return found && `${found.index}: ${found.ownTerm} here, ${found.term} at ${found.name}`;
}

Deno.test("logConflict() finds the first committed entry that another log of the cluster has in another term", () => {
  assertEquals(conflict([saw("b", [[2, 4], [4, 15]])]), "15: 2 here, 4 at b");
  assertEquals(conflict([saw("b", [[5, 60]]), saw("c", [[4, 50]])]), "50: 3 here, 4 at c");
  assertEquals(conflict([saw("c", [[4, 50]]), saw("b", [[4, 50]])]), "50: 3 here, 4 at b");
  assertEquals(conflict([saw("b", [[4, 100]], { state: "suspect" })]), "100: 3 here, 4 at b");
  const none: readonly [string, readonly GossipPeer[]][] = [
    ["the same", [saw("b", [[2, 4], [3, 20]])]],
    ["in the middle of a term", [saw("b", [[2, 10], [3, 90]])]],
    ["not committed here", [saw("b", [[4, 101]])]],
    ["before what is known here", [saw("b", [[1, 3]])]],
    ["another cluster", [saw("b", [[4, 15]], {}, "c2")]],
    ["a peer that is gone", [saw("b", [[4, 15]], { state: "dead" })]],
    ["nothing is known of it", [peer("b"), goPeer("g")]],
  ];
  for (const [what, peers] of none) assertEquals(conflict(peers), undefined, what);
});

Deno.test("logConflict() says nothing without the own log, or of the log of other data", () => {
  const b = [saw("b", [[4, 15]])];
  assertEquals(conflict(b, { data: { kind: "absent" } }), undefined);
  assertEquals(conflict(b, { data: data("a", [], { clusterId: "c2" }) }), undefined);
  const { logTerms: _, ...unread } = view("a", { data: data("a", [member("a")]), peers: b });
  assertEquals(logConflict(unread), undefined);
});

Deno.test("committedIndex() is what the own member has applied or reported, whichever is higher", () => {
  const reported = (index: number, memberId = "id-a") =>
    committedIndex(view("a", {
      data: data("a", [member("a")], { raftIndex: 100 }),
      endpoints: new Map([["http://a:2379", answering({ ...answer("a", []), memberId, raftIndex: index })]]),
    }));
  assertEquals([reported(90), reported(120), reported(120, "id-b")], [100, 120, 100]);
  assertEquals(committedIndex(view("a", { data: { kind: "absent" } })), 0);
});

Deno.test("withEarlier() keeps what lay before the first entry of the newest file, of the same cluster", () => {
  assertEquals(withEarlier(terms([1, 1], [2, 4]), terms([2, 9], [3, 20])), terms([1, 1], [2, 4], [2, 9], [3, 20]));
  assertEquals(withEarlier(terms([1, 1], [2, 9], [3, 20]), terms([2, 9], [4, 15])), terms([1, 1], [2, 9], [4, 15]));
  assertEquals(withEarlier({ clusterId: "c2", starts: at([1, 1]) }, terms([2, 9])), terms([2, 9]));
  assertEquals(withEarlier(undefined, terms([2, 9])), terms([2, 9]));
  const many = Array.from({ length: 40 }, (_, i): [number, number] => [i + 1, i + 1]);
  assertEquals(withEarlier(terms(...many), terms([50, 90])).starts.length, 32);
});
