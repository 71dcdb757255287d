/** What a writer to the bucket can and cannot do to a cluster that seals its snapshots. */
import { latestSnapshot, newestSnapshot } from "../../lib/snapshot/lookup.ts";
import type { Manifest } from "../../lib/snapshot/manifest.ts";
import type { SnapshotKeys } from "../../lib/snapshot/format/unseal.ts";
import { sameThreadCodec } from "../../lib/snapshot/format/codec.ts";
import { fetchSnapshot, requireSealedObject } from "../../lib/snapshot/pipeline.ts";
import { requireTrusted } from "../../lib/snapshot/trust.ts";
import { wrapSnapshot } from "../../lib/snapshot/format/seal.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";
import { MemoryDisk } from "../etcd/memory_disk.ts";
import { caSecret, collect, counter, database, key, otherSecret, rewriteManifest, save, streamOf } from "./support.ts";

const keys: SnapshotKeys = { recipients: [caSecret], secret: caSecret };
const strict = { keys, requireSealed: true };
const lenient = { keys, requireSealed: false };

const ports = (disk: MemoryDisk) => ({
  staging: disk,
  clock: new TestClock(),
  log: new TestLog(),
  codec: sameThreadCodec,
});

const place = (store: MemoryStore, trust = strict) => ({
  store,
  key,
  requireTrusted: (manifest: Manifest) => requireTrusted(manifest, trust),
});

async function newest(store: MemoryStore, trust = strict): Promise<string | number> {
  const found = await latestSnapshot(place(store, trust));
  return found.kind === "unreadable" ? found.code : found.kind === "newest" ? found.revision : found.kind;
}

/** Code of the error, or "restored". */
async function fetched(store: MemoryStore, choice: { manifest?: Manifest; named?: boolean }, trust = strict) {
  const disk = new MemoryDisk();
  const path = "/work/x.db";
  try {
    const { manifest, named } = choice;
    await fetchSnapshot({ store, key }, { key: manifest?.key ?? key, manifest, named }, { trust, path }, ports(disk));
    return "restored";
  } catch (error) {
    // Nothing that was refused stays.
    assertEquals(disk.paths().filter((name) => name.startsWith(path)), []);
    return (error as { code?: string }).code ?? String(error);
  }
}

Deno.test("a sealed snapshot with its manifest is newest and is restored", async () => {
  const store = new MemoryStore();
  const manifest = await save(store);
  assertEquals([await newest(store), await fetched(store, { manifest })], [1, "restored"]);
});

Deno.test("a forged manifest decides nothing: of another time, epoch, revision or lineage, with or without its MAC", async () => {
  const changes: Record<string, unknown>[] = [
    { takenAt: "2030-01-01T00:00:00.000Z" },
    { lineage: { id: "l", epoch: 9, token: "t" } },
    { lineage: { id: "other", epoch: 1, token: "t" } },
    { revision: 99 },
  ];
  for (const change of changes) {
    const store = new MemoryStore();
    const manifest = await save(store, { minute: 5 });
    rewriteManifest(store, manifest, change);
    assertEquals(await newest(store), "manifest_unauthentic", JSON.stringify(change));
    rewriteManifest(store, manifest, { ...change, authentication: undefined, plainSha256: "0".repeat(64) });
    assertEquals(await newest(store), "manifest_unauthentic", JSON.stringify(change));
    assertEquals(await fetched(store, { manifest: { ...manifest, ...change } as Manifest }), "manifest_unauthentic");
  }
});

Deno.test("a forged manifest that claims to be older than an authentic one does not block", async () => {
  const store = new MemoryStore();
  const old = await save(store, { minute: 1 });
  await save(store, { minute: 9 });
  rewriteManifest(store, old, { etcdVersion: "9.9.9" });
  assertEquals(await newest(store), 9);
});

Deno.test("an old file under a forged newer manifest, and another cluster's file, are refused by their headers", async () => {
  // Also where no manifest is authenticated: without encryption the header still finds accidents, and with
  // --snapshot-allow-unsealed the header of a sealed file is authentic.
  for (const change of [{ takenAt: "2030-01-01T00:00:00.000Z" }, { revision: 7 }, { clusterId: "d" }]) {
    const store = new MemoryStore();
    const manifest = await save(store, { before: true });
    const forged = { ...manifest, ...change };
    assertEquals(await fetched(store, { manifest: forged }, lenient), "snapshot_manifest_mismatch");
    assertEquals(await fetched(store, { manifest }, lenient), "restored");
  }
});

Deno.test("every restore verifies the checksums of object and database", async () => {
  const store = new MemoryStore();
  const manifest = await save(store, { before: true });
  for (const change of [{ sha256: "0".repeat(64) }, { plainSha256: "0".repeat(64) }]) {
    const forged = { ...manifest, ...change };
    assertEquals(await fetched(store, { manifest: forged }, lenient), "snapshot_manifest_mismatch");
  }
  const plain = await save(new MemoryStore(), { sealed: false, format: "go-v1" });
  const store2 = new MemoryStore();
  await save(store2, { sealed: false, format: "go-v1" });
  // Another database that etcd's own sum fits, at the same key and of the same size.
  for (const name of [plain.key, key]) store2.objects.get(name)!.bytes.set(database("forged"));
  assertEquals(await fetched(store2, { manifest: plain }, lenient), "snapshot_manifest_mismatch");
});

Deno.test("a flipped bit anywhere in the object: the copy at the key is used if it is the described snapshot", async () => {
  for (const format of ["v2", "go-v1"] as const) {
    const store = new MemoryStore();
    const manifest = await save(store, { format });
    const whole = store.objects.get(manifest.key)!.bytes;
    for (let at = 0; at < whole.length; at += 1 + Math.floor(whole.length / 40)) {
      const flipped = whole.slice();
      flipped[at]! ^= 1;
      store.objects.set(manifest.key, { bytes: flipped, modifiedMs: 0 });
      assertEquals([at, await fetched(store, { manifest })], [at, "restored"]);
    }
    // Neither is whole, or the copy is of another snapshot: the error is that of the object.
    const copy = store.objects.get(key)!;
    for (const bytes of [whole.map((byte, at) => at === 9 ? byte ^ 1 : byte), new Uint8Array(5)]) {
      store.objects.set(key, { ...copy, bytes });
      const code = await fetched(store, { manifest });
      assert(/^snapshot_(corrupt|manifest_mismatch|truncated|trailing)$/.test(code), code);
    }
  }
});

Deno.test("with encryption no unsealed snapshot is restored, in any form", async () => {
  for (const format of ["v2", "go-v1"] as const) {
    const store = new MemoryStore();
    const manifest = await save(store, { sealed: false, format });
    assertEquals([format, await newest(store)], [format, "snapshot_unsealed"]);
    assertEquals(await fetched(store, { manifest }), "snapshot_unsealed");
    // Not by name either; --snapshot-allow-unsealed is the only way.
    assertEquals(await fetched(store, { manifest, named: true }), "snapshot_unsealed");
    assertEquals([await newest(store, lenient), await fetched(store, { manifest }, lenient)], [1, "restored"]);
  }
  // Files at the key that no manifest describes.
  const facts = { clusterId: "", lineage: { id: "", epoch: 0, token: "" }, revision: 1, etcdVersion: "", takenAt: "" };
  const forms = [
    ["plain", database("x")],
    ["gzip", await collect(new Blob([database("x")]).stream().pipeThrough(new CompressionStream("gzip")))],
    [
      "v2",
      await collect(wrapSnapshot(streamOf(database("x")), {
        facts: { ...facts, plainBytes: database("x").length },
        format: "v2",
        compression: "none",
        sealed: false,
        keys,
        mac: "HMAC-SHA-256",
        randomBytes: counter(),
      })),
    ],
  ] as const;
  for (const [form, bytes] of forms) {
    const store = new MemoryStore();
    store.objects.set(key, { bytes, modifiedMs: 0 });
    assertEquals([form, await fetched(store, {})], [form, "snapshot_unsealed"]);
    await assertE2dError("snapshot_unsealed", () => requireSealedObject({ store, key }));
    assertEquals(await fetched(store, {}, lenient), "restored");
  }
});

Deno.test("sealed files without a manifest do not count as unsealed", async () => {
  for (const format of ["v2", "go-v1"] as const) {
    const store = new MemoryStore();
    const { key: name } = await save(store, { format });
    const sealed = new MemoryStore();
    sealed.objects.set(key, store.objects.get(name)!);
    await requireSealedObject({ store: sealed, key });
    assertEquals(await fetched(sealed, {}), "restored");
  }
});

Deno.test("a manifest without a MAC makes an automatic restore wait, and is restored by name", async () => {
  const store = new MemoryStore();
  const manifest = await save(store, { before: true });
  assertEquals([await newest(store), await newest(store, lenient)], ["manifest_unauthentic", 1]);
  assertEquals(await fetched(store, { manifest }), "manifest_unauthentic");
  assertEquals(await fetched(store, { manifest, named: true }), "restored");
  // The next save gives the history an authentic newest one.
  await save(store, { minute: 2 });
  assertEquals(await newest(store), 2);
});

Deno.test("the MAC verifies with any configured key: a rollover of the CA, its former key, an extra recipient", async () => {
  const [next, extra] = [otherSecret, new Uint8Array(32).fill(3)];
  const store = new MemoryStore();
  const manifest = await save(store, { keys: { recipients: [caSecret, extra], secret: caSecret } });
  const holders: [string, SnapshotKeys, string | number][] = [
    ["the same key", keys, 1],
    ["the next key with the former one", { recipients: [next], secret: next, former: [caSecret] }, 1],
    ["both keys of a rollover", { recipients: [caSecret, next], secret: caSecret }, 1],
    ["the recipient's key alone", { recipients: [extra] }, 1],
    ["another cluster's key", { recipients: [next], secret: next }, "snapshot_wrong_key"],
    ["no key", { recipients: [] }, "snapshot_wrong_key"],
  ];
  for (const [who, keys, expected] of holders) {
    const trust = { keys, requireSealed: true };
    assertEquals([who, await newest(store, trust)], [who, expected]);
    if (expected === 1) assertEquals([who, await fetched(store, { manifest }, trust)], [who, "restored"]);
  }
});

Deno.test("an untrusted manifest never means absence, and blocks no save", async () => {
  const store = new MemoryStore();
  const manifest = await save(store);
  rewriteManifest(store, manifest, { revision: 2 });
  await assertE2dError("manifest_unauthentic", () => newestSnapshot(place(store)));
  assertEquals((await save(store, { minute: 3 })).revision, 3);
});

Deno.test("go-v1 without the CA key is refused, never written unsealed", async () => {
  await assertE2dError(
    "snapshot_unsealed",
    () => save(new MemoryStore(), { format: "go-v1", keys: { recipients: [caSecret] } }),
  );
});

Deno.test("decompression stops at the size of the manifest, and a restore needs space for the database", async () => {
  const store = new MemoryStore();
  const bomb = await collect(
    new Blob([new Uint8Array(1_048_576)]).stream().pipeThrough(new CompressionStream("gzip")),
  );
  const manifest = await save(store, { sealed: false, format: "go-v1" });
  store.objects.set(manifest.key, { bytes: bomb, modifiedMs: 0 });
  // Of the size that the manifest has: for an object of another size the copy at the key is read.
  assertEquals(await fetched(store, { manifest: { ...manifest, size: bomb.length } }, lenient), "snapshot_size");
  const disk = new MemoryDisk();
  disk.roomBytes = 2 * manifest.plainBytes - 1;
  const options = { trust: lenient, path: "/work/x.db", copies: 2 };
  await assertE2dError(
    "no_space",
    () => fetchSnapshot({ store, key }, { key: manifest.key, manifest }, options, ports(disk)),
  );
  assertEquals(disk.paths(), []);
});
