/**
 * Mutation testing of the core: changes one condition, comparison, constant, early exit or effect at a time, and runs
 * the tests in which the change makes a difference, the seeds of the simulation last. A mutant without a failing test
 * has survived: a test is missing, or the mutant is equivalent and is listed in equivalent.json with the reason.
 *
 * Stryker is not used: it has runners for Jest, Mocha and Vitest, but none for `deno test`. Its command runner has no
 * coverage and runs all tests in a new process for each mutant: minutes for each of thousands. Here one copy of the
 * sources contains all mutants, a process runs many of them, and each mutant runs only the tests in which it differs from
 * the original.
 */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import {
  belowRoot,
  changedLines,
  configOf,
  copyProject,
  filesBelow,
  importsOf,
  instrumentCopy,
  type SourceFile,
} from "./copy.ts";
import { matchEquivalents, parseEquivalents } from "./equivalent.ts";
import type { Mutant } from "./mutant.ts";
import { findSites } from "./mutate.ts";
import { jsonOf, percentOf, type Report, scoreOf, textOf } from "./report.ts";
import { type Judged, runMutants } from "./run.ts";
import { maxMutants } from "./runtime.ts";
import { type MeasuredTest, measureTests } from "./tests.ts";

const usage =
  `deno task mutants [PATH] [--changed-since REVISION] [--only ID]... [--limit N] [--tests PREFIX]... [--list]
                        [--min PERCENT] [--workers N] [--json FILE]

  PATH                       a folder or file below the root; lib/core by default
  --changed-since REVISION   only mutants of lines that differ from that revision of git
  --only ID                  only mutants whose id begins so: "lib/core/turn.ts", "lib/core/turn.ts:57:", or a whole id
  --limit N                  at most N mutants, spread evenly over all
  --tests PREFIX             only test files whose path begins so, "tests/core/": a mutant that survives these may die in
                             the others
  --list                     prints the ids and runs nothing
  --min PERCENT              exit status 1 below this score; 95 by default
  --workers N                processes side by side; one for each processor by default
  --json FILE                writes the report there, too`;

/** Suites that need real parts, and this tool's own tests: none of them is fast. */
const leftOut = /^tests\/(contract|interop|e2e|story|torture|mutants)\//;
/** Runs of new seeds, a minute in all; each seed that found a mistake has its own test. */
const shares = /^simulated clusters \d+ to \d+ /;
const isSimulation = ({ path }: Pick<MeasuredTest, "path">) => path.startsWith("tests/sim/");

export interface Options {
  readonly root: string;
  readonly path: string;
  readonly equivalents: string;
  readonly changedSince?: string;
  readonly only?: readonly string[];
  readonly limit?: number;
  readonly tests?: readonly string[];
  readonly workers: number;
  readonly progress?: (text: string) => void;
}

/** All mutants below the path, and the selected ones that are not equivalent. */
async function findMutants(options: Options) {
  const { root, only, limit } = options;
  const path = belowRoot(root, options.path);
  const sources: SourceFile[] = [];
  for (const absolute of await filesBelow(join(root, path))) {
    const file = belowRoot(root, absolute), text = await Deno.readTextFile(absolute);
    if (!file.endsWith("_test.ts")) sources.push({ file, text, sites: findSites(file, text) });
  }
  const all = sources.flatMap(({ sites }) => sites.flatMap(({ mutants }) => mutants));
  const sourceOf = new Map(sources.map(({ file, text }) => [file, text]));
  const { reasons, stale } = matchEquivalents(parseEquivalents(options.equivalents, "equivalent.json"), all, {
    sourceOf,
    path,
  });
  let wanted: Mutant[] = all;
  if (options.changedSince !== undefined) {
    const changed = await changedLines(root, options.changedSince, path);
    wanted = wanted.filter((mutant) => linesOf(mutant, sourceOf).some((line) => changed.get(mutant.file)?.has(line)));
  }
  if (only !== undefined) wanted = wanted.filter(({ id }) => only.some((prefix) => id.startsWith(prefix)));
  if (limit !== undefined && limit < wanted.length) {
    wanted = Array.from({ length: limit }, (_, at) => wanted[Math.floor(at * wanted.length / limit)]!);
  }
  return { path, sources, sourceOf, wanted, reasons, stale };
}

function linesOf({ file, line, start, end }: Mutant, sourceOf: ReadonlyMap<string, string>): number[] {
  const count = sourceOf.get(file)!.slice(start, end).split("\n").length;
  return Array.from({ length: count }, (_, at) => line + at);
}

const stopSignals = ["SIGINT", "SIGTERM"] as const;

/** Runs the mutants in a copy of the project, which is removed afterwards. */
export async function testMutants(options: Options): Promise<Report> {
  const { root, workers, progress = () => {} } = options;
  const { path, sources, sourceOf, wanted, reasons, stale } = await findMutants(options);
  const toRun = wanted.filter(({ id }) => !reasons.has(id));
  if (toRun.length > maxMutants) throw new Error(`Cannot run ${toRun.length} mutants at once: at most ${maxMutants}`);
  const numbers = new Map(toRun.map(({ id }, at) => [id, at + 1]));
  const base = { stale, sourceOf, path };
  const equivalent: Judged[] = wanted.flatMap((mutant) => {
    const reason = reasons.get(mutant.id);
    return reason === undefined ? [] : [{ mutant, verdict: { kind: "equivalent", reason }, ms: 0 }];
  });
  if (toRun.length === 0) return { ...base, judged: equivalent, unusable: [], tests: { count: 0, ms: 0 } };
  const copy = await Deno.makeTempDir({ prefix: "e2d-mutants-" });
  // The processes end with their input, after their present test.
  const stop = () => {
    Deno.removeSync(copy, { recursive: true });
    Deno.exit(2);
  };
  for (const signal of stopSignals) Deno.addSignalListener(signal, stop);
  try {
    await copyProject(root, copy);
    await instrumentCopy(copy, sources, (id) => numbers.get(id) ?? 0);
    const config = await configOf(copy);
    const project = { copy, config, workers };
    const files = [...new Set(toRun.map(({ file }) => file))];
    const testFiles = (await filesBelow(join(copy, "tests"), "_test.ts")).map((file) => belowRoot(copy, file))
      .filter((file) => !leftOut.test(file) && (options.tests?.some((prefix) => file.startsWith(prefix)) ?? true));
    // The longest first: the others fit beside it.
    testFiles.sort((a, b) => Number(isSimulation({ path: b })) - Number(isSimulation({ path: a })));
    const measured = await measureTests(project, await importsOf(copy, config, testFiles, files), shares);
    const ms = measured.tests.reduce((sum, test) => sum + test.ms, 0);
    progress(`${toRun.length} mutants, ${measured.tests.length} tests that take ${Math.round(ms / 1_000)} s`);
    const judged = await runMutants(project, toRun, numbers, measured, {
      isLast: isSimulation,
      progress: (done) => progress(`${done.length} of ${toRun.length}: ${scoreText(done)}`),
    });
    const place = new Map(wanted.map(({ id }, at) => [id, at]));
    const inOrder = [...equivalent, ...judged].sort((a, b) => place.get(a.mutant.id)! - place.get(b.mutant.id)!);
    return { ...base, judged: inOrder, unusable: measured.unusable, tests: { count: measured.tests.length, ms } };
  } finally {
    for (const signal of stopSignals) Deno.removeSignalListener(signal, stop);
    await Deno.remove(copy, { recursive: true });
  }
}

function scoreText(judged: readonly Judged[]): string {
  const { mutant, verdict, ms } = judged.at(-1)!;
  return `${percentOf(scoreOf(judged)).toFixed(1)} % killed; ${verdict.kind} after ${Math.round(ms)} ms: ${mutant.id}${
    verdict.kind === "killed" ? ` by ${verdict.by}` : ""
  }`;
}

function parseCommand(args: readonly string[]) {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      "changed-since": { type: "string" },
      only: { type: "string", multiple: true },
      limit: { type: "string" },
      tests: { type: "string", multiple: true },
      list: { type: "boolean" },
      min: { type: "string", default: "95" },
      workers: { type: "string", default: String(navigator.hardwareConcurrency) },
      json: { type: "string" },
      help: { type: "boolean" },
    },
  });
  const number = (name: "limit" | "min" | "workers") => {
    const value = Number(values[name]);
    if (values[name] !== undefined && !(value > 0)) {
      throw new Error(`Cannot use --${name} "${values[name]}": no number`);
    }
    return value;
  };
  return { values, path: positionals[0] ?? "lib/core", number };
}

async function main(args: readonly string[]): Promise<number> {
  const { values, path, number } = parseCommand(args);
  if (values.help) {
    console.log(usage);
    return 0;
  }
  const options: Options = {
    root: fileURLToPath(new URL("../../", import.meta.url)),
    path,
    equivalents: await Deno.readTextFile(new URL("./equivalent.json", import.meta.url)),
    workers: number("workers"),
    ...values["changed-since"] !== undefined && { changedSince: values["changed-since"] },
    ...values.only !== undefined && { only: values.only },
    ...values.tests !== undefined && { tests: values.tests },
    ...values.limit !== undefined && { limit: number("limit") },
    progress: (text) => console.error(text),
  };
  if (values.list) {
    for (const { id, before } of (await findMutants(options)).wanted) console.log(`${id}\t${before}`);
    return 0;
  }
  const report = await testMutants(options);
  console.log(textOf(report));
  if (values.json !== undefined) await Deno.writeTextFile(values.json, jsonOf(report));
  return percentOf(scoreOf(report.judged)) >= number("min") && report.stale.length === 0 ? 0 : 1;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
}
