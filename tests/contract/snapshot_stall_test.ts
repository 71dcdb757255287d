/** A stalled store does not affect a real etcd, because etcd's read transaction is closed before the upload. */
import { openEtcd } from "../../lib/etcd/client/client.ts";
import { withDatabase } from "../../lib/snapshot/pipeline.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { enableGrpcTls } from "../../lib/sys/grpc/tls.ts";
import { openGrpcStream } from "../../lib/sys/grpc/fetch.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { assert } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";
import { PlainCluster } from "./plain_cluster.ts";

const sanitize = { sanitizeResources: false, sanitizeOps: false };
const mib = 1_048_576;

/** The growth of an etcd while the same keys are overwritten and the store accepts no part of a snapshot. */
async function growth(spool: boolean): Promise<number> {
  await using directory = await temporaryDirectory();
  await using cluster = await PlainCluster.start({ directory: directory.path, size: 1 });
  const own = cluster.members[0]!.clientUrl;
  const client = await openEtcd({ endpoints: [own], clock: systemClock, openStream: openGrpcStream });
  const value = "x".repeat(256 * 1_024);
  const overwrite = async (rounds: number) => {
    for (let round = 0; round < rounds; round++) {
      for (let at = 0; at < 40; at++) await client.put(`/key/${at}`, value);
      await client.compact((await client.status(own)).revision, { physical: true });
    }
  };
  const abort = new AbortController();
  // Ended below: a promise that nobody holds is garbage, together with the stream that waits for it.
  const stalled = Promise.withResolvers<void>();
  try {
    await overwrite(4);
    const before = (await client.status(own)).dbSizeBytes;
    const asked = Promise.withResolvers<void>();
    const request = {
      open: (signal: AbortSignal) => client.snapshot(own, { signal }),
      expectedBytes: before,
      spoolPath: spool ? `${directory.path}/spool.db` : undefined,
      signal: abort.signal,
    };
    const saving = withDatabase(request, async ({ stream }) => {
      // A store that accepts the first piece and then nothing.
      await stream.getReader().read();
      asked.resolve();
      await stalled.promise;
    }, { clock: systemClock, log: new TestLog(), staging: systemStaging });
    saving.catch(() => {});
    await asked.promise;
    await overwrite(8);
    return (await client.status(own)).dbSizeBytes - before;
  } finally {
    abort.abort();
    stalled.resolve();
    client.close();
  }
}

Deno.test(
  "a store that stalls pins no pages of etcd unless the snapshot is streamed",
  sanitize,
  async () => {
    await enableGrpcTls();
    const [spooled, streamed] = [await growth(true), await growth(false)];
    assert(spooled < 20 * mib, `with a copy it grew by ${spooled} bytes`);
    assert(streamed > 40 * mib, `streamed it grew by only ${streamed} bytes: the comparison is void`);
  },
);
