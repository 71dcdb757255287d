/** The copy of the project in which mutants run: the working tree is never changed. */
import { dirname, join, relative, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { instrument } from "./instrument.ts";
import type { Site } from "./mutant.ts";

const leftOut = new Set([".git", "node_modules", "dist", "tmp"]);

export async function copyProject(root: string, copy: string): Promise<void> {
  await Deno.mkdir(copy, { recursive: true });
  for await (const entry of Deno.readDir(root)) {
    if (leftOut.has(entry.name)) continue;
    const from = join(root, entry.name), to = join(copy, entry.name);
    if (entry.isDirectory) await copyProject(from, to);
    else if (entry.isFile) await Deno.copyFile(from, to);
  }
}

export async function filesBelow(path: string, suffix = ".ts"): Promise<string[]> {
  if ((await Deno.stat(path)).isFile) return [path];
  const found: string[] = [];
  for await (const entry of Deno.readDir(path)) {
    if (leftOut.has(entry.name)) continue;
    const below = join(path, entry.name);
    if (entry.isDirectory) found.push(...await filesBelow(below, suffix));
    else if (entry.name.endsWith(suffix)) found.push(below);
  }
  return found.sort();
}

export interface SourceFile {
  /** Path below the root. */
  readonly file: string;
  readonly text: string;
  readonly sites: readonly Site[];
}

/** Writes the instrumented files over those of the copy. */
export async function instrumentCopy(
  copy: string,
  sources: readonly SourceFile[],
  numberOf: (id: string) => number,
): Promise<void> {
  const runtime = new URL("./runtime.ts", import.meta.url).href;
  for (const { file, text, sites } of sources) {
    await Deno.writeTextFile(join(copy, file), instrument(text, sites, { runtime, numberOf }));
  }
}

interface GraphModule {
  readonly specifier: string;
  readonly dependencies?: readonly { readonly code?: { readonly specifier?: string } }[];
}

/** By test file of the copy: the `files` that it imports, directly or not. Both are paths below the root. */
export async function importsOf(
  copy: string,
  config: string | undefined,
  tests: readonly string[],
  files: readonly string[],
): Promise<Map<string, Set<string>>> {
  const all = join(copy, ".mutants_graph.ts");
  await Deno.writeTextFile(all, tests.map((test) => `import ${JSON.stringify(`./${test}`)};\n`).join(""));
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", ...config === undefined ? ["--no-config"] : ["--config", config], all],
    cwd: copy,
  }).output();
  if (!success) throw new Error(`Cannot read the module graph of the tests: ${new TextDecoder().decode(stderr)}`);
  const { modules } = JSON.parse(new TextDecoder().decode(stdout)) as { modules: readonly GraphModule[] };
  const next = new Map(modules.map(({ specifier, dependencies = [] }) => [
    specifier,
    dependencies.flatMap(({ code }) => code?.specifier ?? []),
  ]));
  const urlOf = (file: string) => pathToFileURL(join(copy, file)).href;
  const wanted = new Map(files.map((file) => [urlOf(file), file]));
  return new Map(tests.map((test) => {
    const seen = new Set([urlOf(test)]);
    for (const url of seen) for (const each of next.get(url) ?? []) seen.add(each);
    return [test, new Set([...seen].flatMap((url) => wanted.get(url) ?? []))];
  }));
}

export const configOf = async (copy: string): Promise<string | undefined> => {
  const path = join(copy, "deno.json");
  return await Deno.stat(path).then(() => path, () => undefined);
};

/** Lines that changed against a revision of git, by path below the root. */
export async function changedLines(root: string, revision: string, path: string): Promise<Map<string, Set<number>>> {
  const { success, stdout, stderr } = await new Deno.Command("git", {
    args: ["-C", root, "diff", "--unified=0", "--no-color", "--no-ext-diff", "--relative", revision, "--", path],
  }).output();
  if (!success) {
    throw new Error(`Cannot compare with revision "${revision}": ${new TextDecoder().decode(stderr).trim()}`);
  }
  return parseDiff(new TextDecoder().decode(stdout));
}

export function parseDiff(diff: string): Map<string, Set<number>> {
  const changed = new Map<string, Set<number>>();
  let lines = new Set<number>();
  for (const line of diff.split("\n")) {
    const file = /^\+\+\+ b\/(.*)$/.exec(line)?.[1];
    if (file !== undefined) changed.set(file, lines = new Set());
    const hunk = /^@@ -\S+ \+(\d+)(?:,(\d+))? @@/.exec(line);
    if (hunk === null) continue;
    const first = Number(hunk[1]), count = Number(hunk[2] ?? 1);
    for (let at = first; at < first + count; at++) lines.add(at);
  }
  return changed;
}

/** A path as it is given on the command line, below the root. */
export function belowRoot(root: string, path: string): string {
  const below = relative(root, resolve(root, path));
  if (below.startsWith("..") || dirname(below) === below) {
    throw new Error(`Cannot mutate "${path}": it is not below "${root}"`);
  }
  return below;
}
