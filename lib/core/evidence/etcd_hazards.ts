/**
 * What etcd does wrong, or differently, in some of its patch releases, as one table: the rule, the first safe patch of
 * each minor version, and the source. Every rule of e2d that depends on a patch release reads this table. It answers
 * for a version that cannot be parsed or is not known as for an unsafe one.
 */
import type { EtcdAnswer, EtcdMember } from "../facts/cluster.ts";
import { parseReportedVersion, type ReportedVersion } from "../../facts/etcd_version.ts";

export interface Hazard {
  /** First patch release without the hazard, by minor version of 3.x. A minor version that is missing has no safe one. */
  readonly safeFrom: Readonly<Record<number, number>>;
  /** From this minor version of 3.x on every release is safe. */
  readonly safeMinor: number;
  /** Issues and pull requests of etcd-io/etcd, or pages of etcd.io. */
  readonly source: string;
}

export const hazards = {
  /** A member of 3.5 carries members that were removed over into 3.6, where they return. */
  upgradeFrom35: { safeFrom: { 5: 26 }, safeMinor: 6, source: "etcd #20995; etcd.io upgrade_3_6" },
  /** A rolling upgrade of 3.6 to 3.7 is not supported from earlier patches. */
  upgradeFrom36: { safeFrom: { 6: 11 }, safeMinor: 7, source: "etcd.io upgrade_3_7" },
  /**
   * MemberUpdate of a learner clears its learner mark in the member list: it can neither be promoted nor does it vote.
   * Each member applies the change itself, so one unsafe member is enough. 3.4 ended without the fix.
   */
  memberUpdateOfLearner: { safeFrom: { 5: 31, 6: 12 }, safeMinor: 7, source: "etcd #21694, #21736, #21737" },
  /** A defragmentation of a member that receives a raft snapshot meanwhile can corrupt its database. */
  defragBesideSnapshot: {
    safeFrom: { 4: 38, 5: 23, 6: 5 },
    safeMinor: 7,
    source: "etcd #20271, #20650, #20653, #20659",
  },
  /**
   * etcd adds a member only while all voters are connected. From the safe patch on a quorum of the voters plus the new
   * member must be connected, so that five voters take a new member while one is down, and three still do not (measured
   * with 3.5.33, 3.6.14 and 3.7.3).
   */
  addNeedsAllVoters: { safeFrom: { 5: 30, 6: 11 }, safeMinor: 7, source: "etcd #21640, #21667, #21669" },
} as const satisfies Readonly<Record<string, Hazard>>;

/** True when this release is known not to have the hazard. */
export function isSafe(hazard: Hazard, version: string | undefined): boolean {
  const parsed = version === undefined ? undefined : parseReportedVersion(version);
  if (parsed === undefined || parsed.major !== 3) return false;
  if (parsed.minor >= hazard.safeMinor) return true;
  const patch = hazard.safeFrom[parsed.minor];
  return patch !== undefined && parsed.patch >= patch;
}

/** The newest release of each minor version that e2d was tested with or that etcd has published a fix in, "3.6.14". */
const advised: Readonly<Record<number, string>> = { 4: "3.4.45", 5: "3.5.33", 6: "3.6.14", 7: "3.7.3" };

/** What an operator is told to install of this minor version, "3.6"; "3.6.N" where none is known. */
export function advisedPatch(minor: string): string {
  const parsed = parseReportedVersion(minor);
  return (parsed?.major === 3 ? advised[parsed.minor] : undefined) ?? `${minor}.N`;
}

/** The command that puts this minor version where every node's e2d finds it. */
export function installCommand(minor: string): string {
  return `e2d etcd install --version ${advisedPatch(minor)}`;
}

/**
 * Why this release must not be followed by the next minor version, and from which release on it may; undefined: it may.
 */
export function upgradeHazard(version: ReportedVersion): { readonly from: string; readonly why: string } | undefined {
  if (version.major !== 3) return undefined;
  const text = `${version.major}.${version.minor}.${version.patch}`;
  if (version.minor === 5 && !isSafe(hazards.upgradeFrom35, text)) {
    return { from: `3.5.${hazards.upgradeFrom35.safeFrom[5]}`, why: "removed members may return in 3.6" };
  }
  if (version.minor === 6 && !isSafe(hazards.upgradeFrom36, text)) {
    return { from: `3.6.${hazards.upgradeFrom36.safeFrom[6]}`, why: "etcd does not support this way to 3.7" };
  }
  return undefined;
}

/** "3.6" of 3.5.33: the newest minor version that may run beside this release; its own where its patch is too old. */
export function newestBeside(version: ReportedVersion): string {
  return `${version.major}.${upgradeHazard(version) === undefined ? version.minor + 1 : version.minor}`;
}

/** Entries; the leader's log keeps 5,000 for members that lag, and sends a snapshot to one that needs older ones. */
export const lagMax = 1_000;

/**
 * Why this member may receive a raft snapshot soon, on a release that can corrupt a database which is defragmented
 * meanwhile; undefined: it does not, or its release is safe. One that has just started and serves a linearizable read
 * has what the others have.
 */
export function snapshotHazard(member: EtcdMember, answer: EtcdAnswer, own: EtcdAnswer): string | undefined {
  if (isSafe(hazards.defragBesideSnapshot, answer.version)) return undefined;
  const lag = own.raftIndex - answer.raftAppliedIndex;
  if (lag <= lagMax) return undefined;
  return `member "${member.name}" is ${lag} entries behind, and etcd ${answer.version} can corrupt a database that is ` +
    "defragmented while it receives a snapshot";
}
