import { quorumOf } from "../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../support/assert.ts";

Deno.test("quorumOf() is more than half of the voters", () => {
  assertEquals([1, 2, 3, 4, 5, 6, 7].map(quorumOf), [1, 2, 2, 3, 3, 4, 4]);
});
