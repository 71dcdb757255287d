/** Runs every test once without a mutant and records its duration and the mutants that make a difference in it. */
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { TestKey } from "./host.ts";
import { HostProcess } from "./host_process.ts";

export interface MeasuredTest extends TestKey {
  /** Path of the file below the root. */
  readonly path: string;
  readonly name: string;
  readonly ms: number;
  readonly steps: number;
  readonly reached: ReadonlySet<number>;
  /** The files with mutants that its file imports. */
  readonly imports: ReadonlySet<string>;
}

export interface Measured {
  readonly tests: readonly MeasuredTest[];
  /** Mutants that run while modules load: only a new process shows their effect. */
  readonly atLoad: ReadonlySet<number>;
  /** Tests and files that cannot be used, with the reason. */
  readonly unusable: readonly string[];
}

export interface Project {
  readonly copy: string;
  readonly config: string | undefined;
  readonly workers: number;
}

/** Runs `work` for each item, in `workers` parallel loops. */
export async function inParallel<T>(
  items: readonly T[],
  workers: number,
  loop: (take: () => T | undefined) => Promise<void>,
): Promise<void> {
  let next = 0;
  const take = () => items[next++];
  await Promise.all(Array.from({ length: Math.min(workers, items.length) }, () => loop(take)));
}

/**
 * `importsOf`: the mutated files that each test file imports; a file without any is left out. `leaveOut`: names of tests
 * that are not run.
 */
export async function measureTests(
  project: Project,
  importsOf: ReadonlyMap<string, ReadonlySet<string>>,
  leaveOut: RegExp,
): Promise<Measured> {
  const files = [...importsOf].filter(([, imports]) => imports.size > 0);
  const found: Measured[] = [];
  const start = () => new HostProcess(project.copy, project.config);
  await inParallel(files, project.workers, async (take) => {
    let host = start();
    let isFresh = true;
    for (let entry = take(); entry !== undefined; entry = take()) {
      const url = pathToFileURL(join(project.copy, entry[0])).href;
      let measured = await measureFile(host, url, ...entry, leaveOut);
      const fails = measured.unusable.length > 0;
      if (fails) {
        await host.end();
        host = start();
        // As in `deno test`, alone in its process: tests that fail beside other files are not measured.
        if (!isFresh) measured = await measureFile(host, url, ...entry, leaveOut);
      }
      isFresh &&= fails;
      found.push(measured);
    }
    await host.end();
  });
  const tests = found.flatMap((each) => each.tests);
  return {
    tests: tests.sort((a, b) => a.path < b.path ? -1 : a.path > b.path ? 1 : a.at - b.at),
    atLoad: new Set(found.flatMap(({ atLoad }) => [...atLoad])),
    unusable: found.flatMap(({ unusable }) => unusable).sort(),
  };
}

async function measureFile(
  host: HostProcess,
  file: string,
  path: string,
  imports: ReadonlySet<string>,
  leaveOut: RegExp,
): Promise<Measured> {
  const tests: MeasuredTest[] = [];
  const loaded = await host.ask({ kind: "load", file });
  if (loaded.kind !== "loaded") {
    return { tests, atLoad: new Set(), unusable: [`${path}: cannot be loaded (${loaded.kind})`] };
  }
  const unusable: string[] = [];
  for (const [at, name] of loaded.names.entries()) {
    if (leaveOut.test(name)) continue;
    const answer = await host.ask({ kind: "record", test: { file, at } });
    if (answer.kind !== "recorded") {
      unusable.push(`${path}: "${name}" and what follows it: ${answer.kind}`);
      break;
    }
    const { ms, steps, reached, error } = answer;
    if (error !== undefined) unusable.push(`${path}: "${name}": ${error}`);
    else tests.push({ file, at, path, name, ms, steps, reached: new Set(reached), imports });
  }
  return { tests, atLoad: new Set(loaded.reached), unusable };
}
