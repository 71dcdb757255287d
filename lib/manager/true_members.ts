/**
 * Keeps etcd 3.6 and later off a data-dir whose list of members is false (data_dir.ts says how that comes). Started on
 * it, such an etcd turns living peers away as removed, and they end for good: the cluster would be gone.
 */
import { E2dError } from "../errors.ts";
import type { DataDir } from "../core/view.ts";
import { isBefore } from "../etcd/version.ts";

/** Before it etcd has the members in a second place, which is right. */
const firstToBelieve = "3.6";

/** What is wrong with the list for this version of etcd; undefined: nothing. */
export function falseMembers(data: DataDir, version: string): string | undefined {
  if (data.kind !== "valid" || !data.contradictory?.length || isBefore(version, firstToBelieve)) return undefined;
  const names = data.contradictory.map((id) => data.members.find((member) => member.id === id)?.name || id);
  return `its data-dir lists members that it calls removed as well (${names.join(", ")}), ` +
    "which etcd 3.5 can make of data from 3.4";
}

/** Before a running member goes on to another version. Throws E2dError `members_contradict`. */
export function requireTrueMembers(data: DataDir, version: string): void {
  const what = falseMembers(data, version);
  if (what === undefined) return;
  throw new E2dError("members_contradict", `Cannot change etcd's version to ${version}: ${what}`, {
    hint: "replace this member first: stop e2d, move the data-dir aside, start e2d: it joins anew with good data",
  });
}
