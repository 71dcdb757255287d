/** Who may import whom, held against what `deno info` says of the real module graph. */
import { assertEquals } from "./support/assert.ts";

/** A folder may import itself and what stands here. `cli` alone joins sys to the rest. */
const allowed: Record<string, readonly string[]> = {
  "errors.ts": [],
  "ports.ts": [],
  "units.ts": [],
  streams: ["errors.ts"],
  core: ["errors.ts", "ports.ts", "units.ts"],
  gossip: ["errors.ts", "ports.ts"],
  pki: ["errors.ts", "ports.ts"],
  cloud: ["errors.ts", "ports.ts"],
  discovery: ["errors.ts", "ports.ts", "cloud"],
  sys: ["errors.ts", "ports.ts"],
  storage: ["errors.ts", "ports.ts", "streams", "cloud"],
  snapshot: ["errors.ts", "ports.ts", "streams", "storage"],
  etcd: ["errors.ts", "ports.ts", "streams"],
  e2db: [],
  manager: [
    "errors.ts",
    "ports.ts",
    "streams",
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

const areaOf = (path: string) => path.slice(root.length).split("/")[0]!;

Deno.test("imports go only in the directions that docs/architecture.md draws", async () => {
  const wrong: string[] = [];
  for (const module of await moduleGraph()) {
    if (!module.local?.startsWith(root)) continue;
    const from = areaOf(module.local);
    for (const dependency of module.dependencies ?? []) {
      const target = dependency.code?.specifier ?? dependency.type?.specifier ?? "";
      if (!target.startsWith(`file://${root}`)) continue;
      const to = areaOf(target.slice("file://".length));
      const may = allowed[from];
      if (may === undefined) wrong.push(`lib/${from} is not in the table`);
      else if (from !== to && !may.includes("*") && !may.includes(to)) {
        wrong.push(`${module.local.slice(root.length)} imports ${to}`);
      }
    }
  }
  assertEquals(wrong, []);
});

Deno.test("only lib/sys and lib/cli touch Deno.*, the real clock and chance", async () => {
  const wrong: string[] = [];
  for (const file of await filesBelow(root)) {
    // e2db stands alone, without lib/sys: its one file of platform defaults is its own edge.
    if (["sys", "cli"].includes(areaOf(file)) || file.endsWith("/e2db/platform.ts")) continue;
    (await Deno.readTextFile(file)).split("\n").forEach((line, index) => {
      const code = line.replace(/\/\/.*|^\s*\*.*|\/\*\*.*/, "");
      if (/\b(Date\.now\(|new Date\(\)|performance\.now\(|Math\.random\(|Deno\.[a-zA-Z])/.test(code)) {
        wrong.push(`${file.slice(root.length)}:${index + 1}: ${line.trim()}`);
      }
    });
  }
  assertEquals(wrong, []);
});
