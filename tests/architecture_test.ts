/** Who may import whom, held against what `deno info` says of the real module graph, and how long a function may be. */
import { ts } from "@ts-morph/common";
import { assertEquals } from "./support/assert.ts";

/** Files that every folder may import, but e2db, which is a library of its own. */
const openToAll = ["without_undefined.ts"];

/** A folder may import itself and what stands here. `cli` alone joins sys to the rest. */
const allowed: Record<string, readonly string[]> = {
  "bytes.ts": [],
  "deno_grpc.ts": [],
  "errors.ts": [],
  "ports.ts": [],
  "units.ts": [],
  "without_undefined.ts": [],
  facts: [],
  streams: ["errors.ts", "bytes.ts"],
  gob: ["errors.ts", "streams"],
  core: ["errors.ts", "ports.ts", "units.ts", "facts"],
  gossip: ["errors.ts", "ports.ts", "bytes.ts", "streams", "gob"],
  pki: ["errors.ts", "ports.ts", "bytes.ts"],
  cloud: ["errors.ts", "ports.ts"],
  discovery: ["errors.ts", "ports.ts", "cloud"],
  sys: ["errors.ts", "ports.ts", "deno_grpc.ts"],
  storage: ["errors.ts", "ports.ts", "streams", "cloud"],
  snapshot: ["errors.ts", "ports.ts", "bytes.ts", "streams", "storage", "facts"],
  etcd: ["errors.ts", "ports.ts", "bytes.ts", "streams", "facts"],
  e2db: ["bytes.ts", "deno_grpc.ts"],
  manager: [
    "errors.ts",
    "ports.ts",
    "streams",
    "gob",
    "facts",
    "core",
    "gossip",
    "etcd",
    "snapshot",
    "storage",
    "discovery",
    "pki",
    "units.ts",
  ],
  cli: ["*"],
};

/** The folders of lib/core from the lowest to the highest: each imports itself and those before it. */
const coreFloors = [
  "facts",
  "evidence",
  "rules",
  "rules/bootstrap",
  "rules/membership",
  "rules/start",
  "plans",
  "state",
  "watch",
  "commands",
  "apply",
  "phases",
  "",
];

/** Files that a folder holds at most. */
const filesMax = 20;

const root = new URL("../lib/", import.meta.url).pathname;

async function filesBelow(directory: string): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(directory)) {
    const path = `${directory}${entry.name}`;
    if (entry.isDirectory) found.push(...await filesBelow(`${path}/`));
    else if (entry.name.endsWith(".ts")) found.push(path);
  }
  return found.sort();
}

interface ModuleInfo {
  local?: string;
  dependencies?: {
    specifier: string;
    code?: { specifier?: string };
    type?: { specifier?: string };
    isDynamic?: boolean;
  }[];
}

async function moduleGraph(): Promise<ModuleInfo[]> {
  const modules = new Map<string, ModuleInfo>();
  const files = await filesBelow(root);
  const all = await Deno.makeTempFile({ suffix: ".ts" });
  await Deno.writeTextFile(all, files.map((file) => `import "file://${file}";\n`).join(""));
  const config = new URL("../deno.json", import.meta.url).pathname;
  const { stdout, success, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", "--config", config, all],
  }).output();
  await Deno.remove(all);
  if (!success) throw new Error(new TextDecoder().decode(stderr));
  for (const module of JSON.parse(new TextDecoder().decode(stdout)).modules as ModuleInfo[]) {
    if (module.local) modules.set(module.local, module);
  }
  return [...modules.values()];
}

/** Each file of lib, by its path there, and the files of lib that it imports, types included. */
async function importsOfLib(): Promise<Map<string, string[]>> {
  const imports = new Map<string, string[]>();
  for (const module of await moduleGraph()) {
    if (!module.local?.startsWith(root)) continue;
    const targets = (module.dependencies ?? []).flatMap(({ code, type }) => {
      const target = code?.specifier ?? type?.specifier ?? "";
      return target.startsWith(`file://${root}`) ? [target.slice(`file://${root}`.length)] : [];
    });
    imports.set(module.local.slice(root.length), targets);
  }
  return imports;
}

const topOf = (path: string) => path.split("/")[0]!;
const floorOf = (path: string) => coreFloors.indexOf(path.split("/").slice(1, -1).join("/"));

Deno.test("imports go only in the directions that docs/architecture.md draws", async () => {
  const wrong: string[] = [];
  for (const [file, targets] of await importsOfLib()) {
    const own = allowed[topOf(file)];
    const may = topOf(file) === "e2db" ? own : own && [...own, ...openToAll];
    if (may === undefined) wrong.push(`lib/${topOf(file)} is not in the table`);
    if (topOf(file) === "core" && floorOf(file) === -1) wrong.push(`the folder of lib/${file} is not in the table`);
    for (const target of targets) {
      if (topOf(file) !== topOf(target)) {
        if (!may?.includes("*") && !may?.includes(topOf(target))) wrong.push(`${file} imports ${target}`);
      } else if (topOf(file) === "core" && floorOf(target) > floorOf(file)) {
        wrong.push(`${file} imports ${target}, which stands above it`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("no file of lib imports itself through others", async () => {
  const imports = await importsOfLib();
  const [done, path]: [Set<string>, string[]] = [new Set(), []];
  const circles: string[] = [];
  const follow = (file: string): void => {
    const at = path.indexOf(file);
    if (at !== -1) circles.push([...path.slice(at), file].join(" → "));
    if (at !== -1 || done.has(file)) return;
    path.push(file);
    for (const target of imports.get(file) ?? []) follow(target);
    path.pop();
    done.add(file);
  };
  for (const file of imports.keys()) follow(file);
  assertEquals(circles, []);
});

Deno.test(`no folder of lib has more than ${filesMax} files`, async () => {
  const count = new Map<string, number>();
  for (const file of await filesBelow(root)) {
    const folder = file.slice(root.length, file.lastIndexOf("/"));
    count.set(folder, (count.get(folder) ?? 0) + 1);
  }
  assertEquals([...count].filter(([, files]) => files > filesMax), []);
});

Deno.test("only lib/sys and lib/cli touch Deno.*, the real clock and chance", async () => {
  const wrong: string[] = [];
  for (const file of await filesBelow(root)) {
    // e2db stands alone, without lib/sys: its one file of platform defaults is its own edge.
    if (["sys", "cli"].includes(topOf(file.slice(root.length))) || file.endsWith("/e2db/platform.ts")) continue;
    (await Deno.readTextFile(file)).split("\n").forEach((line, index) => {
      const code = line.replace(/\/\/.*|^\s*\*.*|\/\*\*.*/, "");
      if (/\b(Date\.now\(|new Date\(\)|performance\.now\(|Math\.random\(|Deno\.[a-zA-Z])/.test(code)) {
        wrong.push(`${file.slice(root.length)}:${index + 1}: ${line.trim()}`);
      }
    });
  }
  assertEquals(wrong, []);
});

const functionLinesMax = 60;

/** Functions that may be longer, each with the reason. */
const longFunctions: Readonly<Record<string, string>> = {
  "lib/core/apply/effect_result.ts applyDone": "one case for each effect",
  "lib/core/apply/effect_result.ts applyFailed": "one case for each effect",
  "lib/core/apply/event.ts applyEvent": "one case for each event",
  "lib/core/phases/execute_plan.ts executeOperation": "one case for each operation of a plan",
  "lib/core/state/state.ts createNode": "one value for each field of the state",
};

async function* sourcesBelow(folder: string): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) yield* sourcesBelow(`${folder}/${name}`);
    else if (name.endsWith(".ts")) yield `${folder}/${name}`;
  }
}

/** "file name" of each function with more than `functionLinesMax` lines. */
function longIn(file: string, text: string): string[] {
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true);
  const lineAt = (position: number) => source.getLineAndCharacterOfPosition(position).line;
  const found: string[] = [];
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && "body" in node && node.body !== undefined) {
      const lines = lineAt(node.end) - lineAt(node.getStart()) + 1;
      const named = node.name ?? (ts.isVariableDeclaration(node.parent) ? node.parent.name : undefined);
      if (lines > functionLinesMax) found.push(`${file} ${named?.getText() ?? `line ${lineAt(node.getStart()) + 1}`}`);
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

Deno.test("no function is longer than 60 lines but those that are listed with a reason", async () => {
  const root = new URL("../", import.meta.url).pathname;
  const found: string[] = [];
  for (const folder of ["lib", "tools"]) {
    for await (const path of sourcesBelow(`${root}${folder}`)) {
      found.push(...longIn(path.slice(root.length), await Deno.readTextFile(path)));
    }
  }
  assertEquals(found.sort(), Object.keys(longFunctions).sort());
});
