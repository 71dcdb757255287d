import { endpointsText, statusText } from "../../lib/cli/status.ts";
import type { MemberReport, SnapshotReport } from "../../lib/manager/status/report.ts";
import { assert, assertEquals } from "../support/assert.ts";

const leader: MemberReport = {
  id: "1a",
  name: "a",
  peerUrls: ["https://10.0.0.1:2380"],
  role: "leader",
  reachable: true,
  version: "3.6.14",
  dbSizeBytes: 2_097_152,
  dbInUseBytes: 1_048_576,
  raftIndex: 1_000,
  raftLag: 0,
  alarms: [],
};
const learner: MemberReport = { ...leader, id: "2b", name: "b", role: "learner", raftIndex: 250, raftLag: 750 };

const textOf = (members: readonly MemberReport[], reasons: readonly string[] = [], quorum = true) =>
  endpointsText({ clusterId: "c1", quorum, healthy: quorum && reasons.length === 0, members, reasons });

Deno.test("endpointsText() prints a verdict, the problems, and a row for each member", () => {
  assertEquals(textOf([leader]).split("\n").slice(0, 4), [
    "cluster c1: healthy",
    "",
    "NAME  ADDRESS   ID  ROLE    VERSION  DB     IN USE  LAG  DATA AGE  GOSSIP  ALARMS",
    "a     10.0.0.1  1a  leader  3.6.14   2 MiB  1 MiB   0",
  ]);
  assert(textOf([leader], ['"b" does not answer']).startsWith('cluster c1: degraded\n  "b" does not'));
  assert(textOf([leader], ["no member serves"], false).startsWith("cluster c1: no quorum\n  no member serves"));
});

Deno.test("endpointsText() shows the host of each member's peer URL", () => {
  const addressOf = (...peerUrls: string[]) => /^a {2,}(\S*?) +1a /m.exec(textOf([{ ...leader, peerUrls }]))?.[1];
  assertEquals(addressOf("http://10.0.0.1:2380", "http://10.0.0.2:2380"), "10.0.0.1");
  assertEquals(addressOf("https://etcd-0.example:2380"), "etcd-0.example");
  assertEquals(addressOf("https://[fd00::1]:2380"), "fd00::1");
  assertEquals(addressOf(), "");
  assertEquals(addressOf("unusable"), "");
});

Deno.test("endpointsText() shows the progress of a learner if the leader is known", () => {
  assert(/^b .* learner 25 % /m.test(textOf([leader, learner])));
  assert(/^b .* learner {2}/m.test(textOf([{ ...leader, role: "voter" }, learner])));
  const { raftIndex: _index, raftLag: _lag, ...unheard } = learner;
  assert(/^b .* learner, silent/m.test(textOf([leader, { ...unheard, reachable: false }])));
});

Deno.test("statusText() shows the age of each member's data and of the newest snapshot, and its verification", () => {
  const nowMs = Date.parse("2026-11-24T12:00:00Z");
  const text = (snapshots: Partial<SnapshotReport>) =>
    statusText({
      name: "a",
      phase: "serving",
      ready: true,
      reasons: [],
      paused: false,
      requiredSize: 3,
      members: [{ ...leader, dataAgeMs: 400 }, { ...leader, id: "2b", name: "b", role: "voter", dataAgeMs: 61_000 }],
      gossip: [],
      snapshots: { configured: true, lastRevision: 0, catalogue: "newest", ...snapshots },
      certificates: [],
    }, nowMs);
  const lastAt = "2026-11-24T11:58:00Z";
  const output = text({ lastAt, lastRevision: 7, verifiedAt: "2026-11-24T11:59:01Z" });
  assert(/^a .* 0 +0 s/m.test(output) && /^b .* 0 +61 s/m.test(output), output);
  assert(output.includes("Snapshots: last 2 min ago, at revision 7, verified 59 s ago\n"), output);
  assert(text({ lastAt }).includes("never verified"));
  assert(text({ catalogue: "absent" }).includes("Snapshots: the store holds none"));
  assert(text({ catalogue: "unknown" }).includes("Snapshots: the store was not read yet"));
  const broken = text({ lastAt, catalogue: "unreadable", why: "no route" });
  assert(/last 2 min ago.*the store cannot be read: no route/.test(broken), broken);
});

Deno.test("statusText() says in its first line what is degraded, and what the own data ends with", () => {
  const report = {
    name: "a",
    phase: "serving",
    ready: true,
    degraded: true,
    degradedBy: '2 of 3 voters answer; "c": silent',
    reasons: [],
    paused: false,
    requiredSize: 3,
    members: [],
    gossip: [],
    snapshots: { configured: false, lastRevision: 0, catalogue: "unconfigured" },
    certificates: [],
  };
  const lines = (change: object) => statusText({ ...report, ...change }, 0).split("\n");
  assertEquals(lines({})[0], 'a: serving, ready, DEGRADED (2 of 3 voters answer; "c": silent), -n 3');
  const ownData = {
    lastLog: { term: 3, index: 12 },
    revision: 7,
    registeredAt: ["http://10.0.0.1:2380"],
    peerUrl: "http://10.0.9.1:2380",
  };
  assertEquals(
    lines({ ownData })[1],
    "  this node's data: raft log ends at term 3, index 12; database at revision 7; member registered at " +
      "http://10.0.0.1:2380, this node is at http://10.0.9.1:2380",
  );
});
