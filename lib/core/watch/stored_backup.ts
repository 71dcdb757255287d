/**
 * What the store is known to hold of the own life, and the problem when it is not there any more. A snapshot that was
 * saved can be removed by an operator, a lifecycle rule of the bucket or another program, while the data stands still.
 * Only a look that proves it counts: the store is readable, was asked after the snapshot was known to be there, and shows
 * nothing damaged that could be it. Whatever is unreadable leaves what was known.
 */
import { ownLineage } from "../evidence/lineage.ts";
import type { Turn } from "../state/turn.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";
import type { Lineage } from "../facts/node_record.ts";
import type { KnownSnapshot } from "../rules/backup.ts";

const code = "snapshots_gone";

/** What a look proves to be the newest snapshot of this life; "none": there is none; undefined: it proves nothing. */
export function newestOf(
  look: SnapshotLookup,
  { id, token }: Lineage,
): Omit<KnownSnapshot, "atMs"> | "none" | undefined {
  if (look.kind === "absent") return "none";
  // A file that no manifest is about hides what else is there.
  if (look.kind !== "newest" || look.lineage === undefined || look.lives === undefined) return undefined;
  // Of all branches: one that was born after a rollback begins below the newest snapshot of the former branch.
  const life = look.lives.filter(({ lineage }) => lineage.id === id && lineage.token === token)
    .toSorted((a, b) => a.newest.revision - b.newest.revision).at(-1);
  if (life !== undefined) {
    const { revision, takenAtWallMs } = life.newest;
    return { token, revision, takenAtWallMs };
  }
  return (look.damaged ?? []).length > 0 ? undefined : "none";
}

/** Called with each look that came in; `askedMs` is when the store was asked. */
export function noteStored(turn: Turn, look: SnapshotLookup, askedMs: number): void {
  const { node, now } = turn;
  const own = ownLineage(node.disk);
  const found = own === undefined ? undefined : newestOf(look, own);
  if (own === undefined || found === undefined) return;
  const known = node.snapshots.ownSnapshot?.token === own.token ? node.snapshots.ownSnapshot : undefined;
  if (known !== undefined && askedMs <= known.atMs) return;
  const revision = found === "none" ? 0 : found.revision;
  const isGone = known !== undefined && revision < known.revision;
  const isRest = isGone || known?.isRest === true && revision === known.revision;
  if (isGone) {
    reportGone(turn, known, revision);
    // The next interval saves anew, though the data has not changed.
    node.snapshots.backup = { ...node.snapshots.backup, revision: Math.min(node.snapshots.backup.revision, revision) };
    node.snapshots.lastSnapshotAtWallMs = undefined;
  } else if (found !== "none" && !isRest) turn.resolve(code);
  node.snapshots.ownSnapshot = found === "none"
    ? undefined
    : { ...found, atMs: now.monotonicMs, ...(isRest ? { isRest } : {}) };
}

/** Called when this node has saved a snapshot, and it was read back. */
export function noteSaved(turn: Turn, { token }: Lineage, revision: number): void {
  const { node, now } = turn;
  turn.resolve(code);
  node.snapshots.ownSnapshot = { token, revision, takenAtWallMs: now.wallMs, atMs: now.monotonicMs };
}

function reportGone(turn: Turn, { revision, takenAtWallMs }: KnownSnapshot, left: number): void {
  const was = `was of ${new Date(takenAtWallMs).toISOString().slice(0, 19)}Z, revision ${revision}`;
  const text = left === 0
    ? `the store holds no snapshot of this cluster any more: the newest ${was}`
    : `the newest snapshot of this cluster is gone from the store: it ${was}; the newest that is left is of ${left}`;
  const hint =
    "find out what removed it: a lifecycle rule of the bucket, another program, a volume that is not mounted; " +
    'the leader\'s node saves anew within --snapshot-interval, and "e2d snapshot list" shows what is there';
  turn.report(left === 0 ? "error" : "warn", { code, text, hint }, { keepsReady: true });
}
