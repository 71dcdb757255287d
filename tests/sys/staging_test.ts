import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { systemStaging } from "../../lib/sys/staging.ts";

Deno.test("systemStaging.moveFolder() never replaces a folder, and distinguishes taken from gone", async () => {
  await using dir = await temporaryDirectory();
  for (const name of ["a", "b"]) {
    await Deno.mkdir(`${dir.path}/${name}`);
    await Deno.writeTextFile(`${dir.path}/${name}/file`, name);
  }
  assertEquals(await systemStaging.moveFolder(`${dir.path}/a`, `${dir.path}/c`), "moved");
  assertEquals(await systemStaging.moveFolder(`${dir.path}/b`, `${dir.path}/c`), "taken");
  assertEquals(await systemStaging.moveFolder(`${dir.path}/a`, `${dir.path}/d`), "gone");
  assertEquals(await Deno.readTextFile(`${dir.path}/c/file`), "a");
});

Deno.test("systemStaging.append() continues at the end of a file, and empties it", async () => {
  await using dir = await temporaryDirectory();
  const path = `${dir.path}/file`;
  for (const [text, size] of [["one", 3], ["two", 6]] as const) {
    const file = await systemStaging.append(path, { mode: 0o600 });
    await file.append(new TextEncoder().encode(text));
    await file.sync();
    assertEquals(file.size, size);
    file.close();
    file.close();
  }
  assertEquals(await new Response((await systemStaging.read(path))!).text(), "onetwo");
  assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
  const file = await systemStaging.append(path);
  await file.empty();
  await file.append(new Uint8Array(2));
  file.close();
  assertEquals((await Deno.stat(path)).size, 2);
});

Deno.test("systemStaging distinguishes absent from unreadable", async () => {
  await using dir = await temporaryDirectory();
  assertEquals(await systemStaging.read(`${dir.path}/none`), undefined);
  await systemStaging.remove(`${dir.path}/none`);
  await assertE2dError("file_write", () => systemStaging.append(`${dir.path}/none/file`));
});

Deno.test("systemStaging.append() reports a full disk", async () => {
  // Every write to this device fails as on a full disk.
  const file = await systemStaging.append("/dev/full");
  try {
    const error = await assertE2dError("disk_full", () => file.append(new Uint8Array(1)));
    assert(error.message.includes('"/dev/full"') && error.hint !== undefined);
  } finally {
    file.close();
  }
});

Deno.test("systemStaging.ownerRuns() recognizes running processes, and no earlier process with the same pid", async () => {
  assert(await systemStaging.ownerRuns(systemStaging.owner));
  assertEquals(await systemStaging.ownerRuns(`${Deno.pid}-before`), false);
  assertEquals(await systemStaging.ownerRuns("nobody"), false);
  const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
  assert(await systemStaging.ownerRuns(`${child.pid}-other`));
  child.kill("SIGKILL");
  await child.status;
  assertEquals(await systemStaging.ownerRuns(`${child.pid}-other`), false);
});
