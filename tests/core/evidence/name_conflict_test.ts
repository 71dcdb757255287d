import { nameConflictReason } from "../../../lib/core/evidence/name_conflict.ts";
import { assertEquals } from "../../support/assert.ts";

Deno.test("nameConflictReason() names both holders of the name", () => {
  const { code, text } = nameConflictReason({ name: "n2", addresses: ["10.0.0.2:7980", "10.0.0.9:7980"] });
  assertEquals([code, text], ["name_taken", 'two live nodes claim the name "n2": 10.0.0.2:7980 and 10.0.0.9:7980']);
});
