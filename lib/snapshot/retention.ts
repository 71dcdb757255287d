/** Which snapshots of a history are kept. Pure. */

export interface KeepPolicy {
  /** One for each of the newest so many hours that have one. */
  readonly hourly: number;
  readonly daily: number;
}

export interface Kept {
  readonly key: string;
  readonly takenAtMs: number;
}

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** What somebody may be reading right now, or has just been told of, stays. */
export const graceMs = 10 * 60_000;

/**
 * The entries to remove. Never the newest, never what is younger than the grace: so there is always one. Of each hour
 * and each day the last one stays.
 */
export function planRetention<T extends Kept>(entries: readonly T[], policy: KeepPolicy, nowMs: number): T[] {
  const sorted = [...entries].sort((a, b) => b.takenAtMs - a.takenAtMs);
  const keep = new Set<T>(sorted.slice(0, 1));
  for (const [count, unitMs] of [[policy.hourly, hourMs], [policy.daily, dayMs]] as const) {
    const seen = new Set<number>();
    for (const entry of sorted) {
      const unit = Math.floor(entry.takenAtMs / unitMs);
      if (seen.has(unit)) continue;
      if (seen.size >= count) break;
      seen.add(unit);
      keep.add(entry);
    }
  }
  return sorted.filter((entry) => !keep.has(entry) && nowMs - entry.takenAtMs > graceMs);
}
