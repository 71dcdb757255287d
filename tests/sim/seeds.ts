/** Runs seeds of a simulation: one with its trace, or many in as many threads as there are processors. */

export interface SeedOutcome {
  readonly seed: number;
  /** Undefined: no violation. */
  readonly failure: string | undefined;
}

export interface SeedRun<Outcome extends SeedOutcome> {
  /** The task that replays a seed. */
  task: string;
  /** A module that calls {@link serveSeeds}. */
  worker: URL;
  run: (seed: number, trace: (line: string) => void) => Outcome;
  /** Summarises a run in a few words. */
  summary: (outcomes: readonly Outcome[]) => string;
}

interface Scope {
  onmessage: (event: MessageEvent<{ first: number; last: number }>) => void;
  postMessage(message: unknown): void;
}

/** Seeds that a worker is given at a time. */
const share = 25;

/** The body of a worker: runs the seeds that it receives. */
export function serveSeeds(run: (seed: number) => SeedOutcome): void {
  const scope = self as unknown as Scope;
  scope.onmessage = ({ data: { first, last } }) => {
    scope.postMessage(Array.from({ length: last - first }, (_, index) => run(first + index)));
  };
}

/** Runs seeds in parallel in `workers` threads and returns the outcomes by seed. */
export async function runSeeds<Outcome extends SeedOutcome>(
  worker: URL,
  { from, count, workers }: { from: number; count: number; workers: number },
): Promise<Outcome[]> {
  let next = from;
  const all: Outcome[] = [];
  await Promise.all(Array.from({ length: workers }, async () => {
    const thread = new Worker(worker, { type: "module" });
    try {
      while (next < from + count) {
        const first = next;
        const last = Math.min(first + share, from + count);
        next = last;
        const outcomes = await new Promise<Outcome[]>((resolve, reject) => {
          thread.onmessage = (event) => resolve(event.data);
          thread.onerror = (event) => reject(new Error(event.message));
          thread.postMessage({ first, last });
        });
        all.push(...outcomes);
      }
    } finally {
      thread.terminate();
    }
  }));
  return all.sort((a, b) => a.seed - b.seed);
}

/** The command that replays a seed. */
export function replayOf(task: string, seed: number): string {
  return `deno task ${task} --seed ${seed}`;
}

/**
 * `--seed N` prints the trace of one; `--seeds COUNT [--from N] [--workers N]` runs many and prints only the failures,
 * each with the command that replays it. Returns the exit code.
 */
export async function main<Outcome extends SeedOutcome>(
  args: readonly string[],
  { task, worker, run, summary }: SeedRun<Outcome>,
): Promise<number> {
  const value = (name: string) => {
    const at = args.indexOf(name);
    return at < 0 ? undefined : Number(args[at + 1]);
  };
  const one = value("--seed");
  if (one !== undefined) {
    const outcome = run(one, (line) => console.log(line));
    console.log(`seed ${one}: ${outcome.failure ?? "whole"}`);
    return outcome.failure === undefined ? 0 : 1;
  }
  const from = value("--from") ?? 0, count = value("--seeds") ?? 200;
  const outcomes = await runSeeds<Outcome>(worker, {
    from,
    count,
    workers: value("--workers") ?? navigator.hardwareConcurrency,
  });
  const failed = outcomes.filter(({ failure }) => failure !== undefined);
  for (const { seed, failure } of failed) console.log(`seed ${seed}: ${failure}\n  replay: ${replayOf(task, seed)}`);
  console.log(`${count} seeds from ${from}, ${failed.length} failed, ${summary(outcomes)}`);
  return failed.length === 0 ? 0 : 1;
}
