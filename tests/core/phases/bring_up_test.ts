import { step } from "../../../lib/core/step.ts";
import { createNode } from "../../../lib/core/state/state.ts";
import type { Pledge } from "../../../lib/core/facts/node_record.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, data, member, settings, type StateChange } from "../facts.ts";

const now = { monotonicMs: 1_000, wallMs: 1_000_000 };
const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const voter = member("a");
const lineage = { id: "l", epoch: 2, token: "t" };

/** The codes of the decisions of one turn, and of the wait after it, of a node whose etcd is ready. */
function codes(change: StateChange, own = voter): string[] {
  const before = changed(
    createNode(self, settings({ requiredSize: 1, gossip: false }), "seed", now),
    {
      phase: "restarting",
      disk: { data: data("a", [own]), recordPersisted: true },
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
      membership: { endpoints: new Map([[self.clientUrl, answering(answer("a", [own]), now.monotonicMs)]]) },
    },
    change,
  );
  const { node } = step(before, { kind: "timer" }, now);
  const decided = node.reports.journal.filter(({ what }) => what === "decided").map(({ reason }) => reason.code);
  return [...decided, ...node.reports.waitingFor === undefined ? [] : [`waits ${node.reports.waitingFor.code}`]];
}

Deno.test("a learner joins and waits until it has caught up", () => {
  assertEquals(codes({}, { ...voter, isLearner: true }), ["is_learner", "waits catching_up"]);
});

Deno.test("a voter serves once -n was compared with the cluster record", () => {
  assertEquals(codes({}), ["waits record_check"]);
  assertEquals(codes({ membership: { clusterRecordVerified: true } })[0], "etcd_ready");
});

Deno.test("a restored cluster serves once its volatile keys are deleted", () => {
  const started = { lineage, how: "restored" as const, renounced: [] };
  assertEquals(codes({ disk: { record: { nonce: "n", pledges: [], started } } }), ["waits clearing_volatile"]);
});

Deno.test("a commitment ends when the data-dir becomes unusable", () => {
  const committing: Pledge = { digest: "d", token: "t", lineage, initialMembers: [], source: { kind: "empty" } };
  const stopped: StateChange = { bootstrap: { committing }, ownEtcd: { etcd: { kind: "stopped" } } };
  const damaged: StateChange = { ...stopped, disk: { data: { kind: "damaged", what: "log" } } };
  assertEquals(codes(damaged), ["data_changed"]);
});
