import {
  advisedPatch,
  hazards,
  isSafe,
  newestBeside,
  snapshotHazard,
  upgradeHazard,
} from "../../../lib/core/evidence/etcd_hazards.ts";
import { answer, member } from "../facts.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { parseReportedVersion } from "../../../lib/facts/etcd_version.ts";

Deno.test("isSafe() knows the first safe patch of each minor version, and takes no unknown version for safe", () => {
  const table: [keyof typeof hazards, string, boolean][] = [
    ["memberUpdateOfLearner", "3.4.45", false],
    ["memberUpdateOfLearner", "3.5.30", false],
    ["memberUpdateOfLearner", "3.5.31", true],
    ["memberUpdateOfLearner", "3.6.11", false],
    ["memberUpdateOfLearner", "3.6.12", true],
    ["memberUpdateOfLearner", "3.7.0", true],
    ["defragBesideSnapshot", "3.4.37", false],
    ["defragBesideSnapshot", "3.4.38", true],
    ["defragBesideSnapshot", "3.5.22", false],
    ["defragBesideSnapshot", "3.5.23", true],
    ["defragBesideSnapshot", "3.6.4", false],
    ["defragBesideSnapshot", "3.6.5", true],
    ["defragBesideSnapshot", "3.7.0", true],
    ["addNeedsAllVoters", "3.5.29", false],
    ["addNeedsAllVoters", "3.5.30", true],
    ["addNeedsAllVoters", "3.6.10", false],
    ["addNeedsAllVoters", "3.6.11", true],
    ["addNeedsAllVoters", "3.7.0", true],
    ["upgradeFrom35", "3.6.0", true],
    ["upgradeFrom36", "3.7.0", true],
    ["addNeedsAllVoters", "3.3.27", false],
    ["addNeedsAllVoters", "", false],
    ["addNeedsAllVoters", "4.0.0", false],
  ];
  for (const [name, version, safe] of table) assertEquals(isSafe(hazards[name], version), safe, `${name} ${version}`);
  assertEquals(isSafe(hazards.addNeedsAllVoters, undefined), false);
});

Deno.test("each hazard names where etcd describes it", () => {
  for (const [name, { source }] of Object.entries(hazards)) assert(/^etcd #\d{5}|^etcd\.io /.test(source), name);
});

Deno.test("newestBeside() is the next minor version, unless this patch must not be followed by it", () => {
  const table: [string, string][] = [
    ["3.4.23", "3.5"],
    ["3.5.25", "3.5"],
    ["3.5.26", "3.6"],
    ["3.6.10", "3.6"],
    ["3.6.11", "3.7"],
    ["3.7.3", "3.8"],
  ];
  for (const [version, newest] of table) {
    assertEquals(newestBeside(parseReportedVersion(version)!), newest, version);
    assertEquals(upgradeHazard(parseReportedVersion(version)!) === undefined, !version.startsWith(newest), version);
  }
});

Deno.test("advisedPatch() names a patch of each known minor version of 3.x, and none of another", () => {
  for (const minor of ["3.4", "3.5", "3.6", "3.7"]) assert(/^3\.\d\.\d+$/.test(advisedPatch(minor)), minor);
  for (const minor of ["3.8", "4.5", "2.6"]) assertEquals(advisedPatch(minor), `${minor}.N`);
  assertEquals(advisedPatch("new"), "new.N");
  assertEquals(upgradeHazard({ major: 4, minor: 5, patch: 0 }), undefined);
  const from = (minor: number) => upgradeHazard({ major: 3, minor, patch: 0 })?.from;
  assertEquals([from(4), from(5), from(6), from(7)], [undefined, "3.5.26", "3.6.11", undefined]);
  assertEquals(isSafe(hazards.addNeedsAllVoters, "new"), false);
  assertEquals(isSafe(hazards.addNeedsAllVoters, "4.9.0"), false);
});

Deno.test("snapshotHazard() sees a member that is more than 1,000 entries behind, on an unsafe release", () => {
  const own = answer("a", [], { raftIndex: 5_000 });
  const lag = (raftAppliedIndex: number, version: string) =>
    snapshotHazard(member("b"), answer("b", [], { raftAppliedIndex, version }), own) !== undefined;
  assertEquals([lag(4_000, "3.6.4"), lag(3_999, "3.6.4"), lag(0, "3.6.5")], [false, true, false]);
});
