/**
 * Keeps etcd 3.6 and later off a data-dir with a contradictory member list (lib/etcd/data/data_dir.ts explains its origin).
 * On such a data-dir etcd rejects live peers as removed, and they exit permanently: the cluster would be lost.
 */
import { E2dError } from "../../errors.ts";
import type { DataDir } from "../../core/facts/data_dir.ts";
import { isBefore } from "../../facts/etcd_version.ts";

/** Earlier versions read the members from the v2 store, which is correct. */
const firstAffected = "3.6";

/** Describes the contradiction if it affects this version of etcd; otherwise undefined. */
export function membershipContradiction(data: DataDir, version: string): string | undefined {
  if (data.kind !== "valid" || !data.contradictory?.length || isBefore(version, firstAffected)) return undefined;
  const names = data.contradictory.map((id) => data.members.find((member) => member.id === id)?.name || id);
  return `its data-dir lists members that are also marked as removed (${names.join(", ")}), ` +
    "which an upgrade from etcd 3.4 to 3.5 can cause";
}

/** Checked before a running member changes its version. Throws E2dError `members_contradict`. */
export function requireConsistentMembers(data: DataDir, version: string): void {
  const contradiction = membershipContradiction(data, version);
  if (contradiction === undefined) return;
  throw new E2dError("members_contradict", `Cannot change etcd's version to ${version}: ${contradiction}`, {
    hint: "replace this member first: stop e2d, rename the data-dir, start e2d: the node joins again with correct data",
  });
}
