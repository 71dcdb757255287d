import { assertEquals } from "../support/assert.ts";
import { suggest } from "../../lib/cli/suggest.ts";

Deno.test("suggest() has nothing to say about numbers", () => {
  assertEquals(suggest("4", ["1", "3", "5", "7"]), undefined);
});

Deno.test("suggest() names the word that is near, by letters or by its beginning, and no other", () => {
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
