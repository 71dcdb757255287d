/**
 * Measures the base cost of the executable: its size, and time and memory of `e2d version`, compared with the limits of
 * the project and an empty program that is compiled in the same way.
 *
 *   deno task compile && deno run -A bench/executable.ts [dist/e2d]
 */
import { resolve } from "node:path";
import { reportRow } from "./report.ts";

const limits = { sizeMb: 130, startMs: 60, memoryMb: 75 };
const rounds = 15;

interface Cost {
  sizeMb: number;
  startMs: number;
  memoryMb: number;
}

const median = (values: number[]) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)]!;

/** GNU time writes the largest resident set of a process, in KiB. */
async function costOf(executable: string): Promise<Cost> {
  const times: number[] = [];
  const memories: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const begin = performance.now();
    const { success, stderr } = await new Deno.Command("/usr/bin/time", {
      args: ["-f", "%M", executable, "version"],
      stdout: "null",
      stderr: "piped",
    }).output();
    times.push(performance.now() - begin);
    if (!success) throw new Error(`${executable} version failed: ${new TextDecoder().decode(stderr)}`);
    memories.push(Number(new TextDecoder().decode(stderr).trim().split("\n").at(-1)) / 1024);
  }
  const { size } = await Deno.stat(executable);
  return { sizeMb: size / 1e6, startMs: median(times), memoryMb: median(memories) };
}

async function emptyProgram(folder: string): Promise<string> {
  await Deno.writeTextFile(`${folder}/empty.ts`, `console.log("empty");\n`);
  const args = [
    "compile",
    "--quiet",
    "--no-config",
    "--no-prompt",
    "--output",
    `${folder}/empty`,
    `${folder}/empty.ts`,
  ];
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  return `${folder}/empty`;
}

const folder = await Deno.makeTempDir({ prefix: "e2d-bench-" });
try {
  const executable = resolve(Deno.args[0] ?? "dist/e2d");
  const empty = await costOf(await emptyProgram(folder));
  const e2d = await costOf(executable);
  console.log(`${"".padEnd(10)}${"e2d".padStart(9)}${"empty".padStart(9)}${"ratio".padStart(8)}${"limit".padStart(8)}`);
  for (const key of ["sizeMb", "startMs", "memoryMb"] as const) {
    const numbers = [e2d[key].toFixed(1), empty[key].toFixed(1)].map((text) => text.padStart(9)).join("");
    const ratio = (e2d[key] / empty[key]).toFixed(2).padStart(8);
    console.log(`${key.padEnd(10)}${numbers}${ratio}${String(limits[key]).padStart(8)}`);
    reportRow({
      what: { sizeMb: "size", startMs: "e2d version, time", memoryMb: "e2d version, memory" }[key],
      unit: { sizeMb: "MB", startMs: "ms", memoryMb: "MB" }[key],
      ours: [e2d[key]],
      peer: [empty[key]],
      peerName: "empty program",
      aim: `≤ ${limits[key]}`,
      limit: { of: "ours", atMost: limits[key] },
    });
  }
} finally {
  await Deno.remove(folder, { recursive: true });
}
