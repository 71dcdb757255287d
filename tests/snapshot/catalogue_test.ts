import { createHash } from "node:crypto";
import {
  listSnapshots,
  newestSnapshot,
  pruneSnapshots,
  type Publication,
  publishSnapshot,
  readCatalogue,
} from "../../lib/snapshot/catalogue.ts";
import { isE2dError } from "../../lib/errors.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";

const key = "db";
const minuteMs = 60_000;

interface Life {
  id?: string;
  epoch?: number;
  mayReplaceForeign?: boolean;
}

/** What a leader saves at minute `at`, at revision `at`. */
function publication(at: number, { id = "l", epoch = 0, mayReplaceForeign = false }: Life = {}): Publication {
  const content = new TextEncoder().encode(`database at ${at}`);
  const sha256 = () => createHash("sha256");
  return {
    stream: ReadableStream.from([content]),
    facts: {
      revision: at,
      clusterId: "c",
      lineage: { id, epoch, token: "t" },
      format: "v2",
      compression: "none",
      etcdVersion: "3.6.14",
      takenAt: new Date(at * minuteMs).toISOString(),
    },
    plain: () => Promise.resolve({ bytes: content.length, sha256: sha256().update(content).digest("hex") }),
    nowWallMs: () => at * minuteMs,
    mayReplaceForeign,
    sha256,
  };
}

async function storeWith(...minutes: number[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const at of minutes) {
    store.nowMs = at * minuteMs;
    await publishSnapshot({ store, key }, publication(at));
  }
  return store;
}

const contentAt = (store: MemoryStore, name: string) => new TextDecoder().decode(store.objects.get(name)!.bytes);

Deno.test("publishSnapshot() keeps the newest at the URL's key and each in the history, told by its manifest", async () => {
  const store = await storeWith(1, 2, 3);
  assertEquals((await listSnapshots({ store, key })).map(({ revision }) => revision), [3, 2, 1]);
  assertEquals(contentAt(store, key), "database at 3");
  const newest = await newestSnapshot({ store, key });
  assert(newest?.kind === "manifest" && newest.manifest.revision === 3);
});

Deno.test("publishSnapshot() cut off at any operation leaves the snapshots before it, and a whole file at the key", async () => {
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
    const found = await readCatalogue({ store, key });
    assert(found.kind === "newest" && found.revision === revisions[0], `${left}: ${JSON.stringify(found)}`);
    // The next one goes on as if nothing had been.
    await publishSnapshot({ store, key }, publication(4));
    assertEquals((await newestSnapshot({ store, key }))!.kind, "manifest");
    assertEquals(contentAt(store, key), "database at 4");
  }
});

Deno.test("pruneSnapshots() cut off at any operation never takes the newest, and what is left of one counts as nothing", async () => {
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

Deno.test("pruneSnapshots() leaves whoever restored the wrong thing the newest of the life before", async () => {
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

Deno.test("publishSnapshot() never saves over another lineage, a newer epoch, or a file of unknown descent", async () => {
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
  const newer = new MemoryStore();
  await publishSnapshot({ store: newer, key }, publication(1, { epoch: 2 }));
  assertEquals(await code(newer, { epoch: 1 }), "snapshot_newer_epoch");
  assertEquals(await code(newer, { epoch: 3 }), "saved");
  const foreign = new MemoryStore();
  foreign.objects.set(key, { bytes: new Uint8Array(5), modifiedMs: 0 });
  assertEquals(await code(foreign, {}), "snapshot_foreign");
  assertEquals(await code(foreign, { mayReplaceForeign: true }), "saved");
  // Whoever's it was, it is still there, and stays.
  await pruneSnapshots({ store: foreign, key }, { keep: { hourly: 0, daily: 0 }, nowMs: 1e12 });
  assertEquals(foreign.objects.get("db.history/foreign-5-0")!.bytes, new Uint8Array(5));
});

Deno.test("publishSnapshot() does not let a file of unknown descent make way before its copy is there", async () => {
  for (let left = 0;; left++) {
    const store = new MemoryStore();
    store.objects.set(key, { bytes: new Uint8Array(5), modifiedMs: 0 });
    store.left = left;
    const done = await publishSnapshot({ store, key }, publication(9, { mayReplaceForeign: true }))
      .then(() => true, () => false);
    const kept = [key, "db.history/foreign-5-0"].some((name) => store.objects.get(name)?.bytes.length === 5);
    assert(kept, `gone after ${left} operations`);
    if (done) break;
  }
});

Deno.test("pruneSnapshots() removes what a publishing has left that was cut off a day ago, and nothing else", async () => {
  const store = await storeWith(1);
  const day = 24 * 60;
  const at = (name: string, minute: number) =>
    store.objects.set(`db.history/${name}`, { bytes: new Uint8Array(2), modifiedMs: minute * minuteMs });
  at("20260101T000000Z-5", 0);
  at("20260101T000100Z-6", day);
  at("notes of an operator", 0);
  const keep = { hourly: 24, daily: 7 };
  await pruneSnapshots({ store, key }, { keep, nowMs: (day + 5) * minuteMs });
  const left = [...store.objects.keys()].filter((name) => name.startsWith("db.history/") && !/19700101/.test(name));
  assertEquals(left, ["db.history/20260101T000100Z-6", "db.history/notes of an operator"]);
  // Where nothing is proven nothing is removed.
  const bare = new MemoryStore();
  bare.objects.set("db.history/20260101T000000Z-5", { bytes: new Uint8Array(2), modifiedMs: 0 });
  await pruneSnapshots({ store: bare, key }, { keep, nowMs: 1e12 });
  assertEquals(bare.objects.size, 1);
});

Deno.test("publishSnapshot() trusts nothing that comes back other than it was written", async () => {
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

Deno.test("readCatalogue() tells absent from unreadable, and takes the newest of a lineage by epoch and revision", async () => {
  const store = new MemoryStore();
  assertEquals(await readCatalogue({ store, key }), { kind: "absent" });
  store.left = 0;
  const broken = await readCatalogue({ store, key });
  assert(broken.kind === "unreadable" && broken.code === "store_unreachable", JSON.stringify(broken));
  store.left = Infinity;
  await publishSnapshot({ store, key }, publication(5));
  // A restored cluster counts its revisions from where it was restored.
  await publishSnapshot({ store, key }, publication(7, { epoch: 1, mayReplaceForeign: true }));
  const newest = await readCatalogue({ store, key });
  assert(newest.kind === "newest" && newest.revision === 7 && newest.epochMax === 1, JSON.stringify(newest));
  store.objects.set("db.history/x.manifest", { bytes: new TextEncoder().encode("{"), modifiedMs: 0 });
  const damaged = await readCatalogue({ store, key });
  assert(damaged.kind === "unreadable" && damaged.code === "manifest_unreadable", JSON.stringify(damaged));
});

Deno.test("newestSnapshot() takes a newer file at the key for what a Go node wrote, and an old one for its own copy", async () => {
  const store = await storeWith(1, 2);
  store.objects.set(key, { bytes: new Uint8Array(3), modifiedMs: 60 * minuteMs });
  assertEquals((await newestSnapshot({ store, key }))!.kind, "foreign");
  store.objects.set(key, { bytes: new Uint8Array(3), modifiedMs: 0 });
  assertEquals((await newestSnapshot({ store, key }))!.kind, "manifest");
});
