/**
 * Reports that the data-dir was deleted, renamed or replaced while etcd runs. etcd continues with its open files, which may
 * be the last copy of the data: it is never stopped for this reason.
 */
import type { Event } from "../facts/event.ts";
import type { Turn } from "../state/turn.ts";

const code = "data_dir_gone";
/** A single check may fall between two steps of a file system. */
const checksMin = 2;

export function noteDataDir(turn: Turn, { found }: Extract<Event, { kind: "dataDirLooked" }>): void {
  const { node } = turn;
  const runs = node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready";
  // This node itself may quarantine, restore or restart the data-dir.
  const busy = node.effects.inFlight.has("local") ||
    [...node.effects.inFlight.values()].some(({ kind }) => kind === "exportSurvivor");
  if (!runs || busy || found === "there") return forgetDataDir(turn);
  node.disk.missingChecks++;
  if (node.disk.missingChecks < checksMin) return;
  const what = found === "absent" ? "is absent" : "was replaced by another folder";
  const alone = node.disk.data.kind === "valid" && node.disk.data.members.length < 2;
  turn.report("error", {
    code,
    text: `the data-dir of this node ${what}, and etcd runs on deleted files: all its data is lost when it stops`,
    hint: alone
      ? 'do not stop this node: run "e2d snapshot save" on it first, and restore from that'
      : 'do not stop this node yet: run "e2d snapshot save" on it, check with "e2d status" that the other members serve, ' +
        "then restart e2d on this node: it joins as a new member",
  });
}

/** Called when the data-dir is present or etcd does not run. */
export function forgetDataDir(turn: Turn): void {
  turn.node.disk.missingChecks = 0;
  turn.resolve(code);
}
