/** Removes snapshots from a history. Owns what counts as replaced. Must never remove damaged or unidentified objects. */
import type { Store } from "../storage/store.ts";
import { claimOf, type History, objectKeyOf, readHistory, type SnapshotPlace } from "./history.ts";
import { type Life, lifeTag, outlives } from "./lives.ts";
import { type Manifest, manifestSuffix } from "./manifest.ts";
import { type KeepPolicy, planHistory } from "./retention.ts";

/** An object without a manifest and older than this belongs to an interrupted upload, not to a running one. */
const leftoverMs = 24 * 3_600_000;

/** Tolerated difference between the clocks of nodes. No node saved a snapshot that is dated further ahead. */
const clocksDifferMs = 3_600_000;

/**
 * Removes snapshots of this lineage outside the retention policy, and leftovers of interrupted uploads. Keeps damaged
 * snapshots and the newest of each branch of each life.
 *
 * @returns the manifests of the removed snapshots; with `dryRun`, of those it would remove
 */
export async function pruneSnapshots(
  place: SnapshotPlace,
  { keep, nowMs, lineageId, dryRun = false, signal }: {
    keep: KeepPolicy;
    nowMs: number;
    /** Undefined: every lineage, each separately. */
    lineageId?: string;
    dryRun?: boolean;
    signal?: AbortSignal | undefined;
  },
): Promise<Manifest[]> {
  const { store } = place;
  const history = await readHistory(place, signal);
  const lives = history.lives.filter(({ lineage }) => lineageId === undefined || lineage.id === lineageId);
  const removed = lives.flatMap((life) => {
    const entriesOf = ({ entries }: Life) =>
      entries.filter(({ damage, readKey, key, manifest }) =>
        // An untrusted snapshot, or one that is dated ahead, does not displace a good one, and is kept.
        damage === undefined && readKey === key && Date.parse(manifest.takenAt) <= nowMs + clocksDifferMs
      )
        .map(({ key, manifest }) => ({ key, takenAtMs: Date.parse(manifest.takenAt), manifest }));
    const successors = lives.filter((other) =>
      other.lineage.id === life.lineage.id && lives.indexOf(other) > lives.indexOf(life) && !outlives(life, other)
    );
    return planHistory(entriesOf(life), successors.flatMap(entriesOf), keep, nowMs).map(({ manifest }) => manifest);
  });
  if (dryRun) return removed;
  for (const manifest of removed) {
    const key = objectKeyOf(place.key, manifest);
    // First the manifest: an object without one is not a snapshot of the history.
    await store.remove(`${key}${manifestSuffix}`, signal);
    await store.remove(key, signal);
  }
  await removeLeftovers(store, history, nowMs, signal);
  return removed;
}

/** Removes objects without a manifest whose life has saved a newer snapshot. Others may be the last copy. */
async function removeLeftovers(
  store: Store,
  { lives, loose }: History,
  nowMs: number,
  signal?: AbortSignal,
): Promise<void> {
  for (const { key, modifiedMs } of loose) {
    const claim = claimOf(key);
    if (claim === undefined || nowMs - modifiedMs <= leftoverMs) continue;
    const replaced = lives.some((life) =>
      (claim.tag === undefined || claim.tag === lifeTag(life)) &&
      life.entries.some(({ damage, manifest }) =>
        damage === undefined && manifest.revision >= claim.revision && Date.parse(manifest.takenAt) > claim.takenAtMs
      )
    );
    if (replaced) await store.remove(key, signal);
  }
}
