/** The last hour of a node's status in memory, for the plots of the status page: one sample every 10 s. */
import type { Clock } from "../../ports.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import type { StatusReport } from "./report.ts";

/** Minimum interval of two samples. */
const sampleIntervalMs = 10_000;
const samplesMax = 360;
/** A bound far above the size of an etcd cluster: the member list comes from the network. */
const membersMax = 32;

export interface StatusSample {
  readonly atWallMs: number;
  /** Age of the newest known snapshot. */
  readonly snapshotAgeMs?: number;
  /** Members that answered. A missing member is a gap in its plot. */
  readonly members: readonly MemberSample[];
}

export interface MemberSample {
  readonly id: string;
  readonly raftLag?: number;
  readonly dbSizeBytes?: number;
  readonly dbInUseBytes?: number;
}

export class StatusHistory {
  readonly #samples: StatusSample[] = [];
  #lastAtMs = -Infinity;

  /**
   * `nowMs` (monotonic clock) spaces the samples, `nowWallMs` dates them. Returns false when the interval since the last
   * sample is too short.
   */
  add(report: StatusReport, { nowMs, nowWallMs }: { nowMs: number; nowWallMs: number }): boolean {
    if (nowMs - this.#lastAtMs < sampleIntervalMs) return false;
    this.#lastAtMs = nowMs;
    this.#samples.push(sampleOf(report, nowWallMs));
    if (this.#samples.length > samplesMax) this.#samples.shift();
    return true;
  }

  /** Oldest first. */
  samples(): readonly StatusSample[] {
    return this.#samples;
  }
}

/** Adds samples until the signal ends it. */
export async function keepHistory(
  history: StatusHistory,
  report: () => StatusReport | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    const now = report();
    if (now !== undefined) history.add(now, { nowMs: clock.monotonicMs(), nowWallMs: clock.wallMs() });
    try {
      // StatusHistory keeps the minimum interval.
      await clock.sleep(sampleIntervalMs / 5, signal);
    } catch {
      return;
    }
  }
}

function sampleOf({ members, snapshots }: StatusReport, nowWallMs: number): StatusSample {
  const lastAt = snapshots.lastAt === undefined ? undefined : Date.parse(snapshots.lastAt);
  return {
    atWallMs: nowWallMs,
    ...withoutUndefined({ snapshotAgeMs: lastAt === undefined ? undefined : Math.max(0, nowWallMs - lastAt) }),
    members: members.filter(({ reachable }) => reachable === true).slice(0, membersMax).map((
      { id, raftLag, dbSizeBytes, dbInUseBytes },
    ) => ({ id, ...withoutUndefined({ raftLag, dbSizeBytes, dbInUseBytes }) })),
  };
}
