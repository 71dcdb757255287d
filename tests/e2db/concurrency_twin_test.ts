import { MemoryKv } from "../../lib/e2db/mod.ts";
import { assertEquals } from "../support/assert.ts";
import { concurrencyCases } from "./suites/concurrency_suite.ts";
import { findAnomalies } from "./suites/serializability.ts";

for (const { promise, run } of concurrencyCases()) {
  Deno.test(`Db on MemoryKv: ${promise}`, async () => {
    const kv = new MemoryKv();
    await run({ kv, compact: (revision) => kv.compact(revision), namespace: "test" });
    kv.close();
  });
}

Deno.test("findAnomalies() finds a lost update, a write skew and a read skew", () => {
  const lost = findAnomalies(
    [{ id: 1, operations: [{ key: "x", read: [] }, { key: "x", append: 1 }] }, {
      id: 2,
      operations: [{ key: "x", read: [] }, { key: "x", append: 2 }],
    }],
    new Map([["x", [2]]]),
  );
  assertEquals(lost, ["lost append of 1 to x by 1"]);
  const skew = findAnomalies(
    [
      { id: 1, operations: [{ key: "x", read: [] }, { key: "y", append: 1 }] },
      { id: 2, operations: [{ key: "y", read: [] }, { key: "x", append: 2 }] },
    ],
    new Map([["x", [2]], ["y", [1]]]),
  );
  assertEquals(skew, ["cycle: 1 → 2 → 1 (rw y)"]);
  const torn = findAnomalies(
    [
      { id: 1, operations: [{ key: "x", append: 1 }, { key: "y", append: 1 }] },
      { id: 2, operations: [{ key: "x", read: [1] }, { key: "y", read: [] }] },
    ],
    new Map([["x", [1]], ["y", [1]]]),
  );
  assertEquals(torn, ["cycle: 1 → 2 → 1 (rw y)"]);
  assertEquals(findAnomalies([{ id: 1, operations: [{ key: "x", append: 1 }] }], new Map([["x", [1]]])), []);
});
