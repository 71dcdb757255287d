/** The order of raft logs. */
import type { LogPosition } from "../facts/node_record.ts";

/** Of two logs of one life: negative when `a` ends before `b` (raft's rule for votes: the term first, then the index). */
export function compareLogs(a: LogPosition, b: LogPosition): number {
  return a.term - b.term || a.index - b.index;
}
