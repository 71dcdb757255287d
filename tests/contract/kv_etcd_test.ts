/** The Kv contract on every etcd that e2db supports. */
import { openEtcdKv } from "../../lib/e2db/mod.ts";
import { kvCases } from "../e2db/suites/kv_suite.ts";
import { startEtcd } from "../e2db/suites/etcd_cluster.ts";

for (const version of ["3.5.33", "3.6.14", "3.7.3"] as const) {
  // gRPC's sockets close a moment after the client: not a leak of this test.
  const settings = { sanitizeOps: false, sanitizeResources: false };
  Deno.test({
    ...settings,
    name: `EtcdKv on etcd ${version} fulfils the Kv contract`,
    async fn(test) {
      await using cluster = await startEtcd(version);
      const kv = await openEtcdKv({ hosts: cluster.hosts });
      const compact = async (revision: number) => void await kv.client.kv.compact({ revision, physical: true });
      for (const { promise, run } of kvCases()) {
        await test.step({ ...settings, name: promise, fn: () => run({ kv, compact }) });
      }
      kv.close();
    },
  });
}
