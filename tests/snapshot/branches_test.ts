/** A disk that was rolled back: the same life goes on at a lower revision than the store holds. */
import {
  isNewestOfItsLife,
  latestSnapshot,
  listSnapshots,
  newestSnapshot,
  pruneSnapshots,
} from "../../lib/snapshot/lookup.ts";
import { readHistory } from "../../lib/snapshot/history.ts";
import { decodeManifest, encodeManifest } from "../../lib/snapshot/manifest.ts";
import { E2dError } from "../../lib/errors.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { contentAt, key, type Life, minuteMs, publication, publishSnapshot, save } from "./publication.ts";

/** At that minute the data is at that revision, and no quorum has a higher one. */
const at = (revision: number, life: Life = {}): Life => ({ ...life, revision, now: revision });

/** Saved up to revision 34, then an image of the disk from revision 4 was put in its place. */
async function rolledBack(...later: number[]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const [minute, revision] of [[1, 4], [2, 20], [3, 34]] as const) await save(store, minute, at(revision));
  for (const [index, revision] of later.entries()) await save(store, 10 + index, at(revision));
  return store;
}

const newestOf = async (store: MemoryStore) => {
  const found = await latestSnapshot({ store, key });
  assert(found.kind === "newest", JSON.stringify(found));
  return `${found.fork ? "fork " : ""}${found.lives.map(({ newest }) => newest.revision).join(" ")}`;
};

Deno.test("publishSnapshot() begins a branch where the cluster is at a lower revision than the store holds, once", async () => {
  const store = await rolledBack();
  const { manifest, ownsKey, conflict, rolledBack: first } = await save(store, 10, at(5));
  assertEquals([first?.from.revision, ownsKey, conflict], [34, true, undefined]);
  assert(manifest.branch !== undefined, JSON.stringify(manifest));
  assertEquals(await newestOf(store), "fork 5 34");
  const { manifest: next, rolledBack: second } = await save(store, 11, at(7));
  assertEquals([next.branch, next.bornAt, second], [manifest.branch, manifest.takenAt, undefined]);
  assertEquals(await newestOf(store), "fork 7 34");
  assertEquals(contentAt(store, key), "database at 11");
  // Also once it has overtaken the branch that was left.
  assertEquals((await save(store, 12, at(40))).manifest.branch, manifest.branch);
  assertEquals(await newestOf(store), "fork 40 34");
  assertEquals((await listSnapshots({ store, key })).map(({ revision }) => revision), [40, 7, 5, 34, 20, 4]);
});

Deno.test("a second rollback begins a second branch, and the newest of each stays for ever", async () => {
  const store = await rolledBack(5, 40);
  const { manifest } = await save(store, 20, at(6));
  await save(store, 21, at(7));
  assertEquals(await newestOf(store), "fork 7 34 40");
  const branches = (await readHistory({ store, key })).lives.map(({ branch }) => branch);
  assertEquals([branches[0], new Set(branches).size, branches.at(-1)], [undefined, 3, manifest.branch]);
  await pruneSnapshots({ store, key }, { keep: { hourly: 0, daily: 0 }, nowMs: 1e6 * minuteMs, lineageId: "l" });
  assertEquals((await listSnapshots({ store, key })).map(({ revision }) => revision), [7, 40, 34]);
});

Deno.test("a node that saves an older revision than another one has saved begins no branch while a quorum has that", async () => {
  const store = await rolledBack();
  const { manifest, ownsKey, rolledBack: back } = await save(store, 10, { revision: 30, now: 34 });
  assertEquals([manifest.branch, back, ownsKey], [undefined, undefined, false]);
  // It is not the newest, so the copy at the key stays.
  assertEquals([await newestOf(store), contentAt(store, key)], ["34", "database at 3"]);
  // Without a quorum nothing is known, and nothing is saved.
  const deposed = {
    ...publication(11, { revision: 31 }),
    currentRevision: () => Promise.reject(new E2dError("etcd_no_leader", "no")),
  };
  await assertE2dError("etcd_no_leader", () => publishSnapshot({ store, key }, deposed));
  assertEquals(await newestOf(store), "34");
  // An ordinary save asks nobody.
  const next = { ...publication(12, { revision: 35 }), currentRevision: () => Promise.reject(new Error("asked")) };
  assertEquals((await publishSnapshot({ store, key }, next)).manifest.branch, undefined);
});

Deno.test("two nodes that save at once after a rollback begin the same branch", async () => {
  const store = await rolledBack();
  const other = new MemoryStore();
  for (const [name, object] of store.objects) other.objects.set(name, object);
  const [a, b] = [await save(store, 10, at(5)), await save(other, 11, at(6))];
  assertEquals(a.manifest.branch, b.manifest.branch);
  for (const [name, object] of other.objects) store.objects.set(name, object);
  assertEquals(await newestOf(store), "fork 6 34");
});

Deno.test("wrong clocks of nodes do not change the order of branches", async () => {
  const store = new MemoryStore();
  await save(store, 500, at(34));
  await save(store, 10, at(5));
  await save(store, 11, at(36));
  assertEquals(await newestOf(store), "fork 36 34");
  assertEquals((await save(store, 12, at(37))).manifest.branch !== undefined, true);
  assertEquals(contentAt(store, key), "database at 12");
});

Deno.test("a life that was restored from a branch succeeds both branches, without a fork", async () => {
  const store = await rolledBack(5, 7);
  await save(store, 20, { epoch: 1, restoredFrom: { revision: 34 }, revision: 50 });
  assertEquals(await newestOf(store), "50 34 7");
});

Deno.test("a drill beside a life is beside each of its branches, and branches do not conflict with each other", async () => {
  const store = await rolledBack();
  await save(store, 4, { epoch: 1, token: "drill", restoredFrom: { revision: 20 }, revision: 21 });
  await save(store, 10, at(35));
  const { conflict, ownsKey, manifest } = await save(store, 11, at(6));
  assertEquals([conflict?.lineage.token, conflict?.other, ownsKey], ["drill", "younger", true]);
  const drill = await save(store, 12, { epoch: 1, token: "drill", revision: 22 });
  assertEquals([drill.conflict?.lineage.token, drill.ownsKey], ["t0", false]);
  const found = await latestSnapshot({ store, key });
  assert(found.kind === "newest" && found.lives[0]!.branch === manifest.branch && found.fork, JSON.stringify(found));
});

Deno.test("manifests that are not trusted begin no branch", async () => {
  const store = await rolledBack();
  const requireTrusted = ({ revision }: { revision: number }) => {
    if (revision > 20) throw new E2dError("manifest_unauthentic", "no");
  };
  const { manifest } = await publishSnapshot({ store, key, requireTrusted }, publication(10, at(21)));
  assertEquals(manifest.branch, undefined);
});

Deno.test("the copy at the key of a snapshot that was removed blocks a restore, whichever branch it is of", async () => {
  const store = await rolledBack(5, 7);
  const place = { store, key };
  const [newest] = await listSnapshots(place);
  assertEquals(await isNewestOfItsLife(place, newest!, 12 * minuteMs), true);
  assertEquals(await isNewestOfItsLife(place, (await listSnapshots(place))[2]!, 12 * minuteMs), false);
  // The branch that was left has a damaged newest snapshot: nothing older of it is named.
  store.objects.delete((await listSnapshots(place))[2]!.key);
  assertEquals(await newestOf(store), "fork 7");
  // The newest of the last branch is damaged.
  store.objects.set(newest!.key, { bytes: new Uint8Array(1), modifiedMs: 0 });
  store.objects.delete(key);
  await assertE2dError("snapshot_damaged", () => newestSnapshot(place));
});

Deno.test("decodeManifest() accepts a branch and refuses invalid ones", async () => {
  const [manifest] = await listSnapshots({ store: await rolledBack(5), key });
  const read = (branch: unknown) =>
    decodeManifest("m", new TextEncoder().encode(encodeManifest({ ...manifest!, branch } as typeof manifest & object)));
  assertEquals([read(undefined).branch, read("0a1b2c3d").branch], [undefined, "0a1b2c3d"]);
  for (const bad of ["", "0A1B2C3D", 7, null]) await assertE2dError("manifest_unreadable", () => read(bad));
});
