import { MemoryKv } from "../../lib/e2db/mod.ts";
import { kvCases } from "./suites/kv_suite.ts";

for (const { promise, run } of kvCases()) {
  Deno.test(`MemoryKv: ${promise}`, async () => {
    const kv = new MemoryKv();
    await run({ kv, compact: (revision) => kv.compact(revision) });
    kv.close();
  });
}
