import { knownCluster, leads, runningCluster } from "../../../lib/core/evidence/running_cluster.ts";
import { livingClusters } from "../../../lib/core/evidence/order.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { NodeRecord, StartedData } from "../../../lib/core/facts/node_record.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, member, peer, silent, view } from "../facts.ts";

const line = { id: "line", epoch: 1, token: "t" };
const started = (clusterId?: string): StartedData => ({
  lineage: line,
  how: "founded",
  renounced: [],
  ...(clusterId === undefined ? {} : { clusterId }),
});
const record = (change: Partial<NodeRecord> = {}): NodeRecord => ({ nonce: "n", pledges: [], ...change });

/** Each peer's etcd, with what it answers. */
function seen(of: Readonly<Record<string, Partial<EtcdAnswer>>>, change: Partial<View> = {}): View {
  const names = Object.keys(of);
  return view("x", {
    peers: names.map((name) => peer(name)),
    endpoints: new Map(
      names.map((name) => [`http://${name}:2379`, answering(answer(name, [member(name)], of[name]!))]),
    ),
    ...change,
  });
}

function told(at: View, clusterId?: string): string {
  const found = runningCluster(at, clusterId);
  if (found === undefined) return "none";
  return "contradiction" in found ? found.contradiction : `${found.answer.clusterId} via ${found.via.join(" ")}`;
}

Deno.test("livingClusters() are linearizable answers with a leader of peers that are here, the furthest first", () => {
  const of = (change: Partial<EtcdAnswer>) => livingClusters(seen({ a: change })).length;
  assertEquals(of({}), 1);
  assertEquals(of({ linearizable: false }), 0);
  assertEquals(of({ leaderId: undefined } as unknown as Partial<EtcdAnswer>), 0);
  const two = seen({ a: { raftAppliedIndex: 1 }, b: { raftAppliedIndex: 2 }, c: { raftAppliedIndex: 0 } });
  assertEquals(livingClusters(two).map(({ name }) => name), ["b", "a", "c"]);
  assertEquals(
    livingClusters({ ...two, peers: [peer("a", { state: "dead" }), peer("b", { state: "suspect" })] }).length,
    1,
  );
  assertEquals(livingClusters({ ...two, endpoints: new Map([["http://a:2379", silent(0)]]) }), []);
});

Deno.test("runningCluster() is the one that is asked for, else the record's, else the only one", () => {
  const two = { a: { clusterId: "c1" }, b: { clusterId: "c2" }, c: { clusterId: "c2" } };
  assertEquals(told(seen({})), "none");
  assertEquals(told(seen({ a: {} })), "c1 via http://a:2379");
  assertEquals(told(seen(two), "c2"), "c2 via http://b:2379 http://c:2379");
  assertEquals(told(seen(two), "c3"), "none");
  assertEquals(told(seen(two, { record: record({ started: started("c1") }) })), "c1 via http://a:2379");
  const text = "http://a:2379 serves cluster c1, http://b:2379 c2";
  assertEquals(told(seen(two)), text);
  // The same words whichever answers last.
  assertEquals(told(seen({ c: { clusterId: "c2" }, b: { clusterId: "c2" }, a: { clusterId: "c1" } })), text);
});

Deno.test("knownCluster() is the one of the very id that the record names, else the only one of its lineage", () => {
  const answers = [
    answer("a", [], { clusterId: "c1", lineage: line }),
    answer("b", [], { clusterId: "c2", lineage: { ...line, epoch: 2 } }),
    answer("z", [], { clusterId: "c3" }),
    answer("y", [], { clusterId: "c4", lineage: "absent" }),
  ];
  const known = (change: Partial<NodeRecord>, of = answers) => knownCluster(view("x", { record: record(change) }), of);
  assertEquals(known({}), undefined);
  assertEquals(known({ started: started("c2") }), "c2");
  assertEquals(known({ lost: started("c1") }), "c1");
  assertEquals(known({ seen: { clusterId: "c3", voters: [] } }), "c3");
  assertEquals(known({ started: started("c1"), lost: started("c2"), seen: { clusterId: "c3", voters: [] } }), "c1");
  assertEquals(known({ started: started("c9") }), undefined, "two lives of its lineage");
  assertEquals(known({ started: started("c9") }, answers.slice(1)), "c2");
  assertEquals(known({ former: [started("c9")] }, answers.slice(1)), "c2");
  assertEquals(known({ started: { ...started("c9"), lineage: { ...line, id: "x" } } }, answers.slice(1)), undefined);
});

Deno.test("leads() of the own etcd's answer with a quorum, of a voter that leads", () => {
  const own = answer("a", []);
  assertEquals(leads(own), true);
  assertEquals(leads(undefined), false);
  assertEquals(leads({ ...own, linearizable: false }), false);
  assertEquals(leads({ ...own, isLearner: true }), false);
  assertEquals(leads({ ...own, leaderId: "id-b" }), false);
});
