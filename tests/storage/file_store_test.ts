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

Deno.test("FileStore: a folder that is not there is an unmounted disk, never «no snapshot»", async () => {
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
