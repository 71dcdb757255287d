/**
 * The log messages of the core's decisions, waits and reports. The texts are for people and may change; a program finds
 * a line by its fields `outcome` and `reason`.
 */
import type { AnsweredEffect, JournalEntry } from "../../core/facts/effect.ts";

/** What each effect does, as the subject of "… failed" and "… fails". */
export const effectText: Readonly<Record<AnsweredEffect["kind"], string>> = {
  writeRecord: "writing the node record",
  quarantineData: "quarantining the data-dir",
  startEtcd: "starting etcd",
  provideEtcd: "getting an etcd",
  stopEtcd: "stopping etcd",
  prepareSource: "fetching the data to restore",
  exportSurvivor: "exporting this node's data",
  restoreData: "restoring the data-dir",
  memberAdd: "adding this node to the members",
  memberRemove: "removing a member",
  memberPromote: "promoting a learner",
  memberUpdate: "updating this node's address in the member list",
  moveLeader: "moving the leadership",
  checkRecord: "comparing -n with the cluster's record",
  changeRecord: "changing the cluster's record",
  upgradeEtcd: "changing etcd's version",
  allowDowngrade: "enabling the downgrade of etcd",
  defragment: "defragmenting a member",
  reclaimSpace: "reclaiming space in the database",
  hashMembers: "comparing the members",
  disarmCorrupt: "disarming an alarm",
  writePlan: "writing the plan",
  writePause: "writing the pause",
  writeHold: "writing the hold",
  clearVolatile: "deleting the volatile keys of the cluster before the restore",
  writeLineage: "writing the cluster's lineage",
  compareHashes: "comparing the members",
  takeSnapshot: "taking a snapshot",
};

type Facts = JournalEntry["facts"];

const memberText = ({ name, member }: Facts): string =>
  name === undefined || name === "" ? `member ${member ?? "of unknown id"}` : `member "${name}"`;

/** One text for each outcome of `Turn.recordDecision`. */
const decisionText: Readonly<Record<string, (facts: Facts) => string>> = {
  abortSnapshot: () => "stopping the running snapshot",
  add: () => "adding this node to the members",
  allowDowngrade: () => "enabling the downgrade of etcd",
  defragment: (facts) => `defragmenting ${memberText(facts)}`,
  disarm: (facts) => `disarming the alarm of ${memberText(facts)}`,
  export: () => "exporting this node's data for the other initial members",
  reclaimSpace: () => "reclaiming space in the database",
  quarantine: () => "quarantining the data-dir",
  moveLeader: () => "moving the leadership",
  plan: () => "starting a plan",
  "plan done": () => "plan finished",
  pledge: () => "pledging to the bootstrap",
  promote: (facts) => `promoting ${memberText(facts)}`,
  remove: (facts) => `removing ${memberText(facts)}`,
  removeStaleMember: ({ member }) => `replacing this node's stale member ${member}`,
  resize: () => "changing the cluster's size",
  stopEtcd: () => "stopping etcd",
  updateAddress: () => "updating this node's address in the member list",
  upgrade: () => "changing this node's etcd version",
};

const failedSuffix = " failed";
const waitedPrefix = "no longer: ";

/** One line, without a period at its end. An unknown outcome is its own text. */
export function logMessage({ what, outcome, reason: { text }, facts }: JournalEntry): string {
  switch (what) {
    case "waits":
      return `waiting: ${text}`;
    case "decided":
      return `${decisionText[outcome]?.(facts) ?? outcome}: ${text}`;
    case "noticed": {
      if (text.startsWith(waitedPrefix)) return `no longer waiting: ${text.slice(waitedPrefix.length)}`;
      if (!outcome.endsWith(failedSuffix)) return text;
      const kind = outcome.slice(0, -failedSuffix.length);
      return `${Object.hasOwn(effectText, kind) ? effectText[kind as AnsweredEffect["kind"]] : kind} failed: ${text}`;
    }
  }
}
