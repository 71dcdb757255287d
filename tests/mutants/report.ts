/** The report of a run: a table by file, the survivors with the command that replays each, and JSON. */
import type { Equivalent } from "./equivalent.ts";
import { diffOf, mutationText } from "./mutant.ts";
import type { Judged } from "./run.ts";

export interface Score {
  readonly killed: number;
  readonly survived: number;
  readonly equivalent: number;
}

export function scoreOf(judged: readonly Judged[]): Score {
  const count = (kind: string) => judged.filter(({ verdict }) => verdict.kind === kind).length;
  return { killed: count("killed"), survived: count("survived"), equivalent: count("equivalent") };
}

/** Killed of those that are not equivalent, in percent; of none: 100. */
export function percentOf({ killed, survived }: Score): number {
  return killed + survived === 0 ? 100 : 100 * killed / (killed + survived);
}

export interface Report {
  readonly judged: readonly Judged[];
  readonly stale: readonly Equivalent[];
  readonly unusable: readonly string[];
  /** Number and time of all tests that ran without a mutant. */
  readonly tests: { readonly count: number; readonly ms: number };
  readonly sourceOf: ReadonlyMap<string, string>;
  /** The path that was mutated. */
  readonly path: string;
}

const row = (name: string, score: Score) =>
  `${percentOf(score).toFixed(1).padStart(6)} %  ${String(score.killed).padStart(6)}  ${
    String(score.survived).padStart(8)
  }  ${String(score.equivalent).padStart(10)}  ${name}`;

export function tableOf(judged: readonly Judged[]): string {
  const files = Map.groupBy(judged, ({ mutant }) => mutant.file);
  return [
    "   score  killed  survived  equivalent  file",
    ...[...files].map(([file, each]) => row(file, scoreOf(each))),
    row("in total", scoreOf(judged)),
  ].join("\n");
}

function survivorText({ mutant, verdict }: Judged, { sourceOf, path }: Report): string {
  const tests = verdict.kind === "survived" ? verdict.tests : 0;
  return [
    `${mutant.file}:${mutant.line} ${mutant.operator} in ${mutant.within}: ${
      tests === 0 ? "makes a difference in no test" : `survived the tests in which it differs: ${tests}`
    }`,
    diffOf(mutant, sourceOf.get(mutant.file) ?? ""),
    `  replay: deno task mutants ${path} --only '${mutant.id}'`,
  ].join("\n");
}

export function textOf(report: Report): string {
  const { judged, stale, unusable, tests } = report;
  const survivors = judged.filter(({ verdict }) => verdict.kind === "survived");
  const took = judged.reduce((sum, { ms }) => sum + ms, 0);
  const ran = judged.filter(({ verdict }) => verdict.kind !== "equivalent").length;
  return [
    ...survivors.map((each) => `${survivorText(each, report)}\n`),
    ...unusable.map((text) => `not used: ${text}`),
    ...stale.map((entry) =>
      `equivalent.json: ${entry.file}: ${entry.function}: no such mutant: ${entry.mutation}; remove or correct the entry`
    ),
    tableOf(judged),
    `${tests.count} tests take ${(tests.ms / 1_000).toFixed(1)} s without a mutant; ` +
    `${ran === 0 ? 0 : (took / ran / 1_000).toFixed(2)} s a mutant`,
  ].join("\n");
}

export function jsonOf({ judged, stale, unusable, tests }: Report): string {
  const mutants = judged.map(({ mutant, verdict, ms }) => ({
    id: mutant.id,
    file: mutant.file,
    line: mutant.line,
    operator: mutant.operator,
    function: mutant.within,
    mutation: mutationText(mutant),
    ...verdict,
    ms: Math.round(ms),
  }));
  return JSON.stringify({ ...scoreOf(judged), percent: percentOf(scoreOf(judged)), tests, stale, unusable, mutants });
}
