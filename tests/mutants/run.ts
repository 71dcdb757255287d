/** Runs each mutant against the tests in which it makes a difference, cheap ones first, until one fails. */
import type { Request, TestRun } from "./host.ts";
import { HostProcess, type Outcome } from "./host_process.ts";
import type { Mutant } from "./mutant.ts";
import { inParallel, type Measured, type MeasuredTest, type Project } from "./tests.ts";

export type Verdict =
  | { readonly kind: "killed"; readonly by: string; readonly error: string }
  /** `tests`: how many ran; 0: the mutant makes a difference in none. */
  | { readonly kind: "survived"; readonly tests: number }
  | { readonly kind: "equivalent"; readonly reason: string };

export interface Judged {
  readonly mutant: Mutant;
  readonly verdict: Verdict;
  readonly ms: number;
}

/** Tests of a mutant in the order in which they run; `isLast` marks the simulation, which runs after all others. */
export function orderTests(
  mutant: Mutant,
  number: number,
  { tests, atLoad }: Measured,
  { isLast, ofFile }: { isLast: (test: MeasuredTest) => boolean; ofFile: ReadonlySet<number> },
): MeasuredTest[] {
  const whileLoading = atLoad.has(number);
  const near = (test: MeasuredTest) => whileLoading && [...ofFile].some((each) => test.reached.has(each)) ? 0 : 1;
  return tests.filter(({ reached, imports }) => whileLoading ? imports.has(mutant.file) : reached.has(number))
    .map((test) => ({ test, last: isLast(test) ? 1 : 0, near: near(test) }))
    .sort((a, b) => a.last - b.last || a.near - b.near || a.test.ms - b.test.ms)
    .map(({ test }) => test);
}

/** Far more than a loaded machine needs: the step limit ends a mutant that loops long before. */
const limitMs = (test: MeasuredTest | undefined) => 120_000 + 20 * (test?.ms ?? 0);
const limitSteps = (test: MeasuredTest) => 1_000_000 + 5 * test.steps;

const describe = (test: MeasuredTest | undefined) => test === undefined ? "?" : `${test.path}: ${test.name}`;

/** A process that runs mutants one after another, and is replaced when a mutant may have changed its state. */
class Judge {
  #host: HostProcess | undefined;

  constructor(readonly project: Project) {}

  async judge(number: number, tests: readonly MeasuredTest[], fromStart: boolean): Promise<Verdict> {
    if (tests.length === 0) return { kind: "survived", tests: 0 };
    const runs: TestRun[] = tests.map((test) => ({ file: test.file, at: test.at, limit: limitSteps(test) }));
    const request: Request = { kind: "run", mutant: number, tests: runs, fromStart };
    if (fromStart) await this.end();
    const fresh = this.#host === undefined;
    let outcome = await this.#ask(request, tests);
    // Attributed to the mutant only in a process that has run no other.
    if (!fresh && !["survived", "killed"].includes(outcome.kind)) {
      await this.end();
      outcome = await this.#ask(request, tests);
    }
    if (fromStart || !["survived", "killed"].includes(outcome.kind)) await this.end();
    return verdictOf(outcome, tests);
  }

  async #ask(request: Request, tests: readonly MeasuredTest[]): Promise<Outcome> {
    this.#host ??= new HostProcess(this.project.copy, this.project.config);
    return await this.#host.ask(request, (at) => limitMs(tests[at]));
  }

  async end(): Promise<void> {
    await this.#host?.end();
    this.#host = undefined;
  }
}

function verdictOf(outcome: Outcome, tests: readonly MeasuredTest[]): Verdict {
  switch (outcome.kind) {
    case "survived":
      return { kind: "survived", tests: tests.length };
    case "killed":
      return { kind: "killed", by: describe(tests[outcome.at]), error: outcome.error };
    case "timedOut":
      return { kind: "killed", by: describe(tests[outcome.at]), error: "did not end in time" };
    case "ended":
      return { kind: "killed", by: describe(tests[outcome.at]), error: "ended the process" };
    case "spoiled":
      return { kind: "killed", by: "?", error: "tests failed after it, in a process that had run no other mutant" };
    default:
      throw new Error(`Cannot judge a mutant by the answer "${outcome.kind}"`);
  }
}

export interface RunOptions {
  readonly isLast: (test: MeasuredTest) => boolean;
  /** Called after each mutant. */
  readonly progress: (done: readonly Judged[]) => void;
}

/** Returns the verdicts in the order of the mutants. `numbers`: their numbers in the instrumented copy. */
export async function runMutants(
  project: Project,
  mutants: readonly Mutant[],
  numbers: ReadonlyMap<string, number>,
  measured: Measured,
  { isLast, progress }: RunOptions,
): Promise<Judged[]> {
  const numbersOf = new Map<string, Set<number>>();
  for (const { file, id } of mutants) {
    numbersOf.set(file, (numbersOf.get(file) ?? new Set()).add(numbers.get(id)!));
  }
  const judged: Judged[] = [];
  // Those that need a process of their own come last: the others are told sooner.
  const atLoad = (mutant: Mutant) => Number(measured.atLoad.has(numbers.get(mutant.id)!));
  const inTurn = [...mutants].sort((a, b) => atLoad(a) - atLoad(b));
  await inParallel(inTurn, project.workers, async (take) => {
    const judge = new Judge(project);
    for (let mutant = take(); mutant !== undefined; mutant = take()) {
      const number = numbers.get(mutant.id)!;
      const tests = orderTests(mutant, number, measured, { isLast, ofFile: numbersOf.get(mutant.file)! });
      const startMs = performance.now();
      const verdict = await judge.judge(number, tests, measured.atLoad.has(number));
      judged.push({ mutant, verdict, ms: performance.now() - startMs });
      progress(judged);
    }
    await judge.end();
  });
  const place = new Map(mutants.map(({ id }, at) => [id, at]));
  return judged.sort((a, b) => place.get(a.mutant.id)! - place.get(b.mutant.id)!);
}
