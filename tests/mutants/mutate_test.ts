/** The mutants of each operator, and the instrumented copy, which behaves as its active mutant or as the original. */
import { assert, assertEquals } from "../support/assert.ts";
import { parseDiff } from "./copy.ts";
import { matchEquivalents, parseEquivalents } from "./equivalent.ts";
import { instrument } from "./instrument.ts";
import { diffOf, type Mutant, mutationText } from "./mutant.ts";
import { findSites } from "./mutate.ts";
import * as runtime from "./runtime.ts";

const mutantsOf = (source: string): Mutant[] => findSites("a.ts", source).flatMap(({ mutants }) => mutants);
const textsOf = (source: string) => mutantsOf(source).map((each) => `${each.operator}: ${mutationText(each)}`);

/** Loads `source` with all its mutants; `call` runs its function `f` with one of them active, by its text. */
async function load(source: string) {
  const sites = findSites("a.ts", source);
  const mutants = sites.flatMap((site) => site.mutants);
  const text = instrument(source, sites, {
    runtime: new URL("./runtime.ts", import.meta.url).href,
    numberOf: (id) => mutants.findIndex((mutant) => mutant.id === id) + 1,
  });
  const { f } = await import(`data:application/typescript,${encodeURIComponent(text)}`);
  const numberOf = (mutation: string) => {
    const at = mutants.findIndex((mutant) => mutationText(mutant) === mutation);
    assert(at >= 0, `no mutant ${mutation} in ${mutants.map(mutationText).join("; ")}`);
    return at + 1;
  };
  return {
    call: (mutation: string | undefined, ...args: unknown[]) => {
      runtime.begin(mutation === undefined ? -1 : numberOf(mutation));
      try {
        return f(...args);
      } finally {
        runtime.begin(-1);
      }
    },
    /** The mutants whose result differs in this call. */
    reached: (...args: unknown[]) => {
      runtime.record(true);
      f(...args);
      const { reached } = runtime.recorded();
      runtime.record(false);
      return reached.map((number) => mutationText(mutants[number - 1]!));
    },
  };
}

Deno.test("findSites() makes a condition true or false, and of && and || no mutant that another one implies", () => {
  assertEquals(textsOf("if (f()) g();"), ["condition: f() → true", "condition: f() → false"]);
  assertEquals(textsOf("const f = (a: boolean, b: boolean): boolean => a && !b;"), [
    "condition: a && !b → false",
    "condition: a → true",
    "condition: b → false",
  ]);
  assertEquals(textsOf("const x = a.filter((each) => each.b || each.c);"), [
    "condition: each.b || each.c → true",
    "condition: each.b → false",
    "condition: each.c → false",
  ]);
  assertEquals(textsOf("while (f()) { g(); h(); }").filter((text) => text.startsWith("condition")), [
    "condition: f() → false",
  ]);
});

Deno.test("findSites() makes mutants of boundaries, arithmetic, fallbacks, quantifiers and cases", () => {
  assertEquals(textsOf("const x = a.b(c - d);"), ["arithmetic: c - d → c + d"]);
  assertEquals(textsOf('const x = "a" + b;'), []);
  assertEquals(textsOf("const x = a ?? b;"), ["fallback: a → undefined", "fallback: b → undefined"]);
  assertEquals(textsOf("const x = a ?? undefined;"), ["fallback: a → undefined"]);
  assertEquals(textsOf("const x = Math.max(a, b);"), ["quantifier: max → min"]);
  assertEquals(textsOf("const x = [a.some(f), b.max()];"), ["quantifier: some → every"]);
  assertEquals(textsOf("const x = a <= b;"), [
    "condition: a <= b → true",
    "condition: a <= b → false",
    "boundary: a <= b → a < b",
  ]);
  assertEquals(textsOf('switch (a) { case "b": break; }'), ['case: "b" → never']);
});

Deno.test("findSites() changes constants to their neighbours, halves and doubles limits, and leaves texts for people", () => {
  assertEquals(textsOf("const x = [0, 1, 7, 5_000, 2n, true];"), [
    "constant: 0 → 1",
    "constant: 1 → 0",
    "constant: 7 → 8",
    "constant: 5_000 → 10000",
    "constant: 5_000 → 2500",
    "constant: 2n → 3n",
    "constant: true → false",
  ]);
  assertEquals(
    textsOf('const x = { kind: "wait", "a-b": c, text: "goes on", hint: `${a ? "b" : "c"}` };').at(0),
    [
      'constant: "wait" → ""',
    ][0],
  );
  assertEquals(textsOf('throw new Error("no");').filter((text) => text.startsWith("constant")), []);
  assertEquals(textsOf('type A = "b" | 5; interface B { c: "d" }'), []);
});

Deno.test("findSites() removes effects and early exits, except where a condition's mutant does the same", () => {
  assertEquals(textsOf("f(); a.b = c;"), ["effect: f(); → (removed)", "effect: a.b = c; → (removed)"]);
  assertEquals(textsOf("if (a) f();").filter((text) => !text.startsWith("condition")), []);
  assertEquals(
    textsOf("function f() { if (a) { g(); return; } return b; }").filter((text) => /exit|effect/.test(text)),
    [
      "effect: g(); → (removed)",
      "exit: return; → (removed)",
    ],
  );
});

Deno.test("instrument() builds a copy that behaves as the original or as its active mutant", async () => {
  const { call } = await load(`
    export function f(items: number[], limit: number): unknown {
      let sum = 0;
      for (const item of items) {
        if (item < 0) continue; else sum += item;
      }
      if (sum >= limit && items.some((item) => item > 1)) return "full";
      return { sum: sum ?? 3, rest: limit - sum };
    }`);
  assertEquals(call(undefined, [1, 2, -5], 10), { sum: 3, rest: 7 });
  assertEquals(call(undefined, [1, 2, -5], 3), "full");
  assertEquals(call("item < 0 → false", [1, 2, -5], 10), { sum: -2, rest: 12 });
  assertEquals(call("sum += item; → (removed)", [1, 2], 10), { sum: 0, rest: 10 });
  assertEquals(call("sum >= limit → sum > limit", [1, 2], 3), { sum: 3, rest: 0 });
  assertEquals(call("some → every", [1, 2], 3), { sum: 3, rest: 0 });
  assertEquals(call('"full" → ""', [1, 2], 3), "");
  assertEquals(call("limit - sum → limit + sum", [1, 2], 10), { sum: 3, rest: 13 });
  assertEquals(call("sum → undefined", [1, 2], 10), { sum: 3, rest: 7 });
  assertEquals(call("sum → undefined", [1], 10), { sum: 3, rest: 9 });
});

Deno.test("record() marks a mutant as reached only if its result differs", async () => {
  const { reached } = await load("export const f = (a: number, b: number): boolean => a < b;");
  assertEquals(reached(1, 2), ["a < b → false"]);
  assertEquals(reached(2, 2), ["a < b → true", "a < b → a <= b"]);
  assertEquals(reached(3, 2), ["a < b → true"]);
});

Deno.test("begin() limits the steps of a mutant that never ends", async () => {
  const { call } = await load(`
    export function f(): number {
      let at = 0;
      while (at < 3) { at += 1; at += 0; }
      return at;
    }`);
  assertEquals(call(undefined), 3);
  runtime.begin(-1, 2);
  let error: unknown;
  try {
    for (let at = 0; at < 5; at++) runtime.keep(0);
  } catch (thrown) {
    error = thrown;
  }
  runtime.begin(-1);
  assert(error instanceof runtime.EndlessMutant);
});

Deno.test("instrument() keeps line numbers, and diffOf() shows a mutant as a diff of its lines", () => {
  const source = "/** Head. */\nexport const f = (a: number): boolean =>\n  a > 2;\n";
  const sites = findSites("a.ts", source);
  const copy = instrument(source, sites, { runtime: "x", numberOf: () => 1 });
  assertEquals(copy.split("\n").length, source.split("\n").length);
  assert(copy.split("\n")[2]!.includes("a , 2") === false && copy.split("\n")[2]!.includes("__mutants.gt"));
  const boundary = mutantsOf(source).find(({ operator }) => operator === "boundary")!;
  assertEquals(boundary.id, "a.ts:3:3:boundary=a >= 2");
  assertEquals(diffOf(boundary, source), "-   a > 2;\n+   a >= 2;");
  assertEquals(instrument(source, sites, { runtime: "x", numberOf: () => 0 }), source);
});

Deno.test("matchEquivalents() matches by file, function and change at any line, and reports an entry without a match as stale", () => {
  const source = "function f(a: number) {\n  return a < 3;\n}\n";
  const entry = { file: "a.ts", function: "f", mutation: "a < 3 → a <= 3", reason: "a is never 3" };
  const match = (text: string, ...entries: typeof entry[]) =>
    matchEquivalents(entries, mutantsOf(text), { sourceOf: new Map([["a.ts", text]]), path: "lib" });
  assertEquals([...match(source, entry).reasons.values()], ["a is never 3"]);
  assertEquals([...match(`\n\n${source}`, entry).reasons.values()], ["a is never 3"]);
  assertEquals(match(source, entry).stale, []);
  assertEquals(match(source.replace("<", ">"), entry).stale, [entry]);
  assertEquals(match(source, { ...entry, line: "return b" } as typeof entry).reasons.size, 0);
  const gone = { ...entry, file: "lib/gone.ts" }, elsewhere = { ...entry, file: "other/a.ts" };
  assertEquals(match(source, gone, elsewhere).stale, [gone]);
});

Deno.test("parseEquivalents() refuses an entry without a reason", () => {
  const text = JSON.stringify([{ file: "a.ts", function: "f", mutation: "a → b", reason: " " }]);
  try {
    parseEquivalents(text, "equivalent.json");
  } catch (error) {
    assertEquals((error as Error).message, 'Cannot use entry 0 of "equivalent.json": "reason" is missing');
    return;
  }
  throw new Error("was taken");
});

Deno.test("parseDiff() returns the changed lines of the new side", () => {
  const diff = "--- a/lib/a.ts\n+++ b/lib/a.ts\n@@ -3 +3,2 @@ f\n-x\n+y\n+z\n@@ -9,2 +10,0 @@\n-a\n-b\n" +
    "--- a/lib/gone.ts\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n";
  assertEquals([...parseDiff(diff)].map(([file, lines]) => [file, [...lines]]), [["lib/a.ts", [3, 4]]]);
});

Deno.test("a branch that the types rule out, and the order of equal elements, have no mutants", () => {
  assertEquals(textsOf("function f(a: never): boolean { switch (a) { default: return a satisfies never; } }"), []);
  const texts = textsOf("const x = list.toSorted((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);");
  assertEquals(texts, ["condition: a.name < b.name → true", "condition: a.name < b.name → false", "constant: 1 → 0"]);
  assertEquals(textsOf("const x = a < b ? 3 : 4;").filter((text) => text.startsWith("boundary")), [
    "boundary: a < b → a <= b",
  ]);
});
