/**
 * The machine-readable side of a bench: each figure is appended as one JSON line to the file that E2D_BENCH_ROWS names,
 * which bench/run.ts sets. Without it nothing is written, and a bench only prints as it always does.
 */

export interface BenchRow {
  what: string;
  unit: string;
  /** One figure for each run, or one median where a bench keeps no more. Empty where it was not measured. */
  ours: readonly number[];
  /** Of the same run; empty where there is no peer. */
  peer: readonly number[];
  peerName: string;
  /** As the issue says it. */
  aim: string;
  /** What decides between met and behind; without it the aim is shown and not judged. */
  limit?: { of: "ours" | "ratio"; atMost: number } | { of: "ours" | "ratio"; atLeast: number };
}

export function reportRow(row: BenchRow): void {
  const path = Deno.env.get("E2D_BENCH_ROWS");
  if (path !== undefined) Deno.writeTextFileSync(path, `${JSON.stringify(row)}\n`, { append: true });
}
