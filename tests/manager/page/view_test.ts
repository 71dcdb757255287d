import {
  concernsOf,
  decisionRows,
  factsOf,
  memberLevel,
  memberRows,
  memberState,
  otherRows,
  snapshotRows,
  snapshotsText,
  verdictOf,
} from "../../../lib/manager/status/page/view.ts";
import type { MemberReport, StatusReport } from "../../../lib/manager/status/report.ts";
import { durationText } from "../../../lib/units.ts";
import { assert, assertEquals } from "../../support/assert.ts";

const member = (name: string, more: Partial<MemberReport> = {}): MemberReport => ({
  id: `id-${name}`,
  name,
  peerUrls: [`http://${name}:2380`],
  role: "voter",
  reachable: true,
  version: "3.6.14",
  dbSizeBytes: 3_145_728,
  dbInUseBytes: 1_536,
  raftIndex: 9,
  raftLag: 0,
  alarms: [],
  gossip: "alive",
  ...more,
});

const report = (more: Partial<StatusReport> = {}): StatusReport => ({
  name: "a",
  phase: "serving",
  ready: true,
  reasons: [],
  paused: false,
  requiredSize: 3,
  clusterId: "c1",
  members: [member("a", { role: "leader", gossip: "self" }), member("b"), member("c")],
  gossip: [],
  snapshots: { configured: true, lastRevision: 0, catalogue: "present" },
  certificates: [],
  ...more,
});

Deno.test("verdictOf() reports a complete cluster as healthy, and how many members may be lost", () => {
  const { level, headline, summary, concerns } = verdictOf(report());
  assertEquals({ level, headline, concerns }, { level: "good", headline: "Healthy", concerns: [] });
  assertEquals(summary, "All 3 voting members in place. One may be lost without losing writes.");
  const one = report({ requiredSize: 1, members: [member("a", { role: "leader" })] });
  assertEquals(verdictOf(one).summary, "All 1 voting member in place. No further member may be lost.");
});

Deno.test("verdictOf() counts no removed member, and does not call it silent", () => {
  const [a, b, c] = report().members as [MemberReport, MemberReport, MemberReport];
  const removed = { ...member("d"), role: "removed", reachable: false } as const;
  const { level, summary } = verdictOf(report({ members: [a, b, c, removed] }));
  assertEquals([level, summary], ["good", "All 3 voting members in place. One may be lost without losing writes."]);
  assertEquals([memberState(removed), memberLevel(removed)], ["removed", "look"]);
});

Deno.test("verdictOf() is amber for a silent member, red for a silent majority", () => {
  const [a, b, c] = report().members as [MemberReport, MemberReport, MemberReport];
  const silent = { reachable: false };
  const one = verdictOf(report({ members: [a, b, { ...c, ...silent }] }));
  assertEquals(one.level, "look");
  assertEquals(one.summary, "2 of 3 voting members in place. No further member may be lost.");
  assert(one.concerns[0]!.text.includes("Member c does not answer"));
  const two = verdictOf(report({ members: [a, { ...b, ...silent }, { ...c, ...silent }] }));
  assertEquals([two.level, two.headline], ["bad", "No quorum: writes are stopped"]);
  // No member is replaced then, so nothing promises it.
  assert(!two.concerns.some(({ hint }) => hint?.includes("replaced automatically")));
  assert(two.summary.includes("1 of 3 voters answer; 2 are needed"));
});

Deno.test("verdictOf() is never good while the node is not ready or has an urgent reason", () => {
  const starting = report({ phase: "gathering", ready: false, members: [] });
  assertEquals(verdictOf(starting).level, "wait");
  assertEquals(verdictOf(report({ ready: false })).headline, "Not ready");
  for (const code of ["no_quorum", "alarm", "members_differ"]) {
    const verdict = verdictOf(report({ ready: false, reasons: [{ code, text: "x" }] }));
    assertEquals([code, verdict.level, verdict.concerns[0]!.hint === undefined], [code, "bad", false]);
  }
});

Deno.test("concernsOf() has the pause, free places, expiring certificates, an unreadable store and alarms of other members", () => {
  const [a, b, c] = report().members as [MemberReport, MemberReport, MemberReport];
  const concerns = concernsOf(report({
    paused: true,
    requiredSize: 5,
    members: [a, { ...b, alarms: ["NOSPACE"] }, { ...c, gossip: "suspect" }],
    snapshots: { configured: true, lastRevision: 0, catalogue: "unreadable", why: "access denied" },
    certificates: [
      { role: "peer", path: "/p.crt", until: "2026-12-01T00:00:00.000Z", days: 12 },
      { role: "server", path: "/s.crt", until: "2026-11-01T00:00:00.000Z", days: -3 },
    ],
    reasons: [{ code: "certificate_ends", text: "said once" }, { code: "paused", text: "said once" }],
  }));
  assertEquals(concerns.map(({ level, text }) => `${level}: ${text}`), [
    "bad: Member b raises the alarm NOSPACE.",
    "look: Gossip reports member c as suspect.",
    "look: 3 of 5 members: the cluster is incomplete.",
    "look: Automatic action is paused: no member is replaced, no plan continues.",
    "look: The peer certificate expires in 12 days.",
    "bad: The server certificate has expired.",
    "look: The snapshot store cannot be read: access denied",
  ]);
});

Deno.test("factsOf() computes the age of a snapshot with the node's clock, and has plan and pause", () => {
  const at = Date.parse("2026-11-24T03:00:00.000Z");
  const facts = factsOf(
    report({
      snapshots: { configured: true, lastAt: "2026-11-24T02:59:18.000Z", lastRevision: 7, catalogue: "present" },
      plan: { id: "p1", text: "scale from 3 to 5 members" },
      paused: true,
    }),
    at,
  );
  assertEquals(facts.map(({ label, value }) => [label, value]), [
    ["Leader", "a"],
    ["etcd", "3.6.14"],
    ["Last snapshot", "42 s ago"],
    ["Certificates", "none"],
    ["Automatic action", "paused"],
  ]);
  assertEquals(facts[4]!.note, "plan p1: scale from 3 to 5 members");
});

Deno.test("factsOf() without a clock has times instead of ages; snapshotsText() never reports an unknown store as empty", () => {
  const taken = { configured: true, lastAt: "2026-11-24T02:59:18.000Z", lastRevision: 7, catalogue: "absent" };
  assertEquals(factsOf(report({ snapshots: taken }), undefined)[2]!.value, "02:59:18 UTC");
  assertEquals(snapshotsText(report({ snapshots: taken })), "The last was taken at 02:59:18 UTC, never verified.");
  const verified = { ...taken, verifiedAt: "2026-11-24T02:59:20.000Z" };
  assert(snapshotsText(report({ snapshots: verified })).endsWith("verified at 02:59:20 UTC."));
  const text = (catalogue: string) =>
    snapshotsText(report({ snapshots: { configured: true, lastRevision: 0, catalogue } }));
  assertEquals(["absent", "unknown", "unreadable"].map(text), [
    "The store has no snapshots.",
    "The store was not read yet.",
    "The store cannot be read.",
  ]);
});

Deno.test("memberRows() distinguishes unknown from zero", () => {
  const unknown: MemberReport = { id: "id-b", name: "", peerUrls: [], role: "unstarted", alarms: [] };
  const rows = memberRows(report({ members: [member("a", { role: "leader" }), unknown] }));
  assertEquals(rows[0]!.cells, [
    "a",
    "leader",
    "answers",
    "3.6.14",
    "3 MiB",
    "1.5 KiB",
    "0",
    "–",
    "alive",
    "none",
    "id-a",
    "http://a:2380",
  ]);
  assertEquals(rows[1]!.cells.slice(0, 7), ["(unstarted)", "unstarted", "not started", "–", "–", "–", "–"]);
  assertEquals(memberRows(report({ members: [member("a", { dataAgeMs: 0 })] }))[0]!.cells[7], durationText(0));
});

Deno.test("otherRows() lists gossip nodes that are not members", () => {
  const peer = (name: string) => ({ name, state: "alive", status: "pending", kind: "e2d" as const, address: "h:7980" });
  assertEquals(otherRows(report({ gossip: [peer("b"), peer("standby")] })).map(({ cells }) => cells[0]), ["standby"]);
});

Deno.test("snapshotRows() finds a snapshot where the age decreases, newest first", () => {
  const start = Date.parse("2026-11-24T02:00:00.000Z");
  const ages = [5_000, 15_000, 25_000, 2_000, 12_000];
  const samples = [
    { atWallMs: start - 10_000, members: [] },
    ...ages.map((snapshotAgeMs, at) => ({ atWallMs: start + at * 10_000, snapshotAgeMs, members: [] })),
  ];
  assertEquals(snapshotRows(samples, 9).map(({ cells }) => cells), [["02:00:28 UTC", "33 s"], ["01:59:55 UTC", "–"]]);
});

Deno.test("decisionRows() puts the newest first and bounds them", () => {
  const line = (at: number) => ({
    at: `2026-11-24T02:00:0${at}.000Z`,
    lastAt: `2026-11-24T02:00:0${at}.000Z`,
    times: at,
    level: "info" as const,
    what: "waits" as const,
    phase: "serving",
    outcome: "wait",
    reason: { code: "x", text: "for a peer" },
    facts: { peers: 2 },
  });
  assertEquals(decisionRows([line(1), line(2), line(3)], 2).map(({ cells }) => cells), [
    ["2026-11-24 02:00:03", "waits", "wait", "for a peer (3 times)", "peers=2"],
    ["2026-11-24 02:00:02", "waits", "wait", "for a peer (2 times)", "peers=2"],
  ]);
});

Deno.test("verdictOf() is red for a wait that only an operator can end, amber for a reduced promise", () => {
  const level = (urgency: "info" | "warn" | "error") =>
    verdictOf({
      ...report(),
      phase: "gathering",
      ready: false,
      reasons: [{ code: "restore_asks", text: "waiting for approval", level: urgency }],
    }).concerns[0]?.level;
  assertEquals([level("info"), level("warn"), level("error")], ["wait", "look", "bad"]);
});
