import { DryFiles } from "../../lib/cli/dry_files.ts";
import { assertE2dError, assertEquals } from "../support/assert.ts";
import { MemoryFiles } from "../pki/support.ts";

Deno.test("DryFiles returns written, renamed and removed files without changing the disk", async () => {
  const disk = new MemoryFiles();
  await disk.writeAtomic("/a/one", "1", { mode: 0o600 });
  await disk.writeAtomic("/a/two", "2");
  const before = structuredClone(disk.files);
  const dry = new DryFiles(disk);
  await dry.writeAtomic("/a/one", "one");
  await dry.writeNew("/a/three", "3", { mode: 0o640 });
  await dry.rename("/a/two", "/a/four");
  await dry.makeDirectory("/b");
  await dry.writeNew("/b/deep", "d");
  assertEquals(await dry.list("/a"), ["four", "one", "three"]);
  assertEquals(await dry.list("/b"), ["deep"]);
  assertEquals([await dry.readText("/a/one"), await dry.readText("/a/two"), await dry.readText("/a/four")], [
    "one",
    undefined,
    "2",
  ]);
  assertEquals([(await dry.info("/a/three"))?.mode, await dry.info("/a/two")], [0o640, undefined]);
  assertEquals((await dry.info("/b"))?.kind, "directory");
  await dry.remove("/a/three");
  assertEquals(await dry.info("/a/three"), undefined);
  assertEquals(disk.files, before);
});

Deno.test("DryFiles fails where the disk would fail", async () => {
  const disk = new MemoryFiles();
  await disk.writeAtomic("/a", "1");
  const dry = new DryFiles(disk);
  await assertE2dError("file_exists", () => dry.writeNew("/a", "2"));
  await dry.writeNew("/b", "2");
  await assertE2dError("file_exists", () => dry.writeNew("/b", "3"));
  await assertE2dError("file_exists", () => dry.rename("/a", "/b"));
  await assertE2dError("file_write", () => dry.rename("/gone", "/c"));
});
