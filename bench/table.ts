/** The figures of all benchmarks as one Markdown table. Pure: results and machine are arguments. */
import type { BenchRow } from "./report.ts";

export interface BenchOutcome {
  bench: string;
  rows: readonly BenchRow[];
  /** The failure of the benchmark; its earlier rows still count. */
  failure?: string;
}

const sorted = (figures: readonly number[]) => [...figures].sort((a, b) => a - b);

function median(figures: readonly number[]): number {
  const all = sorted(figures), upper = Math.floor(all.length / 2);
  return all.length % 2 === 1 ? all[upper]! : (all[upper - 1]! + all[upper]!) / 2;
}

function spread(figures: readonly number[]): string {
  if (figures.length === 0) return "–";
  if (figures.length === 1) return figures[0]!.toFixed(2);
  const all = sorted(figures);
  return [all[0]!, median(all), all.at(-1)!].map((figure) => figure.toFixed(2)).join(" / ");
}

/** The figure of e2d divided by that of the peer: per run if both have the same number of runs, else of the medians. */
export function ratios({ ours, peer }: BenchRow): number[] {
  if (ours.length === 0 || peer.length === 0) return [];
  const all = ours.length === peer.length
    ? ours.map((figure, run) => figure / peer[run]!)
    : [median(ours) / median(peer)];
  return all.filter(Number.isFinite);
}

/** The median decides. */
export function verdict(row: BenchRow): "met" | "behind" | "not judged" | "not measured" {
  if (row.ours.length === 0) return "not measured";
  if (row.limit === undefined) return "not judged";
  const figures = row.limit.of === "ours" ? row.ours : ratios(row);
  if (figures.length === 0) return "not measured";
  const figure = median(figures);
  const met = "atMost" in row.limit ? figure <= row.limit.atMost : figure >= row.limit.atLeast;
  return met ? "met" : "behind";
}

const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ").trim() || "–";

export function benchTable(outcomes: readonly BenchOutcome[]): string {
  const lines = [
    "| bench | figure | ours | peer | ratio | aim | verdict |",
    "| --- | --- | --- | --- | --- | --- | --- |",
  ];
  const add = (...cells: string[]) => lines.push(`| ${cells.map(cell).join(" | ")} |`);
  for (const { bench, rows, failure } of outcomes) {
    for (const row of rows) {
      const ours = `${spread(row.ours)} ${row.unit}`;
      const peer = row.peer.length === 0 ? "" : `${row.peerName} ${spread(row.peer)}`;
      add(bench, row.what, ours, peer, spread(ratios(row)), row.aim, verdict(row));
    }
    if (failure !== undefined) add(bench, `failed: ${failure}`, "", "", "", "", "failed");
    else if (rows.length === 0) add(bench, "no figures", "", "", "", "", "failed");
  }
  return `${lines.join("\n")}\n`;
}
