/**
 * Reports that the store has lost the newest snapshot of the own life. An operator, a lifecycle rule of the bucket or another
 * program may delete a snapshot while the data does not change. Only a conclusive lookup counts: the store is readable, the
 * lookup started after the snapshot was known to exist, and no damaged object may be that snapshot.
 */
import { ownLineage } from "../evidence/lineage.ts";
import type { Turn } from "../state/turn.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";
import type { Lineage } from "../facts/node_record.ts";
import type { KnownSnapshot } from "../rules/backup.ts";

const code = "snapshots_gone";

/** The newest snapshot of this life in a lookup; "none": there is none; undefined: the lookup is not conclusive. */
export function newestOf(
  lookup: SnapshotLookup,
  { id, token }: Lineage,
): Omit<KnownSnapshot, "atMs"> | "none" | undefined {
  if (lookup.kind === "absent") return "none";
  // An unmanaged snapshot hides the other contents of the store.
  if (lookup.kind !== "newest" || lookup.lineage === undefined || lookup.lives === undefined) return undefined;
  // Among all branches: a branch that began after a rollback starts below the newest snapshot of the former branch.
  const life = lookup.lives.filter(({ lineage }) => lineage.id === id && lineage.token === token)
    .toSorted((a, b) => a.newest.revision - b.newest.revision).at(-1);
  if (life !== undefined) {
    const { revision, takenAtWallMs } = life.newest;
    return { token, revision, takenAtWallMs };
  }
  return (lookup.damaged ?? []).length > 0 ? undefined : "none";
}

/** Called with the result of each lookup; `askedMs`: the start of the lookup. */
export function noteStored(turn: Turn, lookup: SnapshotLookup, askedMs: number): void {
  const { node, now } = turn;
  const own = ownLineage(node.disk);
  const found = own === undefined ? undefined : newestOf(lookup, own);
  if (own === undefined || found === undefined) return;
  const known = node.snapshots.ownSnapshot?.token === own.token ? node.snapshots.ownSnapshot : undefined;
  if (known !== undefined && askedMs <= known.atMs) return;
  const revision = found === "none" ? 0 : found.revision;
  const isGone = known !== undefined && revision < known.revision;
  const isRest = isGone || known?.isRest === true && revision === known.revision;
  if (isGone) {
    reportGone(turn, known, revision);
    // The next interval saves again, although the data has not changed.
    node.snapshots.backup = { ...node.snapshots.backup, revision: Math.min(node.snapshots.backup.revision, revision) };
    node.snapshots.lastSnapshotAtWallMs = undefined;
  } else if (found !== "none" && !isRest) turn.resolve(code);
  node.snapshots.ownSnapshot = found === "none"
    ? undefined
    : { ...found, atMs: now.monotonicMs, ...(isRest ? { isRest } : {}) };
}

/** Called when this node has saved and verified a snapshot. */
export function noteSaved(turn: Turn, { token }: Lineage, revision: number): void {
  const { node, now } = turn;
  turn.resolve(code);
  node.snapshots.ownSnapshot = { token, revision, takenAtWallMs: now.wallMs, atMs: now.monotonicMs };
}

function reportGone(turn: Turn, { revision, takenAtWallMs }: KnownSnapshot, left: number): void {
  const was = `was of ${new Date(takenAtWallMs).toISOString().slice(0, 19)}Z, revision ${revision}`;
  const text = left === 0
    ? `the store has lost all snapshots of this cluster: the newest ${was}`
    : `the store has lost the newest snapshot of this cluster: it ${was}; the newest one left has revision ${left}`;
  const hint = "find the cause: a lifecycle rule of the bucket, another program, a volume that is not mounted; the " +
    'leader\'s node saves again within --snapshot-interval, and "e2d snapshot list" shows the contents of the store';
  turn.report(left === 0 ? "error" : "warn", { code, text, hint }, { keepsReady: true });
}
