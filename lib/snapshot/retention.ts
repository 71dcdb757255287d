/** Which snapshots of a history are kept. Pure. */

export interface KeepPolicy {
  /** One for each of the newest so many hours that have one. */
  readonly hourly: number;
  readonly daily: number;
}

export interface Kept {
  readonly key: string;
  readonly takenAtMs: number;
  /** The life of the cluster that it is of: one more with each restore or recovery. */
  readonly epoch: number;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** What somebody may be reading right now, or has just been told of, stays. */
export const graceMs = 10 * 60_000;

/**
 * The entries to remove, of those of one lineage, which come newest first as a restore takes them: by epoch, and within
 * it by revision. Clocks are asked for hours and days alone. What stays:
 *
 * - the newest, so there is always one, and what is younger than the grace;
 * - of each of the newest hours and days that have one, the newest;
 * - the newest of each earlier epoch, until the epochs after it have snapshots of more days than daily ones are asked
 *   for: as long as a daily one of the day on which that life ended. It is the way back for whoever restored the wrong
 *   thing, and stays until the day after, at least, whatever is asked for. Days are counted from the end of that life,
 *   however old its last snapshot was by then, and a day without a snapshot does not count.
 */
export function planRetention<T extends Kept>(newestFirst: readonly T[], policy: KeepPolicy, nowMs: number): T[] {
  const keep = new Set(lastOfLives(newestFirst, Math.max(1, policy.daily)));
  for (const [count, unitMs] of [[policy.hourly, hourMs], [policy.daily, dayMs]] as const) {
    const seen = new Set<number>();
    for (const entry of newestFirst) {
      const unit = Math.floor(entry.takenAtMs / unitMs);
      if (seen.has(unit)) continue;
      if (seen.size >= count) break;
      seen.add(unit);
      keep.add(entry);
    }
  }
  return newestFirst.filter((entry) => !keep.has(entry) && nowMs - entry.takenAtMs > graceMs);
}

/** The newest of each epoch after which there are snapshots of no more than so many days: of the last one always. */
function lastOfLives<T extends Kept>(newestFirst: readonly T[], days: number): T[] {
  return newestFirst.filter(({ epoch }, at) => {
    if (epoch === newestFirst[at - 1]?.epoch) return false;
    const after = newestFirst.slice(0, at).map(({ takenAtMs }) => Math.floor(takenAtMs / dayMs));
    return new Set(after).size <= days;
  });
}
