/** Gossip keys that do not fit, as an operator is told of them. */
import { explainSilence, keyReasons } from "../../../lib/core/rules/gossip_keys.ts";
import { step } from "../../../lib/core/step.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { changed, data, member, settings, type StateChange, view } from "../facts.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import type { GossipKeys, KeyMismatch } from "../../../lib/core/facts/peer.ts";

const mismatch = (address: string, change: Partial<KeyMismatch> = {}): KeyMismatch => ({
  kind: "differs",
  address,
  evidence: "answer",
  ...change,
});
const keys = (...mismatches: KeyMismatch[]): GossipKeys => ({ fingerprint: "ab12cd34ef56", mismatches });
const at = (ms: number) => ({ monotonicMs: ms, wallMs: ms });

function nodeA(change: StateChange = {}): NodeState {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  return changed(createNode(self, settings({ seeds: ["10.0.0.1:7980"] }), "seed", at(0)), change);
}

Deno.test("keyReasons() names each kind of key that does not fit, the address, and what mends it", () => {
  assertEquals(keyReasons(keys()), []);
  const [differs, none, missing] = keyReasons(keys(
    mismatch("10.0.0.1:7980"),
    mismatch("10.0.0.2", { evidence: "stream" }),
    mismatch("10.0.0.3:7980", { kind: "peer_has_none" }),
    mismatch("10.0.0.4:7980", { kind: "own_missing" }),
  ));
  assertEquals(
    [differs, none, missing].map((reason) => `${reason!.code}: ${reason!.text}`),
    [
      "gossip_key_differs: 10.0.0.1:7980 answers and 10.0.0.2 connects, but with another gossip key (ours ab12cd34ef56)",
      "peer_without_gossip_key: 10.0.0.3:7980 answers, but without a gossip key, and this node has one (ours ab12cd34ef56)",
      "gossip_key_missing: 10.0.0.4:7980 answers, but encrypted, and this node has no gossip key",
    ],
  );
  assert(
    differs!.hint!.includes("e2d pki inspect") && none!.hint!.includes("ca.key") && missing!.hint!.includes("ca.key"),
  );
});

Deno.test("explainSilence() tells why nobody is there, and leaves every other wait as it is", () => {
  const known = view("a", { gossipKeys: keys(mismatch("10.0.0.1:7980")) });
  for (const code of ["no_peer_answers", "too_few_peers", "too_many_silent", "cluster_silent"]) {
    const { code: told, text } = explainSilence({ code, text: "1 of 3 nodes have gathered" }, known);
    assertEquals([told, text.endsWith("; 1 of 3 nodes have gathered")], ["gossip_key_differs", true]);
  }
  assertEquals(explainSilence({ code: "peer_inspecting", text: "" }, known).code, "peer_inspecting");
  assertEquals(explainSilence({ code: "no_peer_answers", text: "" }, view("a")).code, "no_peer_answers");
});

Deno.test("a node that nobody joins for its key says so as an error, and goes on when the key fits", () => {
  const before = nodeA({ phase: "gathering", disk: { data: { kind: "absent" }, recordPersisted: true } });
  const told = { kind: "gossip", joined: false, peers: [], keys: keys(mismatch("10.0.0.1:7980")) } as const;
  const { node, effects } = step(before, told, at(10));
  assertEquals(node.reports.waitingFor?.code, "gossip_key_differs");
  const entries = effects.flatMap((effect) => effect.kind === "journal" ? [effect.entry] : []);
  assertEquals(entries.map(({ level, reason }) => `${level} ${reason.code}`), ["error gossip_key_differs"]);
  const next = step(node, { ...told, keys: keys() }, at(20)).node;
  assertEquals([next.reports.waitingFor?.code, next.reports.problems.size], ["no_peer_answers", 0]);
});

Deno.test("a node that serves warns once of a newcomer with another key, and of no packet that anybody can forge", () => {
  const members = ["a", "b", "c"].map((name) => member(name));
  let node = nodeA({ phase: "serving", disk: { data: data("a", members), recordPersisted: true } });
  const hear = (ms: number, ...mismatches: KeyMismatch[]) => {
    const { node: next, effects } = step(
      node,
      { kind: "gossip", joined: true, peers: [], keys: keys(...mismatches) },
      at(ms),
    );
    node = next;
    return effects.flatMap((effect) =>
      effect.kind === "journal" && effect.entry.reason.code.includes("gossip_key") ? [effect.entry.level] : []
    );
  };
  assertEquals(hear(10, mismatch("10.0.0.9:7980", { evidence: "packet" })), []);
  assertEquals(hear(20, mismatch("10.0.0.9", { evidence: "stream" })), ["warn"]);
  assertEquals(hear(30, mismatch("10.0.0.9", { evidence: "stream" })), []);
  assertEquals([...node.reports.problems.values()].map(({ level }) => level), ["warn"]);
  assertEquals(hear(40), ["info"]);
  assertEquals(node.reports.problems.size, 0);
});

Deno.test("keyReasons() names three addresses at most, in the number that they have", () => {
  const text = (count: number, evidence: KeyMismatch["evidence"]) => {
    const addresses = Array.from({ length: count }, (_, at) => mismatch(`10.0.0.${at + 1}`, { evidence }));
    return keyReasons({ mismatches: addresses })[0]!.text;
  };
  const other = "but with another gossip key";
  assertEquals(text(1, "packet"), `10.0.0.1 sends packets, ${other}`);
  assertEquals(text(2, "stream"), `10.0.0.1, 10.0.0.2 connect, ${other}`);
  assertEquals(text(3, "answer"), `10.0.0.1, 10.0.0.2, 10.0.0.3 answer, ${other}`);
  assertEquals(text(4, "answer"), `10.0.0.1, 10.0.0.2, 10.0.0.3 and 1 more answer, ${other}`);
  assertEquals(text(5, "answer"), `10.0.0.1, 10.0.0.2, 10.0.0.3 and 2 more answer, ${other}`);
});
