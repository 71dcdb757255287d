/**
 * Runs all benchmarks one after the other and writes one table: docs/benchmarks.md.
 *
 *   deno task bench [--only NAME]... [--quick] [--minutes 25] [--against PATH] [--e2d dist/e2d] [--output docs/benchmarks.md]
 *
 * `--quick` only tests the programs with tiny sizes; its figures are meaningless. A benchmark that fails or exceeds the
 * rest of `--minutes` gets a row with the failure.
 */
import { cpus, release, totalmem } from "node:os";
import { parseArgs } from "node:util";
import type { BenchRow } from "./report.ts";
import { type BenchOutcome, benchTable } from "./table.ts";

const { values } = parseArgs({
  options: {
    only: { type: "string", multiple: true },
    quick: { type: "boolean", default: false },
    minutes: { type: "string", default: "25" },
    against: { type: "string" },
    e2d: { type: "string", default: "dist/e2d" },
    output: { type: "string", default: "docs/benchmarks.md" },
  },
});
const against = values.against === undefined ? [] : ["--against", values.against];
const benches: Record<string, { quick: string[]; full: string[] }> = {
  executable: { quick: [values.e2d], full: [values.e2d] },
  cluster: {
    quick: ["--runs", "1", "--e2d", values.e2d, ...against],
    full: ["--runs", "3", "--e2d", values.e2d, ...against],
  },
  snapshot: {
    quick: ["--mib", "32", "--runs", "1", "--e2d", values.e2d],
    full: ["--mib", "512", "--runs", "3", "--e2d", values.e2d],
  },
  e2db: { quick: ["--rows", "100"], full: ["--rows", "1000,5000"] },
  gossip: { quick: ["--nodes", "3", "--runs", "1", "--idle-seconds", "2"], full: ["--nodes", "3,5,50"] },
  gossip_sim: { quick: ["--nodes", "5", "--minutes", "1"], full: [] },
};
const names = values.only ?? Object.keys(benches);
const unknown = names.find((name) => !(name in benches));
const minutes = Number(values.minutes);
if (unknown !== undefined || !(minutes > 0)) {
  console.error(
    unknown === undefined
      ? `--minutes "${values.minutes}": give a number above 0`
      : `--only "${unknown}": there is ${Object.keys(benches).join(", ")}`,
  );
  Deno.exit(2);
}
const endMs = performance.now() + minutes * 60_000;

async function run(bench: string): Promise<BenchOutcome> {
  const leftMs = endMs - performance.now();
  if (leftMs < 1_000) return { bench, rows: [], failure: "no time was left" };
  const path = await Deno.makeTempFile({ prefix: "e2d-bench-rows-" });
  try {
    const program = new URL(`${bench}.ts`, import.meta.url).pathname;
    // timeout kills the whole process group, with the servers of the benchmark.
    const child = new Deno.Command("timeout", {
      args: [
        ...["--kill-after=15", String(Math.ceil(leftMs / 1_000)), Deno.execPath(), "run", "--no-check", "-A", program],
        ...benches[bench]![values.quick ? "quick" : "full"],
      ],
      env: { E2D_BENCH_ROWS: path },
      stdin: "null",
    }).spawn();
    const { success, code } = await child.status;
    const lines = (await Deno.readTextFile(path)).split("\n").filter((line) => line !== "");
    const rows = lines.map((line) => JSON.parse(line) as BenchRow);
    const failure = code === 124 || code === 137 ? "took longer than the time that was left" : `exit code ${code}`;
    return { bench, rows, ...(success ? {} : { failure }) };
  } finally {
    await Deno.remove(path);
  }
}

const loadBefore = Deno.loadavg().map((load) => load.toFixed(2)).join(" ");
const outcomes: BenchOutcome[] = [];
for (const bench of names) {
  console.error(`== ${bench}`);
  const outcome = await run(bench).catch((error): BenchOutcome => ({ bench, rows: [], failure: String(error) }));
  outcomes.push(outcome);
}

const command = ["deno task bench", ...Deno.args].join(" ");
const quickNote = values.quick ? "\n**A quick run with tiny sizes: these figures are meaningless.**\n" : "";
const text = `# Benchmarks

\`${command}\`, ${new Date().toISOString().slice(0, 10)}
${quickNote}
- Machine: ${cpus()[0]?.model ?? "unknown"}, ${cpus().length} cores, ${
  (totalmem() / 2 ** 30).toFixed(1)
} GiB, Linux ${release()}
- Load average before the run (1, 5, 15 minutes): ${loadBefore}
- Deno ${Deno.version.deno}; the rows contain the versions of the peers

Several runs: minimum / median / maximum; one run: its median. The ratio is the figure of e2d divided by that of the peer.
Rows that miss their aim stay in the table.

${benchTable(outcomes)}`;
await Deno.writeTextFile(values.output, text);
console.error(`wrote ${values.output}`);
if (outcomes.some(({ rows, failure }) => failure !== undefined || rows.length === 0)) Deno.exitCode = 1;
