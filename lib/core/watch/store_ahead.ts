/**
 * Reports that the running cluster's data is behind a snapshot of its own life: disks were rolled back, and acknowledged
 * writes are missing. Decides nothing. An answer counts only if it was read after the lookup.
 */
import { ownLineage } from "../evidence/lineage.ts";
import { storedRevision } from "../evidence/store_ahead.ts";
import { freshAnswer } from "../evidence/members.ts";
import type { Turn } from "../state/turn.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";

const code = "store_ahead";
/**
 * Linearizable reads of the own etcd after the lookup: the revision of an answer is read before its linearizable read, and
 * one answer may have been in flight during the lookup.
 */
const readsMin = 3;

/** Called with the result of each lookup. */
export function noteStoredRevision({ node }: Turn, lookup: SnapshotLookup): void {
  const own = ownLineage(node.disk);
  if (own === undefined || own.epoch === 0 || lookup.kind !== "newest") return;
  const revision = storedRevision(lookup, own);
  // A cluster that continued from older data saves lower revisions: the highest one known stays.
  if (node.snapshots.storedAhead?.token === own.token && node.snapshots.storedAhead.revision >= revision) return;
  node.snapshots.storedAhead = { token: own.token, revision, reads: 0 };
}

/** Called with each answer of the own etcd that includes a linearizable read. */
export function noteOwnRead({ node }: Turn): void {
  if (node.snapshots.storedAhead !== undefined) {
    node.snapshots.storedAhead = { ...node.snapshots.storedAhead, reads: node.snapshots.storedAhead.reads + 1 };
  }
}

/** Called in each turn. */
export function watchStoredRevision(turn: Turn): void {
  const { node, now } = turn;
  const own = ownLineage(node.disk);
  const stored = node.snapshots.storedAhead?.token === own?.token ? node.snapshots.storedAhead : undefined;
  if (stored === undefined) return turn.resolve(code);
  const answer = freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
  if (node.phase !== "serving" || answer === undefined || !answer.linearizable || stored.reads < readsMin) return;
  if (answer.revision >= stored.revision) return turn.resolve(code);
  if (node.reports.problems.has(code)) return;
  const text = `the store holds revision ${stored.revision} of this cluster's life, and its data is at revision ` +
    `${answer.revision}: disks were rolled back, and acknowledged writes are missing`;
  const hint = 'restore that snapshot beside this cluster and compare ("e2d snapshot list", "e2d snapshot restore ' +
    '--as-new-cluster"); a disk that is not in use now may also hold the missing writes';
  turn.report("error", { code, text, hint }, { keepsReady: true });
}
