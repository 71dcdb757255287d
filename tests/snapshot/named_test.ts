/** What an operator can name of a history: also what no manifest describes, with the checks that the file itself allows. */
import { findNamed } from "../../lib/snapshot/named.ts";
import { sameThreadCodec } from "../../lib/snapshot/format/codec.ts";
import { fetchSnapshot } from "../../lib/snapshot/pipeline.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import { MemoryDisk } from "../etcd/memory_disk.ts";
import { caSecret, database, key, save, sha256 } from "./support.ts";

const trust = { keys: { recipients: [caSecret], secret: caSecret }, requireSealed: true };

async function restored(store: MemoryStore, name: string): Promise<string> {
  const choice = await findNamed({ store, key }, name);
  const ports = { staging: new MemoryDisk(), clock: new TestClock(), log: new TestLog(), codec: sameThreadCodec };
  return (await fetchSnapshot({ store, key }, choice, { trust, path: "/work/x.db" }, ports)).sha256;
}

Deno.test("findNamed() finds a snapshot with a missing or unreadable manifest, and its tags are verified", async () => {
  const manifests: [string, (store: MemoryStore, name: string) => void][] = [
    ["there", () => {}],
    ["gone", (store, name) => store.objects.delete(name)],
    ["no JSON", (store, name) => store.objects.set(name, { bytes: new Uint8Array(1), modifiedMs: 0 })],
  ];
  for (const [state, change] of manifests) {
    const store = new MemoryStore();
    const first = await save(store, { minute: 1, text: "first" });
    await save(store, { minute: 2 });
    change(store, `${first.key}.manifest`);
    for (const name of [first.key, first.key.split("/").at(-1)!]) {
      const found = await findNamed({ store, key }, name);
      assertEquals([state, found.key, found.manifest !== undefined], [state, first.key, state === "there"]);
      assertEquals(await restored(store, name), sha256(database("first")));
    }
    const { bytes } = store.objects.get(first.key)!;
    bytes[bytes.length - 50]! ^= 1;
    await assertE2dError("snapshot_corrupt", () => restored(store, first.key));
  }
});

Deno.test("findNamed() distinguishes damaged from absent, and unsealed objects from sealed ones", async () => {
  const store = new MemoryStore();
  const first = await save(store, { minute: 1 });
  await save(store, { minute: 2 });
  store.objects.delete(first.key);
  await assertE2dError("snapshot_damaged", () => findNamed({ store, key }, first.key));
  await assertE2dError("snapshot_absent", () => findNamed({ store, key }, "20300101T000000Z-7-00000000"));
  store.objects.set(`${key}.history/plain`, { bytes: database("plain"), modifiedMs: 0 });
  await assertE2dError("snapshot_unsealed", () => restored(store, "plain"));
});
