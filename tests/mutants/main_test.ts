/** A tiny project whose tests kill some mutants and not others, run in processes like the real project. */
import { join } from "node:path";
import { assert, assertEquals } from "../support/assert.ts";
import { testMutants } from "./main.ts";
import { mutationText } from "./mutant.ts";
import { jsonOf, percentOf, scoreOf, textOf } from "./report.ts";

const source = `
export const limit = 20;

export function isFull(count: number): boolean {
  return count >= limit;
}

const seen: string[] = [];

export function note(name: string): number {
  let rest = 3;
  while (rest > 0) rest -= 1;
  seen.push(name);
  return seen.length;
}

export const unused = (a: boolean) => a ? 1 : 2;
`;

const tests = `
import { isFull, note } from "../lib/core/box.ts";

Deno.test("a box is full at its limit", () => {
  if (!isFull(20) || isFull(5)) throw new Error("wrong");
});

Deno.test({
  name: "notes are counted",
  fn: async (t) => {
    const first = note("a");
    await t.step("one more", () => {
      if (note("b") !== first + 1) throw new Error("not counted");
    });
  },
});
`;

const equivalents = JSON.stringify([
  { file: "lib/core/box.ts", function: "unused", mutation: "a → true", reason: "an example" },
  { file: "lib/core/box.ts", function: "gone", mutation: "a → true", reason: "an example" },
]);

async function withProject<T>(use: (root: string) => Promise<T>): Promise<T> {
  const root = await Deno.makeTempDir({ prefix: "e2d-mutants-test-" });
  try {
    await Deno.mkdir(join(root, "lib/core"), { recursive: true });
    await Deno.mkdir(join(root, "tests"));
    await Deno.writeTextFile(join(root, "lib/core/box.ts"), source);
    await Deno.writeTextFile(join(root, "tests/box_test.ts"), tests);
    await Deno.writeTextFile(join(root, "tests/other_test.ts"), 'throw new Error("imports no mutant: not run");');
    return await use(root);
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

Deno.test("testMutants() on a tiny project kills mutants with a failing test, and reports the others as survived", async () => {
  await withProject(async (root) => {
    const report = await testMutants({ root, path: "lib/core", equivalents, workers: 1 });
    const verdicts = Object.fromEntries(
      report.judged.map(({ mutant, verdict }) => [`${mutationText(mutant)} in ${mutant.within}`, verdict]),
    );
    const kindOf = (name: string) => verdicts[name]?.kind;
    assertEquals(verdicts["count >= limit → false in isFull"]?.kind, "killed");
    assertEquals(kindOf("count >= limit → true in isFull"), "killed");
    assertEquals(kindOf("count >= limit → count > limit in isFull"), "killed");
    // The constant is read while the module loads: each of its mutants has a separate process.
    assertEquals(kindOf("20 → 40 in limit"), "killed");
    assertEquals(verdicts["20 → 10 in limit"], { kind: "survived", tests: 2 });
    const endless = verdicts["rest -= 1; → (removed) in note"];
    assert(endless?.kind === "killed" && endless.error.startsWith("EndlessMutant"), JSON.stringify(endless));
    assertEquals(kindOf("seen.push(name); → (removed) in note"), "killed");
    assertEquals(verdicts["a → false in unused"], { kind: "survived", tests: 0 });
    assertEquals(verdicts["a → true in unused"], { kind: "equivalent", reason: "an example" });
    assertEquals(report.stale.map((entry) => entry.function), ["gone"]);
    assertEquals(report.unusable, []);
    const score = scoreOf(report.judged);
    assertEquals(percentOf(score), 100 * score.killed / (score.killed + score.survived));
    const text = textOf(report);
    assert(text.includes("- export const limit = 20;\n+ export const limit = 10;\n"), text);
    assert(text.includes("replay: deno task mutants lib/core --only 'lib/core/box.ts:2:22:constant=10'"), text);
    assertEquals(JSON.parse(jsonOf(report)).killed, score.killed);
    assertEquals(await Deno.readTextFile(join(root, "lib/core/box.ts")), source, "the project itself is not touched");
  });
});

Deno.test("testMutants() runs a single mutant by its id, and refuses a folder outside the project", async () => {
  await withProject(async (root) => {
    const only = ["lib/core/box.ts:5:"];
    const report = await testMutants({ root, path: "lib/core", equivalents: "[]", only, limit: 2, workers: 2 });
    assertEquals(report.judged.map(({ mutant, verdict }) => [mutant.line, verdict.kind]), [[5, "killed"], [
      5,
      "killed",
    ]]);
    const refused = await testMutants({ root, path: "..", equivalents: "[]", workers: 1 }).catch((error) => error);
    assert(refused instanceof Error && refused.message.startsWith('Cannot mutate ".."'), String(refused));
  });
});
