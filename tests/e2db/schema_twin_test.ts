import { MemoryKv } from "../../lib/e2db/mod.ts";
import { schemaCases } from "./suites/schema_suite.ts";

for (const { promise, run } of schemaCases()) {
  Deno.test(`schema on MemoryKv: ${promise}`, async () => {
    const kv = new MemoryKv();
    await run({ kv, compact: (revision) => kv.compact(revision), namespace: "test" });
    kv.close();
  });
}
