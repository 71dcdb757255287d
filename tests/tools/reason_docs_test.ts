/** The registry of reason codes, lib/core, the page of decisions and the tests contain the same codes. */
import { fileURLToPath } from "node:url";
import { reasonCodes } from "../../lib/core/facts/reason_codes.ts";
import { withReasonCodes } from "../../tools/reason_docs.ts";
import { assertEquals } from "../support/assert.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const codes = Object.keys(reasonCodes);
const registry = "lib/core/facts/reason_codes.ts";

/** How lib/core writes a reason code: as a field, a constant, or the first argument of a function that makes a wait. */
const uses = [
  /\b(?:code|approvedCode): "([a-z_]+)"/g,
  /\b(?:code|dies) = "([a-z_]+)"/g,
  /\b(?:wait|problem|refuseData|givenUp|joinWait)\(\s*"([a-z_]+)"/g,
];

async function* textsBelow(path: string, kinds: RegExp): AsyncGenerator<readonly [string, string]> {
  for await (const { name, isDirectory } of Deno.readDir(root + path)) {
    const each = `${path}/${name}`;
    if (isDirectory) yield* textsBelow(each, kinds);
    else if (kinds.test(name)) yield [each, await Deno.readTextFile(root + each)];
  }
}

async function core(): Promise<readonly (readonly [string, string])[]> {
  return (await Array.fromAsync(textsBelow("lib/core", /\.ts$/))).filter(([path]) => path !== registry);
}

const contains = (text: string, code: string) => new RegExp(`(?<!\\w)${code}(?!\\w)`).test(text);

Deno.test("every reason code of lib/core is in the registry, and every registered code in lib/core", async () => {
  const texts = (await core()).map(([, text]) => text);
  const used = texts.flatMap((text) => uses.flatMap((use) => [...text.matchAll(use)].map(([, code]) => code!)));
  assertEquals([...new Set(used)].filter((code) => !Object.hasOwn(reasonCodes, code)).sort(), []);
  assertEquals(codes.filter((code) => !texts.some((text) => text.includes(`"${code}"`))), []);
});

Deno.test("docs/decisions.md has the table of all reason codes", async () => {
  const page = await Deno.readTextFile(`${root}docs/decisions.md`);
  assertEquals(page, withReasonCodes(page), "deno run -A tools/reason_docs.ts");
});

Deno.test("every reason code is named by a test or a story", async () => {
  const texts = (await Array.fromAsync(textsBelow("tests", /\.(ts|txt)$/)))
    .filter(([path]) => path !== "tests/tools/reason_docs_test.ts").map(([, text]) => text);
  assertEquals(codes.filter((code) => !texts.some((text) => contains(text, code))), []);
});
