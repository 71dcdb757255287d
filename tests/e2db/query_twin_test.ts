import { MemoryKv } from "../../lib/e2db/mod.ts";
import { queryCases } from "./suites/query_suite.ts";

for (const { promise, run } of queryCases(60)) {
  Deno.test(`Query on MemoryKv: ${promise}`, async () => {
    const kv = new MemoryKv();
    await run({ kv, compact: (revision) => kv.compact(revision), namespace: "test" });
    kv.close();
  });
}
