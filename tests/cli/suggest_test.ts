import { assertEquals } from "../support/assert.ts";
import { suggest } from "../../lib/cli/flags/suggest.ts";

Deno.test("suggest() suggests no other number", () => {
  assertEquals(suggest("4", ["1", "3", "5", "7"]), undefined);
});

Deno.test("suggest() returns a word with a small edit distance or the same prefix, and no other", () => {
  const known = ["run", "status", "snapshot", "data-dir", "required-cluster-size"];
  for (
    const [word, meant] of [
      ["runn", "run"],
      ["statsu", "status"],
      ["STATUS", "status"],
      ["snapshots", "snapshot"],
      ["data-dri", "data-dir"],
      ["required", "required-cluster-size"],
      ["xyz", undefined],
      ["re", undefined],
    ] as const
  ) assertEquals(suggest(word, known), meant, word);
  assertEquals(suggest("run", []), undefined);
  assertEquals(suggest("a".repeat(100_000), known), undefined);
});
