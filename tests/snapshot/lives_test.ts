/** Two lives under one URL: a restore, a drill, a copied URL. */
import { latestSnapshot, listSnapshots, newestSnapshot, pruneSnapshots } from "../../lib/snapshot/lookup.ts";
import { lifeTag } from "../../lib/snapshot/lives.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import {
  contentAt,
  key,
  type Life,
  minuteMs,
  objectAt,
  publication,
  publishSnapshot,
  save,
  storeWith,
} from "./publication.ts";

const production: Life = { epoch: 1 };
/** What was restored from the snapshot of that minute. */
const restored = (revision: number, epoch = 2, token = `t${epoch}`): Life => ({
  epoch,
  token,
  restoredFrom: { revision },
});

async function lookAt(store: MemoryStore) {
  const found = await latestSnapshot({ store, key });
  assert(found.kind === "newest", JSON.stringify(found));
  return found;
}

const newestOf = async (store: MemoryStore) => {
  const { revision, fork, lineage } = await lookAt(store);
  return `${fork ? "fork " : ""}${lineage?.token} ${revision}`;
};

async function history(...steps: [number, Life][]): Promise<MemoryStore> {
  const store = new MemoryStore();
  for (const [at, life] of steps) await save(store, at, life);
  return store;
}

Deno.test("after a restore the younger life stands for the place, and the copy at the key is its own", async () => {
  const store = await history([10, production], [20, production], [30, restored(20)], [40, restored(20)]);
  assertEquals(await newestOf(store), "t2 40");
  assertEquals(contentAt(store, key), "database at 40");
  const { lives } = await lookAt(store);
  assertEquals(lives.map(({ lineage, newest, parentToken }) => [lineage.token, newest.revision, parentToken]), [
    ["t2", 40, "t1"],
    ["t1", 20, undefined],
  ]);
});

Deno.test("a restore drill beside production never stands for the place, whatever and however often it saves", async () => {
  const drill = restored(20);
  const store = await history([10, production], [20, production], [30, drill]);
  // Production saves on as if nothing had been: its copy comes back to the key, and both lives are named.
  const { conflict } = await save(store, 40, production);
  assertEquals([conflict?.other, conflict?.lineage.token], ["younger", "t2"]);
  assertEquals(await newestOf(store), "fork t1 40");
  for (const at of [50, 60, 70]) {
    const { conflict } = await save(store, at, drill);
    assertEquals([conflict?.other, conflict?.lineage.token], ["older", "t1"]);
    assertEquals(contentAt(store, key), "database at 40");
    assertEquals(await newestOf(store), "fork t1 40");
  }
  await save(store, 80, production);
  assertEquals(contentAt(store, key), "database at 80");
  assertEquals((await lookAt(store)).epochMax, 2);
  // Each keeps its own snapshots.
  const saved = (await listSnapshots({ store, key })).map(({ lineage, revision }) => `${lineage.token} ${revision}`);
  assertEquals(saved.sort(), ["t1 10", "t1 20", "t1 40", "t1 80", "t2 30", "t2 50", "t2 60", "t2 70"]);
});

Deno.test("a drill without a recorded parent is identified by its epoch", async () => {
  const store = await history([10, production], [30, { epoch: 2 }], [40, production], [50, { epoch: 2 }]);
  assertEquals(await newestOf(store), "fork t1 40");
  const plain = await history([10, production], [30, { epoch: 2 }], [50, { epoch: 2 }]);
  assertEquals(await newestOf(plain), "t2 50");
});

Deno.test("two restores of one snapshot in two places are two lives, and the first of them stands for the place", async () => {
  const [first, second] = [restored(10, 2, "a"), restored(10, 2, "b")];
  const store = await history([10, production], [20, first], [30, second], [40, first], [50, second]);
  assertEquals(await newestOf(store), "fork a 40");
  assertEquals(contentAt(store, key), "database at 40");
});

Deno.test("one life after another is no fork, also with a survivor's data in between", async () => {
  const store = await history([10, production], [20, restored(10)], [30, restored(25, 3)], [40, restored(30, 4)]);
  assertEquals(await newestOf(store), "t4 40");
  // A life that was thought dead and goes on is one.
  await save(store, 50, restored(10));
  assertEquals(await newestOf(store), "fork t2 50");
});

Deno.test("different clocks of nodes neither create nor hide a fork after a restore", async () => {
  // Production's clock was ten minutes ahead; the snapshot that was restored is its newest.
  const ahead = await history([20, production], [12, restored(20)]);
  assertEquals(await newestOf(ahead), "t2 12");
  // The drill's clock is a day ahead. The store's clock shows that production saved after it.
  const store = await history([10, production]);
  store.nowMs = 20 * minuteMs;
  await publishSnapshot({ store, key }, publication(1_500, restored(10)));
  await save(store, 30, production);
  assertEquals(await newestOf(store), "fork t1 30");
});

Deno.test("the birth of a life stays known after its first snapshots are removed", async () => {
  const drill = restored(10);
  const store = await history([10, production], [20, drill], [30, production]);
  for (const at of [40, 300, 5_000]) await save(store, at, drill);
  const keep = { hourly: 0, daily: 0 };
  await pruneSnapshots({ store, key }, { keep, nowMs: 6_000 * minuteMs, lineageId: "l" });
  assertEquals((await listSnapshots({ store, key })).map(({ revision }) => revision), [5_000, 30]);
  assertEquals(await newestOf(store), "fork t1 30");
});

Deno.test("a life that stopped a day ago is not a conflict, and the copy at the key does not change", async () => {
  const drill = restored(10);
  const store = await history([10, production], [20, drill], [30, production]);
  const later = 30 + 25 * 60;
  const { conflict } = await save(store, later, drill);
  assertEquals([conflict, contentAt(store, key)], [undefined, "database at 30"]);
  assertEquals(await newestOf(store), "fork t1 30");
});

Deno.test("another cluster under a copied URL is refused, and the first one never is", async () => {
  const store = await history([10, { id: "owner", epoch: 1 }]);
  await assertE2dError("snapshot_other_lineage", () => save(store, 20, { id: "copied", epoch: 1 }));
  // An e2d from before this rule had saved there in spite of it; its snapshots are newer, and many.
  const other = await history([15, { id: "copied", epoch: 9 }], [16, { id: "copied", epoch: 9 }]);
  for (const [name, object] of other.objects) if (name !== key) store.objects.set(name, object);
  assertEquals((await lookAt(store)).lineage?.id, "owner");
  assertEquals((await lookAt(store)).fork, true);
  const { conflict } = await save(store, 30, { id: "owner", epoch: 1 });
  assertEquals(conflict?.other, "lineage");
  assertEquals(contentAt(store, key), "database at 30");
  const newest = await newestSnapshot({ store, key });
  assert(newest?.kind === "manifest" && newest.epochMax === 1, JSON.stringify(newest));
});

Deno.test("clusters of the original have the same token but different lives", async () => {
  const [a, b] = ["a", "b"].map((id) => ({ id, token: "etcd-cluster" }));
  assert(lifeTag({ lineage: a! }) !== lifeTag({ lineage: b! }));
  const store = await history([10, { id: "a", epoch: 0, token: "etcd-cluster" }]);
  await assertE2dError(
    "snapshot_other_lineage",
    () => save(store, 20, { id: "b", epoch: 0, token: "etcd-cluster", mayReplaceUnmanaged: true }),
  );
});

Deno.test("names of two lives never collide, and names without a life stay readable", async () => {
  const store = await history([10, production], [10, restored(10)]);
  assertEquals((await listSnapshots({ store, key })).length, 2);
  const old = await storeWith(5);
  const now = objectAt(old, 5);
  const before = now.replace(/-[0-9a-f]{8}$/, "");
  const text = new TextDecoder().decode(old.objects.get(`${now}.manifest`)!.bytes).replaceAll(now, before);
  old.objects.set(before, old.objects.get(now)!);
  old.objects.set(`${before}.manifest`, { bytes: new TextEncoder().encode(text), modifiedMs: 0 });
  for (const name of [now, `${now}.manifest`]) old.objects.delete(name);
  assertEquals(await newestOf(old), "t0 5");
});

Deno.test("a life with a damaged newest snapshot is not offered, and blocks only if it would be chosen", async () => {
  const store = await history([10, production], [20, production], [30, restored(20)]);
  store.objects.delete(objectAt(store, 20));
  assertEquals((await lookAt(store)).lives.map(({ lineage }) => lineage.token), ["t2"]);
  store.objects.delete(objectAt(store, 30));
  store.objects.delete(key);
  const found = await latestSnapshot({ store, key });
  assertEquals(found.kind, "unreadable");
  // In a fork it is the older life that would be chosen.
  const fork = await history([10, production], [30, restored(10)], [40, production], [50, restored(10)]);
  fork.objects.delete(objectAt(fork, 40));
  fork.objects.delete(key);
  assertEquals((await latestSnapshot({ store: fork, key })).kind, "unreadable");
});

Deno.test("pruneSnapshots() handles each life separately and never removes the newest snapshot of one", async () => {
  const drill = restored(10);
  const store = await history([10, production], [20, drill], [30, production]);
  // The drill saves often; production's hours and days are its own.
  for (let at = 31; at < 60; at += 5) await save(store, at, drill);
  const keep = { hourly: 1, daily: 1 };
  const nowMs = 1e10;
  await pruneSnapshots({ store, key }, { keep, nowMs, lineageId: "l" });
  const left = (await listSnapshots({ store, key })).map(({ lineage, revision }) => `${lineage.token} ${revision}`);
  assertEquals(left, ["t2 56", "t1 30"]);
});
