import { StatusHistory } from "../../lib/manager/status/history.ts";
import type { MemberReport, StatusReport } from "../../lib/manager/status/report.ts";
import { assertEquals } from "../support/assert.ts";

const member = (id: string, more: Partial<MemberReport> = {}): MemberReport => ({
  id,
  name: id,
  peerUrls: [],
  role: "voter",
  reachable: true,
  alarms: [],
  ...more,
});

const report = (members: readonly MemberReport[], lastAt?: string): StatusReport => ({
  name: "a",
  phase: "serving",
  ready: true,
  reasons: [],
  paused: false,
  requiredSize: 3,
  members,
  gossip: [],
  snapshots: { configured: true, lastRevision: 1, catalogue: "found", ...(lastAt === undefined ? {} : { lastAt }) },
  certificates: [],
});

Deno.test("StatusHistory keeps one sample per 10 s for one hour, independent of the wall clock", () => {
  const history = new StatusHistory();
  for (let second = 0; second < 7_200; second++) {
    const added = history.add(report([]), { nowMs: second * 1_000, nowWallMs: 5_000 - second });
    assertEquals([second, added], [second, second % 10 === 0]);
  }
  const samples = history.samples();
  assertEquals(samples.length, 360);
  assertEquals([samples[0]!.atWallMs, samples.at(-1)!.atWallMs], [5_000 - 3_600, 5_000 - 7_190]);
});

Deno.test("StatusHistory has the values of reachable members only", () => {
  const history = new StatusHistory();
  const said = { raftLag: 2, dbSizeBytes: 30, dbInUseBytes: 20 };
  const { reachable: _, ...unasked } = member("c", said);
  history.add(report([member("a", said), member("b", { reachable: false }), unasked]), { nowMs: 0, nowWallMs: 9 });
  assertEquals(history.samples(), [{ atWallMs: 9, members: [{ id: "a", ...said }] }]);
});

Deno.test("StatusHistory has the snapshot's age: never negative, absent before the first snapshot", () => {
  const history = new StatusHistory();
  const lastAt = "1970-01-01T00:00:10.000Z";
  [4_000, 25_000].forEach((nowWallMs, at) => history.add(report([], lastAt), { nowMs: at * 10_000, nowWallMs }));
  history.add(report([]), { nowMs: 20_000, nowWallMs: 30_000 });
  assertEquals(history.samples().map(({ snapshotAgeMs }) => snapshotAgeMs), [0, 15_000, undefined]);
});

Deno.test("StatusHistory keeps at most 32 members of a report", () => {
  const history = new StatusHistory();
  history.add(report(Array.from({ length: 100 }, (_, at) => member(String(at)))), { nowMs: 0, nowWallMs: 0 });
  assertEquals(history.samples()[0]!.members.length, 32);
});
