/** With encryption a manifest without a valid MAC holds a name. It chooses no life, opens no place and removes nothing. */
import { latestSnapshot, newestSnapshot, pruneSnapshots } from "../../lib/snapshot/lookup.ts";
import type { Manifest } from "../../lib/snapshot/manifest.ts";
import { requireTrusted } from "../../lib/snapshot/trust.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { caSecret, key, rewriteManifest, save } from "./support.ts";

const trust = { keys: { recipients: [caSecret], secret: caSecret }, requireSealed: true };
const older = { id: "l", epoch: 1, token: "older" };
const younger = { id: "l", epoch: 2, token: "younger" };
const place = (store: MemoryStore) => ({
  store,
  key,
  requireTrusted: (manifest: Manifest) => requireTrusted(manifest, trust),
});

/** Under a name of its own, with the object of another snapshot: what a bucket writer can make. */
function forge(store: MemoryStore, from: Manifest, name: string, change: Partial<Manifest>): void {
  const { authentication: _, ...fields } = from;
  const forged = { ...fields, key: `${key}.history/${name}`, plainSha256: "0".repeat(64), ...change };
  store.objects.set(forged.key, store.objects.get(from.key)!);
  rewriteManifest(store, forged, {});
}

/** The older life, and the one that was restored from its first snapshot, which stands for the place. */
async function twoLives() {
  const store = new MemoryStore();
  const first = await save(store, { minute: 1, lineage: older, trust });
  // Lost on purpose: an operator restored the one before it.
  await save(store, { minute: 90, lineage: older, trust });
  const restoredFrom = { sha256: first.sha256, revision: 1 };
  const second = await save(store, { minute: 100, lineage: younger, restoredFrom, trust });
  return { store, first, second };
}

const outcome = async (store: MemoryStore) => {
  const found = await latestSnapshot(place(store));
  return found.kind === "newest" ? `${found.lineage?.token}${found.fork ? ", fork" : ""}` : JSON.stringify(found);
};

Deno.test("a forged manifest of an older life does not make it go on after the younger one was born", async () => {
  const { store, first } = await twoLives();
  assertEquals(await outcome(store), "younger");
  forge(store, first, "20300101T000000Z-3-00000000", { takenAt: "2030-01-01T00:00:00.000Z", revision: 3 });
  // An operator is asked, where no record names the life; the older one is never taken for the newest.
  assertEquals(await outcome(store), "younger, fork");
});

Deno.test("a forged manifest changes neither birth nor epoch of a life that has authentic ones", async () => {
  const { store, second } = await twoLives();
  // Sorted before the authentic one.
  const change = { takenAt: "1970-01-01T00:00:01.000Z", bornAt: "1970-01-01T00:00:01.000Z", revision: 0 };
  forge(store, second, "19700101T000001Z-0-00000000", { ...change, lineage: { ...younger, epoch: 0 } });
  assertEquals(await outcome(store), "younger");
  const found = await newestSnapshot(place(store));
  assert(found?.kind === "manifest" && found.epochMax === 2, JSON.stringify(found));
});

Deno.test("publishSnapshot() copies the descent from authentic manifests only, because its MAC covers it", async () => {
  const { store, second } = await twoLives();
  const restoredFrom = { token: "forged", revision: 9 };
  forge(store, second, "19700101T000001Z-0-00000000", {
    bornAt: "1970-01-01T00:00:01.000Z",
    restoredFrom,
    revision: 0,
  });
  const third = await save(store, { minute: 200, lineage: younger, trust });
  assertEquals([third.bornAt, third.restoredFrom], [second.bornAt, second.restoredFrom]);
  assertEquals(third.restoredFrom?.token, "older");
  // Before the first snapshot of a life there is nothing authentic of it.
  const next = { id: "l", epoch: 3, token: "next" };
  forge(store, second, "19700101T000002Z-0-00000000", {
    lineage: next,
    bornAt: "1970-01-01T00:00:02.000Z",
    restoredFrom,
  });
  const fourth = await save(store, { minute: 300, lineage: next, trust });
  assertEquals([fourth.bornAt, fourth.restoredFrom], [fourth.takenAt, undefined]);
});

Deno.test("a forged older life does not take the copy at the key from the real life", async () => {
  const { store, first } = await twoLives();
  const takenAt = "2030-01-01T00:00:00.000Z";
  for (const token of ["older", "ghost"]) {
    forge(store, first, `20300101T000000Z-50-${token}`, { takenAt, revision: 50, lineage: { ...older, token } });
  }
  const third = await save(store, { minute: 200, lineage: younger, trust });
  assertEquals(store.objects.get(key)!.bytes, store.objects.get(third.key)!.bytes);
});

Deno.test("a forged manifest of a newcomer's lineage does not let it save beside another cluster", async () => {
  const { store, first } = await twoLives();
  const newcomer = { id: "newcomer", epoch: 1, token: "n" };
  forge(store, first, "20300101T000000Z-0-00000000", { lineage: newcomer });
  await assertE2dError("snapshot_other_lineage", () => save(store, { minute: 300, lineage: newcomer, trust }));
  // And none of another lineage keeps out the cluster that was there first.
  await save(store, { minute: 301, lineage: younger, trust });
});

Deno.test("without any authentic manifest a cluster that turns encryption on continues in its place, other clusters do not", async () => {
  const store = new MemoryStore();
  await save(store, { minute: 1, before: true, lineage: older });
  const newcomer = { id: "newcomer", epoch: 1, token: "n" };
  await assertE2dError("snapshot_other_lineage", () => save(store, { minute: 2, lineage: newcomer, trust }));
  await save(store, { minute: 2, lineage: older, trust });
  assertEquals(await outcome(store), "older");
});

Deno.test("pruneSnapshots() does not count forged manifests, neither as newer snapshots nor as days of a successor", async () => {
  const { store, first, second } = await twoLives();
  const dayMs = 24 * 3_600_000;
  for (let day = 1; day <= 9; day++) {
    const takenAt = new Date(day * dayMs).toISOString();
    forge(store, second, `1970010${day}T000000Z-${day}-00000000`, { takenAt, revision: 1_000 + day });
  }
  const removed = await pruneSnapshots(place(store), { keep: { hourly: 24, daily: 7 }, nowMs: 20 * dayMs });
  assertEquals(removed, []);
  assert(store.objects.has(first.key) && store.objects.has(second.key));
});
