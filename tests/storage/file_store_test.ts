import { FileStore } from "../../lib/storage/file_store.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { streamOf, testStore } from "./contract.ts";

const ports = { files: systemFiles, staging: systemStaging, token: () => crypto.randomUUID().slice(0, 8) };

testStore("file store", async (use) => {
  await using dir = await temporaryDirectory();
  await use(new FileStore(dir.path, ports), "");
});

Deno.test('FileStore: a missing folder is an unmounted disk, never "no snapshot"', async () => {
  await using dir = await temporaryDirectory();
  const store = new FileStore(`${dir.path}/mnt`, ports);
  for (
    const act of [
      () => store.info("etcd.snapshot"),
      () => store.read("etcd.snapshot"),
      () => store.list(""),
      () => store.write("etcd.snapshot", streamOf(new Uint8Array(1))),
    ]
  ) await assertE2dError("store_missing", act);
  assertEquals(await systemFiles.list(`${dir.path}/mnt`), undefined);
});

Deno.test("FileStore: interrupted writes are removed after a while, and nothing else", async () => {
  await using dir = await temporaryDirectory();
  const store = new FileStore(dir.path, ports);
  await Deno.mkdir(`${dir.path}/db.history`);
  const cut = ["db.e2d-part-0a1b2c3d", "db.history/20260101T000000Z-5.e2d-part-00000000"];
  const others = ["db", "db.e2d-part-of an operator", "db.history/20260101T000000Z-5", "other.e2d-part-0a1b2c3d"];
  for (const name of [...cut, ...others]) await Deno.writeTextFile(`${dir.path}/${name}`, "x");
  for (const name of [...cut, ...others]) await Deno.utime(`${dir.path}/${name}`, new Date(0), new Date(10_000));
  const remove = async (beforeMs: number) => [
    await store.removeCutWrites("db", beforeMs),
    await store.removeCutWrites("db.history/", beforeMs),
  ];
  // One that is as young as this may be under way.
  assertEquals(await remove(10_000), [0, 0]);
  assertEquals(await remove(10_001), [1, 1]);
  const left = [...await systemFiles.list(dir.path) ?? [], ...await systemFiles.list(`${dir.path}/db.history`) ?? []];
  assertEquals(
    left.sort(),
    ["20260101T000000Z-5", "db", "db.e2d-part-of an operator", "db.history", others[3]!].sort(),
  );
});

Deno.test("FileStore: a key cannot lead out of its folder, and no link in it is followed", async () => {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/store`);
  await Deno.writeTextFile(`${dir.path}/victim`, "precious");
  const store = new FileStore(`${dir.path}/store`, ports);
  for (const key of ["../victim", "/victim", "a/../../victim", ".", "..", "", "a\0b", "a\nb", "\ud800"]) {
    for (
      const act of [
        () => store.write(key, streamOf(new Uint8Array(1))),
        () => store.read(key),
        () => store.info(key),
        () => store.remove(key),
      ]
    ) await assertE2dError("store_broken", act);
  }
  await assertE2dError("store_broken", () => store.list("../"));
  await Deno.symlink(`${dir.path}/victim`, `${dir.path}/store/etcd.snapshot`);
  await assertE2dError("store_broken", () => store.read("etcd.snapshot"));
  assertEquals(await store.list(""), []);
  await store.write("etcd.snapshot", streamOf(new Uint8Array(1)));
  await store.remove("etcd.snapshot");
  assertEquals(await Deno.readTextFile(`${dir.path}/victim`), "precious");
  assertEquals(await systemFiles.list(`${dir.path}/store`), []);
});
