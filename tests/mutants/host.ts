/**
 * Runs tests inside the copy of the project, in a separate process that `host_process.ts` starts: loads test files, and
 * calls their tests again for each mutant. One request a line on stdin, one answer a line on stdout. The output of tests
 * is discarded, and this module reads and writes no file.
 */
import { begin, record, recorded } from "./runtime.ts";

export interface TestKey {
  /** URL of the test file, and the index of the test in it. */
  readonly file: string;
  readonly at: number;
}

export type Request =
  | { readonly kind: "load"; readonly file: string }
  | { readonly kind: "record"; readonly test: TestKey }
  /** `fromStart`: the mutant also runs while modules load; else a failure must disappear without the mutant. */
  | { readonly kind: "run"; readonly mutant: number; readonly tests: readonly TestRun[]; readonly fromStart: boolean };

export interface TestRun extends TestKey {
  /** Steps of the run after which it counts as endless. */
  readonly limit: number;
}

export type Answer =
  | { readonly kind: "loaded"; readonly names: readonly string[]; readonly reached: readonly number[] }
  | {
    readonly kind: "recorded";
    readonly ms: number;
    readonly steps: number;
    readonly reached: readonly number[];
    readonly error?: string;
  }
  /** A test begins: its time limit starts here. */
  | { readonly kind: "begins"; readonly at: number }
  | { readonly kind: "survived" }
  | { readonly kind: "killed"; readonly at: number; readonly error: string }
  /** The test fails without a mutant, too: an earlier one left state behind in this process. */
  | { readonly kind: "spoiled" };

/** Marks the lines that are answers. */
export const answerMark = "\u0001answer ";

interface Test {
  readonly name: string;
  readonly fn: (context: Deno.TestContext) => unknown;
}

const tests = new Map<string, Test[]>();
let collecting: Test[] = [];
/** An uncaught error of a promise or a timer that a test started. */
let stray: unknown;

function collect(...args: readonly unknown[]): void {
  const parts: Partial<Test> & { ignore?: boolean } = {};
  for (const arg of args) {
    if (typeof arg === "string") Object.assign(parts, { name: arg });
    else if (typeof arg === "function") Object.assign(parts, { fn: arg, name: parts.name ?? arg.name });
    else Object.assign(parts, arg);
  }
  const { name, fn, ignore } = parts;
  if (fn !== undefined) collecting.push({ name: name ?? "", fn: ignore ? () => {} : fn });
}

function contextOf(name: string): Deno.TestContext {
  const step = async (...args: readonly unknown[]): Promise<boolean> => {
    const definition = args.find((arg) => typeof arg === "object") as Partial<Test> | undefined;
    const fn = args.find((arg) => typeof arg === "function") as Test["fn"] | undefined ?? definition?.fn;
    await fn?.(contextOf(typeof args[0] === "string" ? args[0] : definition?.name ?? "step"));
    return true;
  };
  return { name, origin: "", step } as unknown as Deno.TestContext;
}

async function runTest({ file, at }: TestKey): Promise<unknown> {
  const test = tests.get(file)?.[at];
  if (test === undefined) throw new Error(`Cannot run test ${at} of "${file}": it was not loaded`);
  stray = undefined;
  try {
    await test.fn(contextOf(test.name));
    return stray;
  } catch (error) {
    return error ?? "threw nothing";
  }
}

async function load(file: string): Promise<void> {
  if (tests.has(file)) return;
  collecting = [];
  tests.set(file, collecting);
  await import(file);
}

const textOf = (error: unknown) =>
  (error instanceof Error ? `${error.name}: ${error.message}` : String(error)).slice(0, 300);

/** A step limit far above the steps of the original while it loads. */
const loadLimit = 10_000_000;

async function runMutant({ mutant, tests, fromStart }: Extract<Request, { kind: "run" }>): Promise<Answer> {
  for (const [at, test] of tests.entries()) {
    answer({ kind: "begins", at });
    begin(fromStart ? mutant : -1, loadLimit);
    try {
      await load(test.file);
    } catch (error) {
      return { kind: "killed", at, error: `while loading: ${textOf(error)}` };
    }
    begin(mutant, test.limit);
    const error = await runTest(test);
    if (error === undefined) continue;
    const killed = { kind: "killed", at, error: textOf(error) } as const;
    if (fromStart) return killed;
    begin(-1);
    answer({ kind: "begins", at });
    return await runTest(test) === undefined ? killed : { kind: "spoiled" };
  }
  begin(-1);
  return { kind: "survived" };
}

async function serve(request: Request): Promise<Answer> {
  if (request.kind === "run") return await runMutant(request);
  record(true);
  begin(-1);
  try {
    if (request.kind === "load") {
      await load(request.file);
      const names = tests.get(request.file)!.map(({ name }) => name);
      return { kind: "loaded", names, reached: recorded().reached };
    }
    const startMs = performance.now();
    const error = await runTest(request.test);
    const ms = performance.now() - startMs;
    return { kind: "recorded", ms, ...recorded(), ...(error === undefined ? {} : { error: textOf(error) }) };
  } finally {
    record(false);
  }
}

function answer(value: Answer): void {
  const line = new TextEncoder().encode(`${answerMark}${JSON.stringify(value)}\n`);
  for (let at = 0; at < line.length;) at += Deno.stdout.writeSync(line.subarray(at));
}

async function main(): Promise<void> {
  Object.defineProperty(Deno, "test", { value: collect });
  for (const name of ["log", "info", "warn", "error", "debug"] as const) console[name] = () => {};
  globalThis.addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    stray ??= event.reason;
  });
  globalThis.addEventListener("error", (event) => {
    event.preventDefault();
    stray ??= event.error;
  });
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) answer(await serve(JSON.parse(line) as Request));
  }
  Deno.exit(0);
}

if (import.meta.main) await main();
