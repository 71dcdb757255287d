/** Reclaims space of a full etcd, or reports that it is not possible. */
import { isE2dError } from "../../lib/errors.ts";
import { openEtcd } from "../../lib/etcd/client/client.ts";
import { reclaimSpace } from "../../lib/manager/adapters/reclaim_space.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { PlainCluster } from "./plain_cluster.ts";

const sanitize = { sanitizeResources: false, sanitizeOps: false };
const quotaBytes = 12 * 1_048_576;
const value = "x".repeat(256 * 1_024);
const callMs = { timeoutMs: 20_000 };

for (const version of ["3.4.23", "3.6.14", "3.7.3"] as const) {
  Deno.test(
    `reclaimSpace() on etcd ${version} removes old revisions, keeps keys, ends the alarm`,
    sanitize,
    async () => {
      await enableGrpcTls();
      await using directory = await temporaryDirectory();
      await using cluster = await PlainCluster.start({
        directory: directory.path,
        size: 1,
        version,
        flags: [`--quota-backend-bytes=${quotaBytes}`],
      });
      const own = cluster.members[0]!.clientUrl;
      const client = await openEtcd({ endpoints: [own], clock: systemClock, callTimeoutMs: 30_000 });
      try {
        const put = (key: string) => client.put(key, value, callMs);
        /** Resolves when etcd refuses. */
        const fill = async (name: (at: number) => string) => {
          for (let at = 0; at < 200; at++) {
            try {
              await put(name(at));
            } catch {
              return;
            }
          }
          throw new Error("etcd never became full");
        };
        const request = { own, endpoints: [own], quotaBytes };

        await client.put("/kept/a", "kept");
        await fill(() => "/jobs/current");
        await assertE2dError("etcd_nospace", () => put("/jobs/current"));
        const detail = await reclaimSpace(client, request);
        assert(detail.includes('"/jobs/current" 1 keys, 0.3 MiB, written'), detail);
        assertEquals(await client.alarms(), []);
        await put("/jobs/current");
        assertEquals(new TextDecoder().decode((await client.get("/kept/a"))!.value), "kept");

        // All keys are in use: there is nothing to reclaim. A file may be larger than its content, so that it takes more
        // than one fill until there is no free space.
        let told: unknown;
        for (let round = 0; told === undefined && round < 10; round++) {
          await fill((at) => `/events/all/${round}.${at}`);
          told = await reclaimSpace(client, request).then(() => undefined, (error) => error);
        }
        assert(isE2dError(told, "space_not_reclaimed"), String(told));
        assert(told.message.includes('"/events/all"'), told.message);
        assertEquals((await client.alarms()).map(({ type }) => type), ["NOSPACE"]);
        await client.delete("/events/all/", { end: "/events/all0", ...callMs });
        await reclaimSpace(client, request);
        await put("/jobs/current");
      } finally {
        client.close();
      }
    },
  );
}
