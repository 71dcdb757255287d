import { MemoryKv } from "../../lib/e2db/mod.ts";
import { tableCases } from "./suites/table_suite.ts";

for (const { promise, run } of tableCases()) {
  Deno.test(`Table on MemoryKv: ${promise}`, async () => {
    const kv = new MemoryKv();
    await run({ kv, compact: (revision) => kv.compact(revision), namespace: "test" });
    kv.close();
  });
}
