import { rememberCluster } from "../../../lib/core/watch/node_record.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, member, nowMs, settings, view } from "../facts.ts";
import { copyOf, createNode } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { Pledge } from "../../../lib/core/facts/node_record.ts";

const lineage = { id: "line", epoch: 2, token: "recovery" };
const pledge: Pledge = { initialMembers: [], source: { kind: "empty" }, lineage, digest: "d", token: "recovery" };

/** How many pledges the record that is written keeps; undefined: none is written. */
function pledgesAfter(linearizable: boolean, leaderlessSinceMs?: number): number | undefined {
  const now = { monotonicMs: nowMs, wallMs: 0 };
  const { self } = view("a");
  const own = answering(answer("a", [member("a")], { linearizable }));
  const node = changed(createNode(self, settings(), "seed", now), {
    ownEtcd: { leaderlessSinceMs },
    disk: { record: { nonce: "n", pledges: [pledge] }, logsWrittenMs: nowMs },
    membership: { endpoints: new Map([[self.clientUrl, own]]) },
  });
  const turn = new Turn(copyOf(node), now);
  rememberCluster(turn);
  const written = turn.effects.find((effect) => effect.kind === "writeRecord");
  return written?.kind === "writeRecord" ? written.record.pledges.length : undefined;
}

Deno.test("rememberCluster() voids every pledge once a quorum of the own life lives, and only then", () => {
  assertEquals(pledgesAfter(true), 0);
  assertEquals(pledgesAfter(false), undefined);
  assertEquals(pledgesAfter(true, nowMs - 1), undefined);
});
