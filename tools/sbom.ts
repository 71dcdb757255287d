/**
 * Writes `dist/e2d.cdx.json`: the software bill of materials of the executable, in CycloneDX 1.6.
 *
 *   deno task sbom [--output PATH]
 *
 * deno.lock and the modules that main.ts can reach determine its content: the same checkout with the same Deno gives the
 * same bytes. Packages that only tests use are listed as `excluded`. Licences are read from the packages in Deno's cache.
 */
import { createHash } from "node:crypto";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { pinnedSum } from "../lib/etcd/install/pinned_sums.ts";
import { defaultVersion } from "../lib/etcd/version.ts";
import { type ModuleGraph, reachablePackages } from "./compile.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

export interface SbomInput {
  readonly project: { readonly name: string; readonly version: string; readonly license: string };
  readonly graph: ModuleGraph;
  /** The text of deno.lock, of format 5. */
  readonly lock: string;
  /** By "name@version": an SPDX expression, or the text of the package. */
  readonly licences: ReadonlyMap<string, string>;
  readonly runtime: { readonly deno: string; readonly v8: string };
  /** `sums` by architecture: SHA-256 of the release archive, hexadecimal. */
  readonly etcd: { readonly version: string; readonly sums: Readonly<Record<string, string>> };
}

interface Component {
  readonly type: "application" | "library" | "platform";
  readonly "bom-ref": string;
  readonly group?: string;
  readonly name: string;
  readonly version: string;
  readonly scope?: "required" | "optional" | "excluded";
  readonly hashes?: readonly { alg: string; content: string }[];
  readonly licenses?: readonly ({ expression: string } | { license: { name: string } })[];
  readonly purl: string;
  readonly properties?: readonly { name: string; value: string }[];
}

/** Throws Error if graph and lock do not belong together, because the bill would be incomplete. */
export function makeSbom({ project, graph, lock, licences, runtime, etcd }: SbomInput) {
  const { packages, needs } = libraries(graph, lock, licences);
  const own = `pkg:generic/${project.name}@${project.version}`;
  const platform = denoComponent(runtime);
  const server = etcdComponent(etcd);
  const direct = new Set(
    graph.modules.flatMap(({ npmPackage }) => npmPackage === undefined ? [] : refOf(graph, npmPackage)),
  );
  const bom = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      component: {
        type: "application",
        "bom-ref": own,
        name: project.name,
        version: project.version,
        ...licenseOf(project.license),
        purl: own,
      },
    },
    components: [platform, server, ...[...packages].sort(byKey).map(([, component]) => component)],
    dependencies: [
      { ref: own, dependsOn: [platform.purl, server.purl, ...[...direct].sort()] },
      ...[...needs].sort(byKey).map(([ref, dependsOn]) => ({ ref, dependsOn: [...dependsOn].sort() })),
    ],
  };
  return { $schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", serialNumber: serialNumberOf(bom), ...bom };
}

function refOf(graph: ModuleGraph, id: string): string {
  const found = graph.npmPackages[id];
  if (found === undefined) throw new Error(`the module graph has no package "${id}": run deno install`);
  return npmUrl(found.name, found.version);
}

/** The packages of the graph, and the packages that each depends on, by their references. */
function libraries(graph: ModuleGraph, lock: string, licences: SbomInput["licences"]) {
  const locked = lockedPackages(lock);
  const reachable = reachablePackages(graph);
  const packages = new Map<string, Component>();
  const needs = new Map<string, Set<string>>();
  for (const [id, { name, version, dependencies }] of Object.entries(graph.npmPackages)) {
    const key = `${name}@${version}`;
    const integrity = locked.get(key);
    if (integrity === undefined) throw new Error(`deno.lock has no package "${key}": run deno install`);
    const ref = refOf(graph, id);
    const dependsOn = needs.get(ref) ?? new Set();
    for (const dependency of dependencies) dependsOn.add(refOf(graph, dependency));
    needs.set(ref, dependsOn);
    const slash = name.lastIndexOf("/");
    packages.set(ref, {
      type: "library",
      "bom-ref": ref,
      ...(slash < 0 ? {} : { group: name.slice(0, slash) }),
      name: name.slice(slash + 1),
      version,
      // `deno task compile` leaves type declarations out.
      scope: reachable.has(key) && !name.startsWith("@types/") ? "required" : "excluded",
      hashes: [hashOf(integrity)],
      ...licenseOf(licences.get(key)),
      purl: ref,
    });
  }
  for (const key of locked.keys()) {
    const at = key.lastIndexOf("@");
    if (!packages.has(npmUrl(key.slice(0, at), key.slice(at + 1)))) {
      throw new Error(`the module graph lacks "${key}" of deno.lock: run deno install`);
    }
  }
  return { packages, needs };
}

function denoComponent({ deno, v8 }: SbomInput["runtime"]): Component {
  const purl = `pkg:github/denoland/deno@v${deno}`;
  return {
    type: "platform",
    "bom-ref": purl,
    name: "deno",
    version: deno,
    scope: "required",
    ...licenseOf("MIT"),
    purl,
    properties: [{ name: "e2d:v8", value: v8 }],
  };
}

function etcdComponent({ version, sums }: SbomInput["etcd"]): Component {
  const purl = `pkg:github/etcd-io/etcd@v${version}`;
  return {
    type: "application",
    "bom-ref": purl,
    name: "etcd",
    version,
    // Embedded only with `deno task compile --embed-etcd`; else found on the machine or downloaded with these checksums.
    scope: "optional",
    ...licenseOf("Apache-2.0"),
    purl,
    properties: Object.entries(sums).sort(byKey).map(([arch, value]) => ({
      name: `e2d:archive-sha256:linux-${arch}`,
      value,
    })),
  };
}

/** A digest of the content: the same bill has the same serial number. */
function serialNumberOf(bom: unknown): string {
  const sum = createHash("sha256").update(JSON.stringify(bom)).digest("hex");
  const [a, b, c, d, e] = [[0, 8], [8, 12], [13, 16], [17, 20], [20, 32]].map(([from, to]) => sum.slice(from, to));
  return `urn:uuid:${a}-${b}-8${c}-8${d}-${e}`;
}

const byKey = ([a]: readonly [string, unknown], [b]: readonly [string, unknown]) => a < b ? -1 : a > b ? 1 : 0;

/** https://github.com/package-url/purl-spec: the "@" of a scope is escaped. */
const npmUrl = (name: string, version: string) => `pkg:npm/${name.replace("@", "%40")}@${version}`;

/** "name@version" and its integrity. A key may end in "_" and the peers with which it was resolved. */
function lockedPackages(text: string): Map<string, string> {
  const lock = JSON.parse(text) as { version: string; npm?: Record<string, { integrity: string }> };
  if (lock.version !== "5") throw new Error(`deno.lock has format ${lock.version}, and 5 is known`);
  const found = new Map<string, string>();
  for (const [key, { integrity }] of Object.entries(lock.npm ?? {})) {
    const [, name, version] = /^(@?[^@]+)@([^_]+)/.exec(key) ?? [];
    if (name === undefined) throw new Error(`deno.lock has a package without a version: "${key}"`);
    found.set(`${name}@${version}`, integrity);
  }
  return found;
}

/** https://www.w3.org/TR/SRI/: an algorithm and a checksum in base64. */
function hashOf(integrity: string): { alg: string; content: string } {
  const [, bits, base64] = /^sha(256|384|512)-([A-Za-z0-9+/]+=*)$/.exec(integrity) ?? [];
  if (base64 === undefined) throw new Error(`"${integrity}" is no integrity of a package`);
  return { alg: `SHA-${bits}`, content: Uint8Array.fromBase64(base64).toHex() };
}

function licenseOf(text: string | undefined): Pick<Component, "licenses"> {
  if (text === undefined) return {};
  return { licenses: [/^[A-Za-z0-9.+()\- ]+$/.test(text) ? { expression: text } : { license: { name: text } }] };
}

/** Read from the packages' own files, in the part of Deno's cache of any registry. */
async function cachedLicences(npmCache: string, graph: ModuleGraph): Promise<Map<string, string>> {
  const registries = (await Array.fromAsync(Deno.readDir(npmCache))).map(({ name }) => name).sort();
  const found = new Map<string, string>();
  for (const { name, version } of Object.values(graph.npmPackages)) {
    for (const registry of registries) {
      const path = join(npmCache, registry, name, version, "package.json");
      const text = await Deno.readTextFile(path).catch(() => undefined);
      if (text === undefined) continue;
      const { license } = JSON.parse(text) as { license?: string | { type?: string } };
      const said = typeof license === "string" ? license : license?.type;
      if (said !== undefined) found.set(`${name}@${version}`, said);
    }
  }
  return found;
}

async function info(args: string[]): Promise<unknown> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", ...args],
    cwd: root,
  }).output();
  if (!success) throw new Error(`deno info failed:\n${new TextDecoder().decode(stderr)}`);
  return JSON.parse(new TextDecoder().decode(stdout));
}

/** The bill of materials of this checkout. */
export async function sbomOfCheckout(): Promise<string> {
  const graph = await info(["--frozen", "main.ts"]) as ModuleGraph;
  const { npmCache } = await info([]) as { npmCache: string };
  const { version, license } = JSON.parse(await Deno.readTextFile(join(root, "deno.json")));
  const sums = Object.fromEntries(["amd64", "arm64"].map((arch) => [arch, pinnedSum(defaultVersion, arch)!]));
  const bom = makeSbom({
    project: { name: "e2d", version, license },
    graph,
    lock: await Deno.readTextFile(join(root, "deno.lock")),
    licences: await cachedLicences(npmCache, graph),
    runtime: Deno.version,
    etcd: { version: defaultVersion, sums },
  });
  return `${JSON.stringify(bom, null, 2)}\n`;
}

if (import.meta.main) {
  const [flag, path, ...more] = Deno.args;
  if ((flag !== undefined && (flag !== "--output" || path === undefined)) || more.length > 0) {
    console.error("sbom: allowed is --output PATH");
    Deno.exit(2);
  }
  const output = resolve(path ?? join(root, "dist", "e2d.cdx.json"));
  const text = await sbomOfCheckout();
  await Deno.mkdir(dirname(output), { recursive: true });
  await Deno.writeTextFile(output, text);
  const { components } = JSON.parse(text) as { components: Component[] };
  const unlicensed = components.filter(({ licenses }) => licenses === undefined).map(({ purl }) => purl);
  console.log(`${output}: ${components.length} components`);
  if (unlicensed.length > 0) console.log(`without a known licence: ${unlicensed.join(", ")}`);
}
