import { decodeLineage, encodeLineage } from "../../lib/manager/adapters/cluster_keys.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("decodeLineage() returns what encodeLineage() wrote, of that cluster only", () => {
  const lineage = { id: "e2d-1", epoch: 2, token: "e2d-2", name: "blue", from: { token: "e2d-1", revision: 7 } };
  const { name: _, from: __, ...first } = lineage;
  for (const each of [lineage, first]) {
    const value = new TextEncoder().encode(encodeLineage("c1", each));
    assertEquals(decodeLineage("c1", value), each);
    assertEquals(decodeLineage("c2", value), "absent");
  }
  assertEquals(decodeLineage("c1", undefined), "absent");
});
