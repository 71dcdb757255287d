import { latestSnapshot, listSnapshots, newestSnapshot, pruneSnapshots } from "../../lib/snapshot/lookup.ts";
import { isE2dError } from "../../lib/errors.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { contentAt, key, type Life, minuteMs, publication, publishSnapshot, storeWith } from "./publication.ts";

Deno.test("publishSnapshot() writes the newest to the key, and each with a manifest to the history", async () => {
  const store = await storeWith(1, 2, 3);
  assertEquals((await listSnapshots({ store, key })).map(({ revision }) => revision), [3, 2, 1]);
  assertEquals(contentAt(store, key), "database at 3");
  const newest = await newestSnapshot({ store, key });
  assert(newest?.kind === "manifest" && newest.manifest.revision === 3);
});

Deno.test("publishSnapshot() interrupted at any operation leaves the earlier snapshots and a whole file at the key", async () => {
  const counted = await storeWith(1, 2);
  const before = counted.count;
  await publishSnapshot({ store: counted, key }, publication(3));
  const operations = counted.count - before;
  assert(operations > 5, String(operations));
  for (let left = 0; left < operations; left++) {
    const store = await storeWith(1, 2);
    store.left = left;
    await assertE2dError("store_unreachable", () => publishSnapshot({ store, key }, publication(3)));
    store.left = Infinity;
    const revisions = (await listSnapshots({ store, key })).map(({ revision }) => revision);
    assert([[2, 1], [3, 2, 1]].some((list) => list.join() === revisions.join()), `${left}: ${revisions}`);
    assert(["database at 2", "database at 3"].includes(contentAt(store, key)), contentAt(store, key));
    const found = await latestSnapshot({ store, key });
    assert(found.kind === "newest" && found.revision === revisions[0], `${left}: ${JSON.stringify(found)}`);
    // The next one goes on as if nothing had been.
    await publishSnapshot({ store, key }, publication(4));
    assertEquals((await newestSnapshot({ store, key }))!.kind, "manifest");
    assertEquals(contentAt(store, key), "database at 4");
  }
});

Deno.test("pruneSnapshots() interrupted at any operation never removes the newest, and its rest does not count as a snapshot", async () => {
  const minutes = [1, 61, 121, 181];
  const keep = { hourly: 1, daily: 0 };
  const nowMs = 300 * minuteMs;
  const counted = await storeWith(...minutes);
  const before = counted.count;
  assertEquals((await pruneSnapshots({ store: counted, key }, { keep, nowMs })).length, 3);
  for (let left = 0; left < counted.count - before; left++) {
    const store = await storeWith(...minutes);
    store.left = left;
    await pruneSnapshots({ store, key }, { keep, nowMs }).catch((error) => assert(isE2dError(error), String(error)));
    store.left = Infinity;
    const manifests = await listSnapshots({ store, key });
    assertEquals(manifests[0]!.revision, 181);
    for (const manifest of manifests) {
      assert(store.objects.has(manifest.key), `${left}: a manifest without its snapshot`);
    }
    await pruneSnapshots({ store, key }, { keep, nowMs });
    assertEquals((await listSnapshots({ store, key })).map(({ revision }) => revision), [181]);
  }
  const store = await storeWith(...minutes);
  assertEquals((await pruneSnapshots({ store, key }, { keep, nowMs, dryRun: true })).length, 3);
  assertEquals((await listSnapshots({ store, key })).length, 4);
});

Deno.test("pruneSnapshots() keeps the newest snapshot of the previous life after a wrong restore", async () => {
  const store = await storeWith(1, 5, 10);
  const place = { store, key };
  // As after a restore: revisions are moved on, and the new life saves in the same hour.
  for (const at of [20, 25, 50, 55]) {
    await publishSnapshot(place, publication(at, { epoch: 1 }));
    await pruneSnapshots(place, { keep: { hourly: 24, daily: 7 }, nowMs: at * minuteMs, lineageId: "l" });
  }
  const left = (await listSnapshots(place)).map(({ lineage, revision }) => [lineage.epoch, revision]);
  assertEquals(left, [[1, 55], [1, 50], [0, 10]]);
});

Deno.test("publishSnapshot() never replaces another lineage or an unmanaged file", async () => {
  const code = async (store: MemoryStore, life: Life) => {
    const objects = new Map(store.objects);
    try {
      await publishSnapshot({ store, key }, publication(9, life));
      return "saved";
    } catch (error) {
      // Refused is untouched.
      assertEquals([...store.objects], [...objects]);
      if (isE2dError(error)) return error.code;
      throw error;
    }
  };
  assertEquals(await code(await storeWith(1), { id: "other" }), "snapshot_other_lineage");
  const foreign = new MemoryStore();
  foreign.objects.set(key, { bytes: new Uint8Array(5), modifiedMs: 0 });
  assertEquals(await code(foreign, {}), "snapshot_foreign");
  assertEquals(await code(foreign, { mayReplaceUnmanaged: true }), "saved");
  // Whoever's it was, it is still there, and stays.
  await pruneSnapshots({ store: foreign, key }, { keep: { hourly: 0, daily: 0 }, nowMs: 1e12 });
  assertEquals(foreign.objects.get("db.history/foreign-5-0")!.bytes, new Uint8Array(5));
});

Deno.test("publishSnapshot() replaces an unmanaged file only after it was copied", async () => {
  for (let left = 0;; left++) {
    const store = new MemoryStore();
    store.objects.set(key, { bytes: new Uint8Array(5), modifiedMs: 0 });
    store.left = left;
    const done = await publishSnapshot({ store, key }, publication(9, { mayReplaceUnmanaged: true }))
      .then(() => true, () => false);
    const kept = [key, "db.history/foreign-5-0"].some((name) => store.objects.get(name)?.bytes.length === 5);
    assert(kept, `gone after ${left} operations`);
    if (done) break;
  }
});

Deno.test("pruneSnapshots() removes the rest of a save that was interrupted a day ago, and nothing else", async () => {
  const store = await storeWith(1);
  const day = 24 * 60;
  const at = (name: string, minute: number) =>
    store.objects.set(`db.history/${name}`, { bytes: new Uint8Array(2), modifiedMs: minute * minuteMs });
  // Of a snapshot that others have replaced: its upload was cut off a day ago, or just now.
  at("19700101T000030Z-1", 0);
  at("19700101T000040Z-1", day);
  // What is newer than each whole snapshot may be what is left of the newest.
  at("20260101T000000Z-5", 0);
  at("notes of an operator", 0);
  const keep = { hourly: 24, daily: 7 };
  await pruneSnapshots({ store, key }, { keep, nowMs: (day + 5) * minuteMs });
  const left = [...store.objects.keys()].filter((name) => name.startsWith("db.history/") && !/000100/.test(name));
  assertEquals(left.sort(), [
    "db.history/19700101T000040Z-1",
    "db.history/20260101T000000Z-5",
    "db.history/notes of an operator",
  ]);
  // Where nothing is proven nothing is removed.
  const bare = new MemoryStore();
  bare.objects.set("db.history/20260101T000000Z-5", { bytes: new Uint8Array(2), modifiedMs: 0 });
  await pruneSnapshots({ store: bare, key }, { keep, nowMs: 1e12 });
  assertEquals(bare.objects.size, 1);
});

Deno.test("publishSnapshot() fails if the uploaded object differs", async () => {
  const store = await storeWith(1);
  const write = store.write.bind(store);
  store.write = async (name, content) => {
    const written = await write(name, content);
    const kept = store.objects.get(name)!;
    if (!name.endsWith(".manifest")) kept.bytes[0]! ^= 1;
    return written;
  };
  await assertE2dError("snapshot_readback", () => publishSnapshot({ store, key }, publication(2)));
  assertEquals((await listSnapshots({ store, key })).map(({ revision }) => revision), [1]);
  assertEquals(contentAt(store, key), "database at 1");
});

Deno.test("latestSnapshot() distinguishes absent from unreadable, and selects the newest of a lineage by epoch and revision", async () => {
  const store = new MemoryStore();
  assertEquals(await latestSnapshot({ store, key }), { kind: "absent" });
  store.left = 0;
  const broken = await latestSnapshot({ store, key });
  assert(broken.kind === "unreadable" && broken.code === "store_unreachable", JSON.stringify(broken));
  store.left = Infinity;
  await publishSnapshot({ store, key }, publication(5));
  // A restored cluster counts its revisions from where it was restored.
  await publishSnapshot({ store, key }, publication(7, { epoch: 1, mayReplaceUnmanaged: true }));
  const newest = await latestSnapshot({ store, key });
  assert(newest.kind === "newest" && newest.revision === 7 && newest.epochMax === 1, JSON.stringify(newest));
  store.objects.set("db.history/x.manifest", { bytes: new TextEncoder().encode("{"), modifiedMs: 0 });
  const damaged = await latestSnapshot({ store, key });
  assert(damaged.kind === "unreadable" && damaged.code === "manifest_unreadable", JSON.stringify(damaged));
});

Deno.test("newestSnapshot() treats a newer file at the key as written by a Go node, and an older one as its own copy", async () => {
  const store = await storeWith(1, 2);
  store.objects.set(key, { bytes: new Uint8Array(3), modifiedMs: 60 * minuteMs });
  assertEquals((await newestSnapshot({ store, key }))!.kind, "unmanaged");
  store.objects.set(key, { bytes: new Uint8Array(3), modifiedMs: 0 });
  assertEquals((await newestSnapshot({ store, key }))!.kind, "manifest");
});
