import { endpointsText } from "../../lib/cli/status.ts";
import type { MemberReport } from "../../lib/manager/status_report.ts";
import { assert, assertEquals } from "../support/assert.ts";

const leader: MemberReport = {
  id: "1a",
  name: "a",
  peerUrls: [],
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

Deno.test("endpointsText() gives a verdict, what is wrong, and a row for each member", () => {
  assertEquals(textOf([leader]).split("\n").slice(0, 4), [
    "cluster c1: healthy",
    "",
    "NAME  ID  ROLE    VERSION  DB       IN USE   LAG  GOSSIP  ALARMS",
    "a     1a  leader  3.6.14   2.0 MiB  1.0 MiB  0",
  ]);
  assert(textOf([leader], ['"b" does not answer']).startsWith('cluster c1: works, but needs a look\n  "b" does not'));
  assert(textOf([leader], ["no member serves"], false).startsWith("cluster c1: no quorum\n  no member serves"));
});

Deno.test("endpointsText() tells how far a learner has come, where the leader is known", () => {
  assert(/^b .* learner 25 % /m.test(textOf([leader, learner])));
  assert(/^b .* learner {2}/m.test(textOf([{ ...leader, role: "voter" }, learner])));
  const { raftIndex: _index, raftLag: _lag, ...unheard } = learner;
  assert(/^b .* learner, silent/m.test(textOf([leader, { ...unheard, reachable: false }])));
});
