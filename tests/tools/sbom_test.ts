import { makeSbom, type SbomInput, sbomOfCheckout } from "../../tools/sbom.ts";
import { assert, assertEquals } from "../support/assert.ts";

const sha512 = `sha512-${btoa("\x01".repeat(64))}`;

const input: SbomInput = {
  project: { name: "e2d", version: "1.2.3", license: "Apache-2.0" },
  graph: {
    modules: [{ kind: "esm" }, { kind: "npm", npmPackage: "@scope/used@1.0.0_peer@2.0.0" }],
    npmPackages: {
      "@scope/used@1.0.0_peer@2.0.0": { name: "@scope/used", version: "1.0.0", dependencies: ["peer@2.0.0"] },
      "peer@2.0.0": { name: "peer", version: "2.0.0", dependencies: ["@types/node@3.0.0"] },
      "@types/node@3.0.0": { name: "@types/node", version: "3.0.0", dependencies: [] },
      "tests-only@4.0.0": { name: "tests-only", version: "4.0.0", dependencies: ["peer@2.0.0"] },
    },
  },
  lock: JSON.stringify({
    version: "5",
    npm: {
      "@scope/used@1.0.0_peer@2.0.0": { integrity: sha512 },
      "peer@2.0.0": { integrity: sha512 },
      "@types/node@3.0.0": { integrity: sha512 },
      "tests-only@4.0.0": { integrity: sha512 },
    },
  }),
  licences: new Map([["peer@2.0.0", "(MIT OR CC0-1.0)"], ["tests-only@4.0.0", "SEE LICENSE IN <file>"]]),
  runtime: { deno: "2.6.10", v8: "14" },
  etcd: { version: "3.6.14", sums: { arm64: "bb", amd64: "aa" } },
};

Deno.test("makeSbom() lists every locked package with its sum, its licence, and whether it is in the executable", () => {
  const { components, dependencies, metadata } = makeSbom(input);
  assertEquals(metadata.component.purl, "pkg:generic/e2d@1.2.3");
  assertEquals(components.map(({ purl, scope, licenses }) => [purl, scope, JSON.stringify(licenses)]), [
    ["pkg:github/denoland/deno@v2.6.10", "required", '[{"expression":"MIT"}]'],
    ["pkg:github/etcd-io/etcd@v3.6.14", "optional", '[{"expression":"Apache-2.0"}]'],
    ["pkg:npm/%40scope/used@1.0.0", "required", undefined],
    ["pkg:npm/%40types/node@3.0.0", "excluded", undefined],
    ["pkg:npm/peer@2.0.0", "required", '[{"expression":"(MIT OR CC0-1.0)"}]'],
    ["pkg:npm/tests-only@4.0.0", "excluded", '[{"license":{"name":"SEE LICENSE IN <file>"}}]'],
  ]);
  assertEquals([components[2]!.group, components[2]!.name], ["@scope", "used"]);
  assertEquals(components[4]!.hashes, [{ alg: "SHA-512", content: "01".repeat(64) }]);
  assertEquals(components[1]!.properties?.map(({ value }) => value), ["aa", "bb"]);
  const needs = new Map(dependencies.map(({ ref, dependsOn }) => [ref, dependsOn]));
  assertEquals(needs.get("pkg:generic/e2d@1.2.3")?.slice(2), ["pkg:npm/%40scope/used@1.0.0"]);
  assertEquals(needs.get("pkg:npm/%40scope/used@1.0.0"), ["pkg:npm/peer@2.0.0"]);
});

Deno.test("makeSbom() gives the same bill whatever the order, and another number for another content", () => {
  const { graph } = input;
  const reversed = Object.fromEntries(Object.entries(graph.npmPackages).reverse());
  assertEquals(makeSbom({ ...input, graph: { ...graph, npmPackages: reversed } }), makeSbom(input));
  const other = makeSbom({ ...input, runtime: { deno: "2.9.6", v8: "14" } });
  assert(other.serialNumber !== makeSbom(input).serialNumber);
  assert(/^urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(other.serialNumber), other.serialNumber);
});

Deno.test("makeSbom() refuses a lock file and a graph that are not of one checkout", () => {
  const { npmPackages, modules } = input.graph;
  const { "tests-only@4.0.0": _, ...fewer } = npmPackages;
  const more = { ...npmPackages, "new@1.0.0": { name: "new", version: "1.0.0", dependencies: [] } };
  const refused: [SbomInput, string][] = [
    [{ ...input, graph: { modules, npmPackages: fewer } }, "tests-only@4.0.0"],
    [{ ...input, graph: { modules, npmPackages: more } }, "new@1.0.0"],
    [{ ...input, lock: input.lock.replace('"5"', '"6"') }, "format 6"],
    [{ ...input, lock: input.lock.replace("sha512-", "md5-") }, "md5-"],
  ];
  for (const [each, word] of refused) {
    try {
      makeSbom(each);
    } catch (error) {
      assert((error as Error).message.includes(word), String(error));
      continue;
    }
    throw new Error(`it was taken: ${word}`);
  }
});

Deno.test("the bill of this checkout: all of deno.lock, every sum, no reference that leads nowhere", async () => {
  const text = await sbomOfCheckout();
  const { components, dependencies } = JSON.parse(text) as ReturnType<typeof makeSbom>;
  const lock = JSON.parse(await Deno.readTextFile("deno.lock")) as { npm: Record<string, unknown> };
  const packages = components.filter(({ purl }) => purl.startsWith("pkg:npm/"));
  assertEquals(packages.length, Object.keys(lock.npm).length);
  assert(packages.every(({ hashes }) => hashes?.[0]?.content.length === 128));
  const refs = new Set(components.map((component) => component["bom-ref"]));
  assertEquals(dependencies.flatMap(({ dependsOn }) => dependsOn).filter((ref) => !refs.has(ref)), []);
  const scopeOf = (name: string) => packages.find((each) => each.purl.startsWith(`pkg:npm/${name}@`))?.scope;
  assertEquals([scopeOf("%40grpc/grpc-js"), scopeOf("fast-check")], ["required", "excluded"]);
});
