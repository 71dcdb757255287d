import { changed, type StateChange } from "../core/facts.ts";
import { statusReport } from "../../lib/manager/status/report.ts";
import { assertEquals } from "../support/assert.ts";
import { createNode, type NodeState } from "../../lib/core/state/state.ts";
import type { EtcdAnswer } from "../../lib/core/facts/cluster.ts";
import type { Settings } from "../../lib/core/facts/settings.ts";

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
  statusErrors: [],
  raftIndex: 9,
  raftAppliedIndex: 9,
} as unknown as EtcdAnswer;

function nodeAt(nowMs: number): NodeState {
  const self = { name: "a", peerUrl: members[0]!.peerUrls[0]!, clientUrl: members[0]!.clientUrls[0]! };
  const node = createNode(self as NodeState["self"], { requiredSize: 3 } as Settings, "seed", {
    monotonicMs: 0,
    wallMs: 0,
  });
  const facts = (last: unknown, atMs: number) => ({ last, atMs, failures: 0, appliedIndex: 0, progressAtMs: 0 });
  return changed(node, {
    phase: "serving",
    membership: {
      endpoints: new Map([
        [members[0]!.clientUrls[0], facts(answer, nowMs)],
        // Asked once, while this node was starting.
        [members[1]!.clientUrls[0], facts({ kind: "unreachable" }, nowMs - 60_000)],
        [members[2]!.clientUrls[0], facts({ kind: "unreachable" }, nowMs)],
      ]),
    } as Partial<NodeState["membership"]>,
    gossip: {
      peers: [
        // The dead one, at whose address "d" stands now.
        { name: "c", state: "dead", peerUrl: members[2]!.peerUrls[0] },
        { name: "b", state: "alive", peerUrl: members[1]!.peerUrls[0] },
        { name: "d", state: "alive", peerUrl: members[2]!.peerUrls[0] },
      ],
    } as unknown as Partial<NodeState["gossip"]>,
  });
}

Deno.test("statusReport() reports no member as silent that was not probed recently, and finds a successor by name", () => {
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

Deno.test("statusReport() ignores the answer of another member at a former member's address", () => {
  const nowMs = 100_000;
  const node = nodeAt(nowMs);
  const facts = node.membership.endpoints.get(members[2]!.clientUrls[0]!)!;
  const of = (memberId: string) => {
    Object.assign(facts, {
      last: { ...answer, memberId, version: "3.6.14", alarms: [{ type: "NOSPACE", memberId }] },
      currentAtMs: nowMs,
    });
    const report = statusReport({ node, certificates: [], certificateFailures: [], nowWallMs: 0, nowMs });
    const { reachable, version, alarms, dataAgeMs } = report.members[2]!;
    return { reachable, version, alarms, dataAgeMs };
  };
  assertEquals(of("3"), { reachable: true, version: "3.6.14", alarms: ["NOSPACE"], dataAgeMs: 0 });
  assertEquals(of("7"), { reachable: false, version: undefined, alarms: [], dataAgeMs: undefined });
});

Deno.test("statusReport() has the data age of each probed member, also of a silent one", () => {
  const nowMs = 100_000;
  const node = nodeAt(nowMs);
  const ages = () =>
    statusReport({ node, certificates: [], certificateFailures: [], nowWallMs: 0, nowMs }).members.map((
      { dataAgeMs },
    ) => dataAgeMs);
  assertEquals(ages(), [undefined, undefined, undefined]);
  for (const facts of node.membership.endpoints.values()) Object.assign(facts, { currentAtMs: nowMs - 30_000 });
  assertEquals(ages(), [30_000, undefined, 30_000]);
});

Deno.test("statusReport() has the newest snapshot of any node, and keeps it when the store fails", () => {
  let node = nodeAt(0);
  const snapshots = () =>
    statusReport({ node, certificates: [], certificateFailures: [], nowWallMs: 0, nowMs: 0 }).snapshots;
  const set = (change: StateChange) => node = changed(node, change);
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
  set({ snapshots: { store: { lookup: newest, newest } } });
  const told = { configured: true, lastAt, lastRevision: 7, verifiedAt, catalogue: "newest" };
  assertEquals(snapshots(), told);
  set({ snapshots: { store: { lookup: { kind: "unreadable", code: "x", why: "no route" }, newest } } });
  assertEquals(snapshots(), { ...told, catalogue: "unreadable", why: "no route" });
  // Saved by this node after that look.
  set({ snapshots: { lastSnapshotAtWallMs: 9_000, backup: { revision: 8, diverged: false } } });
  set({ snapshots: { store: { lookup: { kind: "absent" }, newest: undefined } } });
  const at = "1970-01-01T00:00:09.000Z";
  assertEquals(snapshots(), { configured: true, lastAt: at, lastRevision: 8, verifiedAt: at, catalogue: "newest" });
  // A drill saves to the same store: its snapshots are not this cluster's.
  const life = (token: string, takenAtWallMs: number) => ({
    lineage: { id: "l", epoch: 1, token },
    newest: { hash: token, revision: takenAtWallMs, takenAtWallMs, verifiedAtWallMs: 2_000 },
    bornAtWallMs: 0,
    tag: token,
  });
  const both = { ...newest, lives: [life("drill", 99_000), life("own", 1_000)] };
  const started = { lineage: { id: "l", epoch: 1, token: "own" }, how: "founded" as const, renounced: [] };
  set({
    snapshots: {
      store: { lookup: both, newest: both },
      lastSnapshotAtWallMs: undefined,
      backup: { revision: 0, diverged: false },
    },
  });
  set({ disk: { record: { ...node.disk.record, started } } });
  assertEquals(snapshots(), { configured: true, lastAt, lastRevision: 1_000, verifiedAt, catalogue: "newest" });
});

Deno.test("statusReport() has recent failures that were not followed by a success, and certificate errors", () => {
  const nowMs = 100_000;
  const failed = (atMs: number) => ({ kind: "provideEtcd", text: "Cannot get an etcd 3.7: no route", atMs } as const);
  const reasons = (atMs: number, certificateFailures: string[] = []) =>
    statusReport({
      node: { ...nodeAt(nowMs), effects: { ...nodeAt(nowMs).effects, failing: new Map([["local", failed(atMs)]]) } },
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

Deno.test("statusReport() has the end of the own log and the registered address while etcd has no leader", () => {
  const data = { kind: "valid", revision: 7, lastLog: { term: 3, index: 12 }, members, peerUrls: ["http://old:2380"] };
  const ownData = (change: StateChange) =>
    statusReport({
      node: changed(nodeAt(0), { disk: { data } } as unknown as StateChange, change),
      certificates: [],
      certificateFailures: [],
      nowWallMs: 0,
      nowMs: 0,
    }).ownData;
  const { peerUrl } = nodeAt(0).self;
  assertEquals(ownData({}), undefined);
  const ends = { lastLog: { term: 3, index: 12 }, revision: 7 };
  assertEquals(ownData({ membership: { endpoints: new Map() } }), {
    ...ends,
    registeredAt: ["http://old:2380"],
    peerUrl,
  });
  const atHome = { membership: { endpoints: new Map() }, disk: { data: { ...data, peerUrls: [peerUrl] } } };
  assertEquals(ownData(atHome as unknown as StateChange), { ...ends, peerUrl });
});

Deno.test("statusReport() shows the members of the cluster that has removed this node's member, and that it was removed", () => {
  const data = { kind: "valid", revision: 7, memberId: "1", clusterId: "c", members, peerUrls: members[0]!.peerUrls };
  const others = { ...answer, memberId: "2", linearizable: true, members: members.slice(1) };
  const roles = (last: object, atMs = 0) => {
    const endpoints = new Map([[members[1]!.clientUrls[0], { last, atMs, failures: 0 }]]);
    const change = { phase: "gathering", membership: { endpoints }, disk: { data } } as unknown as StateChange;
    const node = changed(nodeAt(0), change);
    return statusReport({ node, certificates: [], certificateFailures: [], nowWallMs: 0, nowMs: 0 }).members
      .map(({ name, role }) => `${name} ${role}`).join(", ");
  };
  assertEquals(roles(others), "a removed, b voter, d voter");
  const listed = "a voter, b voter, d voter";
  assertEquals(roles({ ...others, members }), listed);
  assertEquals(roles({ ...others, linearizable: false }), listed, "no quorum says so");
  assertEquals(roles({ ...others, clusterId: "other" }), listed);
  assertEquals(roles(others, -15_000), listed, "the answer is old");
  assertEquals(roles({ kind: "unreachable", code: "refused" }), listed);
});

Deno.test("statusReport() names the step that copies a database or gets an etcd while it runs", () => {
  const reasons = (kind: string) =>
    statusReport({
      node: changed(
        nodeAt(0),
        { effects: { inFlight: new Map([["local", { kind, id: 1 }]]) } } as unknown as StateChange,
      ),
      certificates: [],
      certificateFailures: [],
      nowWallMs: 0,
      nowMs: 0,
    }).reasons.filter(({ code }) => code === "step_runs").map(({ level, text }) => `${level} ${text}`);
  assertEquals(reasons("restoreData"), ["info restoring the data-dir; this may take minutes"]);
  assertEquals(reasons("exportSurvivor"), ["info exporting this node's data; this may take minutes"]);
  assertEquals(reasons("prepareSource"), ["info fetching the data to restore; this may take minutes"]);
  assertEquals(reasons("writeRecord"), []);
});
