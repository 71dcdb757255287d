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
  const { members } = statusReport({
    node: nodeAt(nowMs),
    certificates: [],
    certificateFailures: [],
    nowWallMs: 0,
    nowMs,
  });
  assertEquals(members.map(({ name, role, reachable, gossip }) => [name, role, reachable, gossip]), [
    ["a", "voter", true, "self"],
    ["b", "leader", undefined, "alive"],
    ["d", "voter", false, "alive"],
  ]);
});

Deno.test("statusReport() tells how old a member's data is, a silent one's too, and nothing of whom it does not ask", () => {
  const nowMs = 100_000;
  const node = nodeAt(nowMs);
  const ages = () =>
    statusReport({ node, certificates: [], certificateFailures: [], nowWallMs: 0, nowMs }).members.map((
      { dataAgeMs },
    ) => dataAgeMs);
  assertEquals(ages(), [undefined, undefined, undefined]);
  for (const facts of node.endpoints.values()) Object.assign(facts, { currentAtMs: nowMs - 30_000 });
  assertEquals(ages(), [30_000, undefined, 30_000]);
});

Deno.test("statusReport() tells of the newest snapshot, whoever saved it, and keeps it when the store fails", () => {
  const node = nodeAt(0);
  const snapshots = () =>
    statusReport({ node, certificates: [], certificateFailures: [], nowWallMs: 0, nowMs: 0 }).snapshots;
  const set = (change: Partial<Node>) => Object.assign(node, change);
  set({ settings: { ...node.settings, snapshots: true } });
  assertEquals(snapshots(), { configured: true, lastRevision: 0, catalogue: "unconfigured" });
  const newest = {
    kind: "newest",
    hash: "h",
    revision: 7,
    takenAtWallMs: 1_000,
    verified: true,
    verifiedAtWallMs: 2_000,
    epochMax: 1,
  } as const;
  const [lastAt, verifiedAt] = ["1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z"];
  set({ store: { look: newest, newest } });
  const told = { configured: true, lastAt, lastRevision: 7, verifiedAt, catalogue: "newest" };
  assertEquals(snapshots(), told);
  set({ store: { look: { kind: "unreadable", code: "x", why: "no route" }, newest } });
  assertEquals(snapshots(), { ...told, catalogue: "unreadable", why: "no route" });
  // Saved by this node after that look.
  set({ lastSnapshotAtWallMs: 9_000, backup: { revision: 8, diverged: false } });
  set({ store: { look: { kind: "absent" }, newest: undefined } });
  const at = "1970-01-01T00:00:09.000Z";
  assertEquals(snapshots(), { configured: true, lastAt: at, lastRevision: 8, verifiedAt: at, catalogue: "newest" });
});

Deno.test("statusReport() tells what failed lately and was not done since, and what it cannot read of its certificates", () => {
  const nowMs = 100_000;
  const failed = (atMs: number) => ({ kind: "provideEtcd", text: "Cannot get an etcd 3.7: no route", atMs } as const);
  const reasons = (atMs: number, certificateFailures: string[] = []) =>
    statusReport({
      node: { ...nodeAt(nowMs), failing: new Map([["local", failed(atMs)]]) },
      certificates: [],
      certificateFailures,
      nowWallMs: 0,
      nowMs,
    });
  assertEquals(reasons(nowMs - 5_000).reasons.map(({ text }) => text), [
    "getting an etcd fails: Cannot get an etcd 3.7: no route",
  ]);
  assertEquals(reasons(nowMs - 60_000).reasons, []);
  const unreadable = reasons(0, ['Cannot read "/p/peer.key": permission denied']);
  assertEquals([unreadable.ready, unreadable.reasons.map(({ code }) => code)], [false, ["certificate_fails"]]);
});
