/** Which snapshots of a history are kept. Pure. */

export interface KeepPolicy {
  /** Number of hours with a snapshot of which the newest one is kept. */
  readonly hourly: number;
  readonly daily: number;
}

export interface Kept {
  readonly key: string;
  readonly takenAtMs: number;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** Kept for this time in any case: a node or an operator may be reading it. */
export const graceMs = 10 * 60_000;

/**
 * The entries of one life to remove. `newestFirst` is in the order of revisions, as for a restore; times only define the
 * hours and days. It keeps
 *
 * - the newest entry, and entries younger than {@link graceMs};
 * - the newest entry of each of the newest hours and days that have one.
 */
export function planRetention<T extends Kept>(newestFirst: readonly T[], policy: KeepPolicy, nowMs: number): T[] {
  const keep = new Set(newestFirst.slice(0, 1));
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

/**
 * The same for a life that later lives may have succeeded. Once those have snapshots of more days than `policy.daily`, and
 * of two days at least, only the newest entry is kept, for ever. Days without a snapshot do not count. Until then an
 * operator who restored the wrong snapshot can go back.
 */
export function planHistory<T extends Kept>(
  newestFirst: readonly T[],
  ofSuccessors: readonly Kept[],
  policy: KeepPolicy,
  nowMs: number,
): T[] {
  const days = new Set(ofSuccessors.map(({ takenAtMs }) => Math.floor(takenAtMs / dayMs)));
  const over = days.size > Math.max(1, policy.daily);
  return planRetention(newestFirst, over ? { hourly: 0, daily: 0 } : policy, nowMs);
}
