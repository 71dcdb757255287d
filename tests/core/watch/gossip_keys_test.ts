import { reportKeys } from "../../../lib/core/watch/gossip_keys.ts";
import type { KeyMismatch } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { turnOf } from "../turns.ts";

const mismatch = (kind: KeyMismatch["kind"], evidence: KeyMismatch["evidence"] = "answer"): KeyMismatch => ({
  kind,
  address: "b:7980",
  evidence,
});

Deno.test("reportKeys() reports each key that does not fit as a WARN, unless the node waits for it or anybody can forge it", () => {
  const reported = (mismatches: readonly KeyMismatch[], waits?: string) => {
    const problem = { level: "warn", reason: { code: "peer_without_gossip_key", text: "before" } } as const;
    const turn = turnOf({
      gossip: { gossipKeys: { fingerprint: "f", mismatches } },
      reports: {
        problems: new Map([["peer_without_gossip_key", problem]]),
        waitingFor: waits === undefined ? undefined : { code: waits, text: "t" },
      },
    });
    reportKeys(turn);
    return [...turn.node.reports.problems].map(([code, { level }]) => `${level} ${code}`);
  };
  assertEquals(reported([]), []);
  assertEquals(reported([mismatch("differs")]), ["warn gossip_key_differs"]);
  assertEquals(reported([mismatch("differs", "stream")]), ["warn gossip_key_differs"]);
  assertEquals(reported([mismatch("differs", "packet")]), []);
  assertEquals(reported([mismatch("peer_has_none"), mismatch("differs")]).sort(), [
    "warn gossip_key_differs",
    "warn peer_without_gossip_key",
  ]);
  assertEquals(reported([mismatch("differs")], "gossip_key_differs"), [], "the wait tells it already");
  assertEquals(reported([mismatch("differs")], "too_few_peers"), ["warn gossip_key_differs"]);
});
