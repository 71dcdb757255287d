/** Reports a name that two live nodes claim, once it has lasted. */
import type { Turn } from "../state/turn.ts";
import type { NameConflict } from "../facts/peer.ts";
import { nameConflictReason } from "../evidence/name_conflict.ts";

/** Gossip takes so long to hold a dead node for dead, whose successor may have its name. */
export const standsMs = 10_000;

/** What gossip sees now replaces what it saw. */
export function noteNameConflicts({ node, now }: Turn, conflicts: readonly NameConflict[]): void {
  node.gossip.nameConflicts = conflicts;
  if (conflicts.length === 0) node.gossip.nameConflictSinceMs = undefined;
  else node.gossip.nameConflictSinceMs ??= now.monotonicMs;
}

/** An operator hears of what lasts. */
export function reportNameConflict(turn: Turn): void {
  const { gossip: { nameConflicts: [first], nameConflictSinceMs } } = turn.node;
  if (first === undefined || nameConflictSinceMs === undefined) return turn.resolve("name_taken");
  if (turn.now.monotonicMs - nameConflictSinceMs >= standsMs) {
    return turn.report("error", nameConflictReason(first), { keepsReady: true });
  }
  turn.wakeAt(nameConflictSinceMs + standsMs);
}
