import { quotedNames } from "../../../lib/core/facts/reason.ts";
import { assertEquals } from "../../support/assert.ts";

Deno.test("quotedNames() are in one order, and the given list stays in its own", () => {
  const names = ["c", "a", "b"];
  assertEquals(quotedNames(names), '"a", "b", "c"');
  assertEquals(names, ["c", "a", "b"]);
  assertEquals(quotedNames([]), "");
});
