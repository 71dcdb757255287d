import { benchTable, ratios, verdict } from "../../bench/table.ts";
import type { BenchRow } from "../../bench/report.ts";
import { assert, assertEquals } from "../support/assert.ts";

const row = (change: Partial<BenchRow> = {}): BenchRow => ({
  what: "form three",
  unit: "s",
  ours: [3, 1, 2],
  peer: [3, 2, 4],
  peerName: "Go",
  aim: "≤ 0.6 of it",
  limit: { of: "ratio", atMost: 0.6 },
  ...change,
});

Deno.test("ratios are taken run by run, of the medians where the runs differ in number", () => {
  assertEquals(ratios(row()), [1, 0.5, 0.5]);
  assertEquals(ratios(row({ peer: [4] })), [0.5]);
  assertEquals(ratios(row({ ours: [2], peer: [2, 6] })), [0.5]);
  assertEquals(ratios(row({ peer: [] })), []);
});

Deno.test("verdict: the median decides, and what was not measured meets nothing", () => {
  assertEquals(verdict(row()), "met");
  assertEquals(verdict(row({ limit: { of: "ratio", atMost: 0.4 } })), "behind");
  assertEquals(verdict(row({ limit: { of: "ours", atLeast: 3 } })), "behind");
  assertEquals(verdict(row({ peer: [] })), "not measured");
  assertEquals(verdict(row({ ours: [] })), "not measured");
});

Deno.test("benchTable keeps what is behind, and a bench that failed is a row that says so", () => {
  const table = benchTable([
    { bench: "cluster", rows: [row({ limit: { of: "ours", atMost: 1 } })], failure: "exit code 1" },
    { bench: "gossip", rows: [] },
  ]);
  assert(
    table.includes("| cluster | form three | 1.00 / 2.00 / 3.00 s | Go 2.00 / 3.00 / 4.00 | 0.50 / 0.50 / 1.00 |"),
  );
  assert(table.includes("| behind |"));
  assert(table.includes("| cluster | failed: exit code 1 |"));
  assert(table.includes("| gossip | no figures |"));
});
