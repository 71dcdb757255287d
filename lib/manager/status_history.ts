/** The last hour of a node's status, in memory, for plots: one sample each 10 s, never more than an hour's. */
import type { Clock } from "../ports.ts";
import type { StatusReport } from "./status_report.ts";

/** Time between two samples; what comes sooner is left out. */
export const sampleIntervalMs = 10_000;
const samplesMax = 360;
/** Far more than etcd clusters have: the names in a report come from the network. */
const membersMax = 32;

export interface StatusSample {
  readonly atWallMs: number;
  /** Since the newest snapshot was taken; undefined when none is known. */
  readonly snapshotAgeMs?: number;
  /** Members that answered; a silent one is missing here, and so is a gap in its plot. */
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
   * `nowMs` is of the monotonic clock and spaces the samples; `nowWallMs` dates them. False when the last sample is
   * not old enough.
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
      // The history itself keeps its samples apart.
      await clock.sleep(sampleIntervalMs / 5, signal);
    } catch {
      return;
    }
  }
}

function sampleOf({ members, snapshots }: StatusReport, nowWallMs: number): StatusSample {
  return {
    atWallMs: nowWallMs,
    ...(snapshots.lastAt === undefined ? {} : { snapshotAgeMs: Math.max(0, nowWallMs - Date.parse(snapshots.lastAt)) }),
    members: members.filter(({ reachable }) => reachable === true).slice(0, membersMax).map((
      { id, raftLag, dbSizeBytes, dbInUseBytes },
    ) => ({
      id,
      ...(raftLag === undefined ? {} : { raftLag }),
      ...(dbSizeBytes === undefined ? {} : { dbSizeBytes }),
      ...(dbInUseBytes === undefined ? {} : { dbInUseBytes }),
    })),
  };
}
