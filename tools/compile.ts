/**
 * Builds the executable `dist/e2d`:
 *
 *   deno task compile                      only e2d; it finds or downloads etcd when it runs
 *   deno task compile --embed-etcd         with etcd and etcdutl inside, for machines without a network
 *   deno task compile --output PATH        to another path
 *   deno task compile --etcd-dir DIR --embed-etcd    the etcd of this folder instead of the default version
 *
 * `deno compile` embeds a whole node_modules folder with type declarations and source maps, and the executable reads all
 * embedded files into memory at every start. Therefore the build uses a copy with the product code and the runtime files
 * of the packages that main.ts can reach. This saves 25 MB and 30 ms compared with compiling in place.
 */
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { embedEtcd } from "./embed_etcd.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const build = join(root, "dist", `.build-${Deno.pid}`);

interface Options {
  output: string;
  embedEtcd: boolean;
  etcdDir: string | undefined;
}

function parseOptions(args: readonly string[]): Options {
  const options: Options = { output: join(root, "dist", "e2d"), embedEtcd: false, etcdDir: undefined };
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === "--embed-etcd") options.embedEtcd = true;
    else if (arg === "--output" && rest.length > 0) options.output = resolve(rest.shift()!);
    else if (arg === "--etcd-dir" && rest.length > 0) options.etcdDir = resolve(rest.shift()!);
    else throw new Error(`unknown argument "${arg}": allowed are --embed-etcd, --etcd-dir DIR and --output PATH`);
  }
  return options;
}

/** Runs this Deno in the build folder; shows its output if it fails. */
async function deno(args: string[], cwd = build): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), { args, cwd }).output();
  const decoder = new TextDecoder();
  if (!success) throw new Error(`deno ${args.join(" ")} failed:\n${decoder.decode(stderr)}`);
  return decoder.decode(stdout);
}

async function copyFolder(from: string, to: string): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (entry.isDirectory) await copyFolder(join(from, entry.name), join(to, entry.name));
    else await Deno.copyFile(join(from, entry.name), join(to, entry.name));
  }
}

async function* filesBelow(folder: string): AsyncGenerator<string> {
  for await (const entry of Deno.readDir(folder)) {
    const path = join(folder, entry.name);
    if (entry.isDirectory) yield* filesBelow(path);
    else yield path;
  }
}

/** The output of `deno info --json`. */
export interface ModuleGraph {
  modules: { kind: string; npmPackage?: string }[];
  npmPackages: Record<string, { name: string; version: string; dependencies: string[] }>;
}

/** "name@version" of every package that main.ts can reach, lazily imported ones included. */
export function reachablePackages(graph: ModuleGraph): Set<string> {
  // The graph contains every package of the lock file, also those of tests: start from the imports of the modules.
  const left = graph.modules.flatMap(({ npmPackage }) => npmPackage ?? []);
  const seen = new Set<string>();
  for (let id = left.pop(); id !== undefined; id = left.pop()) {
    if (seen.has(id)) continue;
    seen.add(id);
    left.push(...graph.npmPackages[id]?.dependencies ?? []);
  }
  return new Set(
    [...seen].flatMap((id) => graph.npmPackages[id] ?? []).map(({ name, version }) => `${name}@${version}`),
  );
}

/** Removes packages that only tests use, and files that are not loaded at run time. Licences stay. */
async function prune(nodeModules: string, keep: Set<string>): Promise<void> {
  const store = join(nodeModules, ".deno");
  for await (const { name } of Deno.readDir(store)) {
    // A folder is named "@scope+name@1.2.3", with the suffix "_2" for further copies.
    const id = name.replace("+", "/").replace(/_\d+$/, "");
    if (!name.includes("@", 1)) continue;
    if (!keep.has(id) || id.startsWith("@types/")) await Deno.remove(join(store, name), { recursive: true });
  }
  for await (const path of filesBelow(nodeModules)) {
    const unused = /\.(d\.[cm]?ts|[cm]?ts|map|flow|md|markdown|html)$/i.test(path);
    if (unused && !/licen[cs]e/i.test(basename(path)) || await isDangling(path)) await Deno.remove(path);
  }
  // The AWS packages contain all code twice; Deno uses the copy in their "main" and "node" entries.
  for (const folder of await foldersCalled("dist-es", nodeModules)) {
    if (await exists(join(dirname(folder), "dist-cjs"))) await Deno.remove(folder, { recursive: true });
  }
}

async function foldersCalled(wanted: string, folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (!isDirectory) continue;
    if (name === wanted) found.push(join(folder, name));
    else found.push(...await foldersCalled(wanted, join(folder, name)));
  }
  return found;
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

async function isDangling(path: string): Promise<boolean> {
  if (!(await Deno.lstat(path)).isSymlink) return false;
  return !await exists(path);
}

/** A worker is loaded by its URL, not imported: the module graph does not contain it. */
async function workers(): Promise<string[]> {
  const found: string[] = [];
  for await (const path of filesBelow(join(build, "lib"))) if (path.endsWith("_worker.ts")) found.push(path);
  return found.sort();
}

/** An executable that does not start never gets the final name: DENORT_BIN may belong to another Deno. */
async function startsAndSays(executable: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(executable, {
    args: ["version"],
    signal: AbortSignal.timeout(60_000),
  }).output();
  if (!success) {
    const state = new TextDecoder().decode(stderr).trim().split("\n")[0];
    throw new Error(`the new executable does not start: ${state}\nDoes DENORT_BIN fit Deno ${Deno.version.deno}?`);
  }
  return new TextDecoder().decode(stdout).trim();
}

/** With this exit code install.sh falls back to a launcher. */
const runtimeMissingExitCode = 3;
class RuntimeMissing extends Error {}

async function compile(options: Options): Promise<void> {
  await Deno.mkdir(build, { recursive: true });
  for (const name of ["main.ts", "deno.json", "deno.lock"]) await Deno.copyFile(join(root, name), join(build, name));
  await copyFolder(join(root, "lib"), join(build, "lib"));
  await deno(["install", "--quiet", "--frozen", "--node-modules-dir=auto"]);
  const graph: ModuleGraph = JSON.parse(await deno(["info", "--json", "--frozen", "main.ts"], root));
  await prune(join(build, "node_modules"), reachablePackages(graph));
  const include = (await workers()).flatMap((path) => ["--include", path]);
  if (options.embedEtcd) {
    await embedEtcd({ folder: join(build, "embedded"), etcdDir: options.etcdDir });
    include.push("--include", join(build, "embedded"));
  }
  // `deno task ok` checks the types; the copy has no type declarations.
  const flags = ["--quiet", "--no-check", "--no-lock", "--node-modules-dir=manual", "--no-prompt", "-P=e2d"];
  try {
    await deno(["compile", ...flags, ...include, "--output", "e2d", "main.ts"]);
  } catch (error) {
    if (Deno.env.has("DENORT_BIN") || !/release\/\S*denort/.test(String(error))) throw error;
    throw new RuntimeMissing(
      `the runtime part of Deno ${Deno.version.deno} cannot be downloaded: set DENORT_BIN to a copy of it`,
      { cause: error },
    );
  }
  const version = await startsAndSays(join(build, "e2d"));
  await Deno.mkdir(dirname(options.output), { recursive: true });
  const { size } = await Deno.stat(join(build, "e2d"));
  await moveFile(join(build, "e2d"), options.output);
  console.log(`${options.output}: ${version}, ${(size / 1e6).toFixed(1)} MB`);
}

/** A running e2d keeps its file; the new file replaces the name atomically. */
async function moveFile(from: string, to: string): Promise<void> {
  const beside = `${to}.new-${Deno.pid}`;
  try {
    await Deno.copyFile(from, beside);
    await Deno.rename(beside, to);
  } catch (error) {
    await Deno.remove(beside).catch(() => {});
    throw error;
  }
}

if (import.meta.main) {
  try {
    await compile(parseOptions(Deno.args));
  } catch (error) {
    console.error(`compile: ${error instanceof Error ? error.message : error}`);
    Deno.exitCode = error instanceof RuntimeMissing ? runtimeMissingExitCode : 1;
  } finally {
    await Deno.remove(build, { recursive: true }).catch(() => {});
  }
}
