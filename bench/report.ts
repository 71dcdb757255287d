/**
 * The machine-readable output of a benchmark: appends each figure as one JSON line to the file in E2D_BENCH_ROWS, which
 * bench/run.ts sets. Without that variable it writes nothing.
 */

export interface BenchRow {
  what: string;
  unit: string;
  /** One figure for each run, or only the median. Empty if it was not measured. */
  ours: readonly number[];
  /** Of the same run; empty without a peer. */
  peer: readonly number[];
  peerName: string;
  /** The target, as written in the issue. */
  aim: string;
  /** The limit between met and behind; without it the aim is shown and not judged. */
  limit?: { of: "ours" | "ratio"; atMost: number } | { of: "ours" | "ratio"; atLeast: number };
}

export function reportRow(row: BenchRow): void {
  const path = Deno.env.get("E2D_BENCH_ROWS");
  if (path !== undefined) Deno.writeTextFileSync(path, `${JSON.stringify(row)}\n`, { append: true });
}
