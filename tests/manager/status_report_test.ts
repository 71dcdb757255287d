import { createNode, type Node } from "../../lib/core/node.ts";
import type { EtcdAnswer, Settings } from "../../lib/core/view.ts";
import { statusReport } from "../../lib/manager/status_report.ts";
import { assertEquals } from "../support/assert.ts";

const member = (name: string, number: number) => ({
  id: String(number),
  name,
  peerUrls: [`http://10.0.0.${number}:2380`],
  clientUrls: [`http://10.0.0.${number}:2379`],
  isLearner: false,
});
const members = [member("a", 1), member("b", 2), member("d", 3)];
const answer = {
  kind: "answer",
  memberId: "1",
  clusterId: "c",
  leaderId: "2",
  members,
  alarms: [],
  raftIndex: 9,
  raftAppliedIndex: 9,
} as unknown as EtcdAnswer;

function nodeAt(nowMs: number): Node {
  const self = { name: "a", peerUrl: members[0]!.peerUrls[0]!, clientUrl: members[0]!.clientUrls[0]! };
  const node = createNode(self as Node["self"], { requiredSize: 3 } as Settings, "seed", {
    monotonicMs: 0,
    wallMs: 0,
  });
  const facts = (last: unknown, atMs: number) => ({ last, atMs, failures: 0, appliedIndex: 0, progressAtMs: 0 });
  return Object.assign(node, {
    phase: "serving",
    endpoints: new Map([
      [members[0]!.clientUrls[0], facts(answer, nowMs)],
      // Asked once, while this node was starting.
      [members[1]!.clientUrls[0], facts({ kind: "unreachable" }, nowMs - 60_000)],
      [members[2]!.clientUrls[0], facts({ kind: "unreachable" }, nowMs)],
    ]),
    peers: [
      // The dead one, at whose address "d" stands now.
      { name: "c", state: "dead", peerUrl: members[2]!.peerUrls[0] },
      { name: "b", state: "alive", peerUrl: members[1]!.peerUrls[0] },
      { name: "d", state: "alive", peerUrl: members[2]!.peerUrls[0] },
    ],
  });
}

Deno.test("statusReport() calls nobody silent that was not asked lately, and knows a successor by its name", () => {
  const nowMs = 100_000;
  const { members } = statusReport({ node: nodeAt(nowMs), certificates: [], nowWallMs: 0, nowMs });
  assertEquals(members.map(({ name, role, reachable, gossip }) => [name, role, reachable, gossip]), [
    ["a", "voter", true, "self"],
    ["b", "leader", undefined, "alive"],
    ["d", "voter", false, "alive"],
  ]);
});
