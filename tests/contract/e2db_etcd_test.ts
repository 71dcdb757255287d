/** The suites that tests/e2db runs on the in-memory store, on every supported etcd. */
import { openEtcdKv } from "../../lib/e2db/mod.ts";
import { concurrencyCases } from "../e2db/suites/concurrency_suite.ts";
import { startEtcd } from "../e2db/suites/etcd_cluster.ts";
import { queryCases } from "../e2db/suites/query_suite.ts";
import { schemaCases } from "../e2db/suites/schema_suite.ts";
import { tableCases } from "../e2db/suites/table_suite.ts";

for (const version of ["3.5.33", "3.6.14", "3.7.3"] as const) {
  // gRPC's sockets close a moment after the client: not a leak of this test.
  const settings = { sanitizeOps: false, sanitizeResources: false };
  Deno.test({
    ...settings,
    name: `e2db on etcd ${version} passes its suites`,
    async fn(test) {
      await using cluster = await startEtcd(version);
      const kv = await openEtcdKv({ hosts: cluster.hosts });
      const compact = async (revision: number) => void await kv.client.kv.compact({ revision, physical: true });
      let count = 0;
      for (const { promise, run } of [...tableCases(), ...queryCases(3), ...concurrencyCases(), ...schemaCases()]) {
        const namespace = `case${count++}`;
        await test.step({ ...settings, name: promise, fn: () => run({ kv, compact, namespace }) });
      }
      kv.close();
    },
  });
}
