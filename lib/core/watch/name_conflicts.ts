/** Reports a name that two live nodes claim for some time. */
import type { Turn } from "../state/turn.ts";
import type { NameConflict } from "../facts/peer.ts";
import { nameConflictReason } from "../evidence/name_conflict.ts";

/** Gossip takes this long to detect a dead node, whose successor may have its name. */
export const reportAfterMs = 10_000;

/** `conflicts` replaces the conflicts known before. */
export function noteNameConflicts({ node, now }: Turn, conflicts: readonly NameConflict[]): void {
  node.gossip.nameConflicts = conflicts;
  if (conflicts.length === 0) node.gossip.nameConflictSinceMs = undefined;
  else node.gossip.nameConflictSinceMs ??= now.monotonicMs;
}

/** Called in each turn. */
export function reportNameConflict(turn: Turn): void {
  const { gossip: { nameConflicts: [first], nameConflictSinceMs } } = turn.node;
  if (first === undefined || nameConflictSinceMs === undefined) return turn.resolve("name_taken");
  if (turn.now.monotonicMs - nameConflictSinceMs >= reportAfterMs) {
    return turn.report("error", nameConflictReason(first), { keepsReady: true });
  }
  turn.wakeAt(nameConflictSinceMs + reportAfterMs);
}
