/** A history in a real S3 server is read by header and manifest, also if it was copied to another key or is damaged. */
import { latestSnapshot } from "../../lib/snapshot/lookup.ts";
import { findNamed } from "../../lib/snapshot/named.ts";
import { fetchSnapshot } from "../../lib/snapshot/pipeline.ts";
import { S3Store } from "../../lib/storage/s3_store.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { MemoryDisk } from "../etcd/memory_disk.ts";
import { caSecret, database, key, save, sha256, streamOf } from "../snapshot/support.ts";
import { assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { s3Keys, S3Server } from "../support/s3_server.ts";
import { TestLog } from "../support/test_log.ts";

const trust = { keys: { recipients: [caSecret], secret: caSecret }, requireSealed: true };

Deno.test("a history in S3 that was copied to another key is readable by lookup, by name, and from its copy if damaged", async () => {
  await using server = await S3Server.start();
  const store = new S3Store({
    name: "s3://bucket",
    bucket: "bucket",
    region: "us-east-1",
    endpoint: server.endpoint,
    credentials: () => Promise.resolve(s3Keys),
  }, { http: fetch, clock: systemClock, random: systemRandom });
  const memory = new MemoryStore();
  for (const minute of [11, 12]) await save(memory, { minute, text: `at ${minute}` });
  const place = { store, key: "copy/db" };
  for (const [name, { bytes }] of memory.objects) await store.write(name.replace(key, place.key), streamOf(bytes));
  const outcome = async () => {
    const found = await latestSnapshot(place);
    return found.kind === "newest" ? `newest ${found.revision}` : found.kind === "unreadable" ? found.code : found.kind;
  };
  assertEquals(await outcome(), "newest 12");
  const names = (await store.list(`${place.key}.history/`)).map(({ key }) => key.split("/").at(-1)!);
  const [older, olderManifest, newer, newerManifest] = names as [string, string, string, string];
  const log = new TestLog();
  const ports = { staging: new MemoryDisk(), clock: systemClock, log };
  const restored = async (name: string) =>
    (await fetchSnapshot(place, await findNamed(place, name), { trust, path: "/work/x.db" }, ports)).sha256;
  const at = (name: string) => `${place.key}.history/${name}`;

  const whole = memory.objects.get(`${key}.history/${newer}`)!.bytes;
  await store.write(at(newer), streamOf(whole.map((byte, place) => place === 900 ? byte ^ 1 : byte)));
  assertEquals(await restored(newer), sha256(database("at 12")));
  await store.remove(at(olderManifest));
  assertEquals(await restored(older), sha256(database("at 11")));
  // The copy at the key belongs to a snapshot without a manifest; the manifest of the older one is restored.
  await store.write(at(olderManifest), streamOf(memory.objects.get(`${key}.history/${olderManifest}`)!.bytes));
  await store.remove(at(newerManifest));
  assertEquals(await outcome(), "history_incomplete");
});
