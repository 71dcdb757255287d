/**
 * Reports that the data-dir was removed, renamed or replaced under the running etcd. etcd goes on with the files that it
 * has open, which may be the last copy of the data: it is never stopped for this.
 */
import type { Event } from "../facts/event.ts";
import type { Turn } from "../state/turn.ts";

const code = "data_dir_gone";
/** One look may fall between two steps of a file system. */
const looksMin = 2;

export function noteDataDir(turn: Turn, { found }: Extract<Event, { kind: "dataDirLooked" }>): void {
  const { node } = turn;
  const runs = node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready";
  // This node itself may be moving, restoring or restarting on it.
  const busy = node.effects.inFlight.has("local") ||
    [...node.effects.inFlight.values()].some(({ kind }) => kind === "exportSurvivor");
  if (!runs || busy || found === "there") return forgetDataDir(turn);
  node.disk.missingChecks++;
  if (node.disk.missingChecks < looksMin) return;
  const what = found === "absent" ? "is not there any more" : "was replaced by another folder";
  const alone = node.disk.data.kind === "valid" && node.disk.data.members.length < 2;
  turn.report("error", {
    code,
    text:
      `the data-dir of this node ${what}, and etcd runs on files that have no name: what it writes is lost when it stops`,
    hint: alone
      ? 'do not stop this node: run "e2d snapshot save" on it first, and restore from that'
      : 'do not stop this node yet: run "e2d snapshot save" on it, see by e2d status that the other members serve, then ' +
        "restart e2d here: it joins anew",
  });
}

/** It is there, or etcd does not run on it any more. */
export function forgetDataDir(turn: Turn): void {
  turn.node.disk.missingChecks = 0;
  turn.resolve(code);
}
