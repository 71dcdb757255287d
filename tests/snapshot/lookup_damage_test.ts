/** Damage in a history is never absence, never an older snapshot without notice, and stops nothing but a restore. */
import {
  latestSnapshot,
  listSnapshots,
  newestSnapshot,
  openStored,
  pruneSnapshots,
} from "../../lib/snapshot/lookup.ts";
import { damagesOf, readHistory } from "../../lib/snapshot/history.ts";
import { manifestSuffix } from "../../lib/snapshot/manifest.ts";
import type { Store } from "../../lib/storage/store.ts";
import { E2dError } from "../../lib/errors.ts";
import { sealV2 } from "../../lib/snapshot/format/v2.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { contentAt, key, minuteMs, objectAt, publication, publishSnapshot, save, storeWith } from "./publication.ts";

async function codeOf(store: Store): Promise<string> {
  const found = await latestSnapshot({ store, key });
  return found.kind === "unreadable" ? found.code : found.kind === "newest" ? `newest ${found.revision}` : found.kind;
}

const shorten = (store: MemoryStore, name: string) =>
  store.objects.set(name, { ...store.objects.get(name)!, bytes: store.objects.get(name)!.bytes.slice(1) });
const remove = (store: MemoryStore, name: string) => void store.objects.delete(name);
const spoil = (store: MemoryStore, name: string) =>
  store.objects.set(name, { ...store.objects.get(name)!, bytes: new TextEncoder().encode("{") });

Deno.test("latestSnapshot() never reports a history as absent, whatever was removed or truncated", async () => {
  const names = [...(await storeWith(1, 2)).objects.keys()];
  // Each object is there, gone or one byte short, in each combination but that of all gone.
  for (let at = 1; at < 3 ** names.length; at++) {
    const store = await storeWith(1, 2);
    names.forEach((name, place) => {
      const state = Math.floor(at / 3 ** place) % 3;
      if (state === 0) remove(store, name);
      if (state === 1) shorten(store, name);
    });
    const found = await codeOf(store);
    assert(found !== "absent", `${at}: ${[...store.objects.keys()]}`);
  }
  assertEquals(await codeOf(new MemoryStore()), "absent");
});

Deno.test("latestSnapshot() refuses to choose if the newest snapshot is truncated or missing, unless the copy at the key matches", async () => {
  for (const damage of [shorten, remove]) {
    const copied = await storeWith(1, 2);
    damage(copied, objectAt(copied, 2));
    assertEquals(await codeOf(copied), "newest 2");
    const manifest = (await listSnapshots({ store: copied, key }))[0]!;
    assertEquals(manifest.revision, 2);
    const { stream } = (await openStored({ store: copied, key }, manifest))!;
    assertEquals(await new Response(stream).text(), "database at 2");
    // The copy is of the right length, and of another snapshot.
    copied.objects.set(key, { bytes: new TextEncoder().encode("database at X"), modifiedMs: 3 });
    assertEquals(await codeOf(copied), "snapshot_damaged");
    remove(copied, key);
    assertEquals(await codeOf(copied), "snapshot_damaged");
    await assertE2dError("snapshot_damaged", () => newestSnapshot({ store: copied, key }));
    // A newer whole one, and it is only reported.
    await save(copied, 3);
    assertEquals(await codeOf(copied), "newest 3");
    const found = await latestSnapshot({ store: copied, key });
    assert(found.kind === "newest" && found.damaged.length === 1, JSON.stringify(found));
  }
});

Deno.test("latestSnapshot(): a copy at the key is read once, not at each lookup", async () => {
  const store = await storeWith(1, 2);
  remove(store, objectAt(store, 2));
  await codeOf(store);
  const before = store.count;
  await codeOf(store);
  // Two listings, two manifests, and the header of the copy.
  assertEquals(store.count - before, 5);
});

Deno.test("latestSnapshot() refuses to choose if only manifests are missing", async () => {
  const one = await storeWith(1);
  remove(one, `${objectAt(one, 1)}${manifestSuffix}`);
  assertEquals(await codeOf(one), "history_incomplete");
  remove(one, key);
  assertEquals(await codeOf(one), "history_incomplete");
  const copies = new MemoryStore();
  copies.objects.set(`${key}.history/foreign-5-0`, { bytes: new Uint8Array(5), modifiedMs: 0 });
  assertEquals(await codeOf(copies), "history_incomplete");
  // An upload that is under way, or was cut off, beside whole snapshots says nothing.
  const two = await storeWith(1, 2);
  remove(two, `${objectAt(two, 2)}${manifestSuffix}`);
  assertEquals(await codeOf(two), "newest 1");
});

async function headerOf(token: string): Promise<Uint8Array<ArrayBuffer>> {
  const facts = {
    clusterId: "c",
    lineage: { id: "l", epoch: 1, token },
    revision: 9,
    etcdVersion: "3.6.14",
    takenAt: new Date(9 * minuteMs).toISOString(),
    plainBytes: 3,
  };
  const sealed = sealV2(ReadableStream.from([new Uint8Array(3)]), {
    facts,
    compression: "none",
    recipients: [],
    mac: "HMAC-SHA-256",
    randomBytes: (length) => new Uint8Array(length),
  });
  return new Uint8Array(await new Response(sealed).arrayBuffer());
}

Deno.test("latestSnapshot() refuses to choose if the copy at the key is newer than each remaining snapshot", async () => {
  for (const minutes of [[], [1, 2]]) {
    const store = await storeWith(...minutes);
    // The copy of a snapshot that a node saved, of which the history knows nothing any more.
    store.objects.set(key, { bytes: await headerOf("t1"), modifiedMs: 9 * minuteMs });
    assertEquals(await codeOf(store), "history_incomplete");
    // A file that an operator saved there, or the original did.
    for (const bytes of [await headerOf(""), new TextEncoder().encode("E2DSNAP2\0\0\0\x04null"), new Uint8Array(7)]) {
      store.objects.set(key, { bytes, modifiedMs: 9 * minuteMs });
      assertEquals(await codeOf(store), "newest 0");
    }
  }
});

Deno.test("an unreadable manifest stops neither backups nor list, restore by name or prune", async () => {
  const store = await storeWith(1, 2, 3);
  const bad = `${objectAt(store, 3)}${manifestSuffix}`;
  spoil(store, bad);
  assertEquals(await codeOf(store), "manifest_unreadable");
  const place = { store, key };
  assertEquals((await listSnapshots(place)).map(({ revision }) => revision), [2, 1]);
  assertEquals(damagesOf(await readHistory(place)).map(({ key }) => key), [bad]);
  const nowMs = 1e12;
  const removed = await pruneSnapshots(place, { keep: { hourly: 0, daily: 0 }, nowMs });
  assertEquals(removed.map(({ revision }) => revision), [1]);
  // Neither what is damaged goes, nor what is beside it.
  assert(store.objects.has(bad) && store.objects.has(objectAt(store, 3)), [...store.objects.keys()].join());
  await save(store, 4);
  assertEquals(contentAt(store, key), "database at 4");
  // It is older than a whole one of its life now, by its name.
  assertEquals(await codeOf(store), "newest 4");
  store.objects.set(`${key}.history/x${manifestSuffix}`, { bytes: new Uint8Array(1), modifiedMs: 0 });
  assertEquals(await codeOf(store), "manifest_unreadable");
});

Deno.test("latestSnapshot(): an unreadable manifest without a life in its name blocks unless every life has newer ones", async () => {
  const store = await storeWith(5);
  const at = (name: string) =>
    store.objects.set(`${key}.history/${name}${manifestSuffix}`, { bytes: new Uint8Array(1), modifiedMs: 0 });
  at("19700101T000400Z-4");
  assertEquals(await codeOf(store), "newest 5");
  at("19700101T000600Z-6");
  assertEquals(await codeOf(store), "manifest_unreadable");
  // A life that nothing else is left of, and whose snapshot is newer than the birth of the other.
  const other = await storeWith(5);
  other.objects.set(`${key}.history/19700101T001000Z-2-0123abcd${manifestSuffix}`, {
    bytes: new Uint8Array(1),
    modifiedMs: 0,
  });
  assertEquals(await codeOf(other), "manifest_unreadable");
});

Deno.test("latestSnapshot(): a manifest that is listed and not found is damaged, one that was removed in the meantime is not", async () => {
  const store = await storeWith(1, 2);
  const bad = `${objectAt(store, 2)}${manifestSuffix}`;
  const read = store.read.bind(store);
  store.read = (name) => name === bad ? Promise.resolve(undefined) : read(name);
  assertEquals(await codeOf(store), "manifest_unreadable");
  store.read = (name) => {
    if (name === bad) {
      remove(store, bad);
      remove(store, objectAt(store, 2));
    }
    return read(name);
  };
  assertEquals(await codeOf(store), "newest 1");
});

Deno.test("latestSnapshot(): a manifest that the store refuses is damage; an unreachable store is unknown", async () => {
  const store = await storeWith(1, 2);
  const read = store.read.bind(store);
  const fail = (at: number, code: string) => {
    const bad = `${objectAt(store, at)}${manifestSuffix}`;
    store.read = (name) => name === bad ? Promise.reject(new E2dError(code, "no")) : read(name);
  };
  fail(1, "store_forbidden");
  assertEquals(await codeOf(store), "newest 2");
  fail(2, "store_forbidden");
  assertEquals(await codeOf(store), "store_forbidden");
  fail(1, "store_unreachable");
  assertEquals(await codeOf(store), "store_unreachable");
});

Deno.test("a history that was copied completely to another key is the same history: for lookup, prune and save", async () => {
  const store = await storeWith(1, 61);
  for (const withHead of [true, false]) {
    const moved = new MemoryStore();
    for (const [name, object] of store.objects) moved.objects.set(name.replace(/^db/, "team/copy"), object);
    if (!withHead) moved.objects.delete("team/copy");
    const place = { store: moved, key: "team/copy" };
    const found = await latestSnapshot(place);
    assert(found.kind === "newest" && found.revision === 61 && found.damaged.length === 0, JSON.stringify(found));
    const [newest] = await listSnapshots(place);
    const opened = (await openStored(place, newest!))!;
    assertEquals(await new Response(opened.stream).text(), "database at 61");
    assertEquals(opened.key, objectAt(store, 61).replace(/^db/, "team/copy"));
    await publishSnapshot(place, publication(121));
    const removed = await pruneSnapshots(place, { keep: { hourly: 1, daily: 0 }, nowMs: 300 * minuteMs });
    assertEquals(removed.map(({ revision }) => revision), [61, 1]);
    const left = [...moved.objects.keys()].sort();
    assertEquals(left, ["team/copy", objectAt(moved, 121), `${objectAt(moved, 121)}${manifestSuffix}`]);
    assertEquals((await latestSnapshot(place)).kind, "newest");
  }
  // A manifest that was moved beside another object tells nothing of that object, which may be the newest.
  const swapped = await storeWith(1, 2);
  const manifestAt = (at: number) => `${objectAt(swapped, at)}${manifestSuffix}`;
  swapped.objects.set(manifestAt(2), swapped.objects.get(manifestAt(1))!);
  assertEquals(await codeOf(swapped), "snapshot_damaged");
});

Deno.test("latestSnapshot(): an untrusted manifest decides nothing, and blocks if it may be the newest", async () => {
  const store = await storeWith(1, 2, 3);
  const distrust = (revision: number) => ({
    store,
    key,
    requireTrusted: (manifest: { revision: number }) => {
      if (manifest.revision === revision) throw new E2dError("manifest_unauthentic", "no");
    },
  });
  const kinds = await Promise.all([1, 3].map(async (at) => (await latestSnapshot(distrust(at))).kind));
  assertEquals(kinds, ["newest", "unreadable"]);
  // By name it is found nonetheless.
  assertEquals((await listSnapshots(distrust(3))).length, 3);
});

Deno.test("publishSnapshot() fails if the store does not list the written objects", async () => {
  for (const hidden of [/Z-2-[0-9a-f]{8}$/, /Z-2-.*manifest$/, /^db$/]) {
    const store = await storeWith(1);
    const list = store.list.bind(store);
    store.list = async (prefix) => (await list(prefix)).filter(({ key }) => !hidden.test(key));
    await assertE2dError("snapshot_not_listed", () => publishSnapshot({ store, key }, publication(2)));
  }
});

Deno.test("publishSnapshot() never overwrites an object of the history", async () => {
  const store = await storeWith(1);
  const before = store.objects.get(objectAt(store, 1))!.bytes;
  await assertE2dError("snapshot_name_taken", () => publishSnapshot({ store, key }, publication(1)));
  assertEquals(store.objects.get(objectAt(store, 1))!.bytes, before);
});

Deno.test("the error of a damaged newest snapshot names it, and the newest older one with the command that restores it", async () => {
  const damages: Readonly<Record<string, (store: MemoryStore, name: string) => void>> = {
    gone: remove,
    short: shorten,
    unread: (store, name) => spoil(store, `${name}${manifestSuffix}`),
  };
  for (const damage of Object.values(damages)) {
    const store = await storeWith(1, 2, 3);
    const newest = objectAt(store, 3);
    damage(store, newest);
    remove(store, key);
    const found = await latestSnapshot({ store, key, restoreArguments: "--data-dir /d" });
    assert(found.kind === "unreadable" && found.why.includes(newest), JSON.stringify(found));
    const older = objectAt(store, 2);
    assert(found.hint?.includes(`"${older}" of 1970-01-01T00:02:00Z at revision 2`), found.hint);
    assert(
      found.hint!.endsWith(`e2d snapshot restore --data-dir /d --snapshot ${older.split("/").at(-1)}`),
      found.hint,
    );
    // Where nothing older is whole, none is named.
    for (const minute of [1, 2]) shorten(store, objectAt(store, minute));
    const none = await latestSnapshot({ store, key });
    assert(none.kind === "unreadable" && !none.hint?.includes("older"), JSON.stringify(none));
  }
});
