/** Folders for plain databases: whose they are, and what is left of a process that was killed. */
import type { FileInfo, Locks } from "../../lib/ports.ts";
import { openProcessFolder, requireWorkFolder, sweepWorkFolder } from "../../lib/snapshot/work_folder.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { systemLocks } from "../../lib/sys/lock.ts";
import { systemStaging } from "../../lib/sys/staging.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";

const ports = { files: systemFiles, staging: systemStaging };

/** The disk, with a few things on it that only another user could have made. */
const seenAs = (path: string, change: Partial<FileInfo>) => ({
  ...ports,
  files: {
    ...systemFiles,
    info: async (name: string, options?: { followLinks?: boolean }) => {
      const info = await systemFiles.info(name, options);
      return info && name === path ? { ...info, ...change } : info;
    },
  },
});

Deno.test("requireWorkFolder() creates a folder for this user only, and uses it again", async () => {
  await using dir = await temporaryDirectory();
  const path = `${dir.path}/work`;
  for (let times = 0; times < 2; times++) {
    await requireWorkFolder(path, ports);
    assertEquals((await systemFiles.info(path))!.mode, 0o700);
  }
});

Deno.test("requireWorkFolder() refuses a folder of another user, and leaves it unchanged", async () => {
  await using dir = await temporaryDirectory();
  const path = `${dir.path}/work`;
  const refused = async (given = ports) =>
    await assertE2dError("work_folder_unsafe", () => requireWorkFolder(path, given));
  await Deno.mkdir(`${dir.path}/elsewhere`, { mode: 0o700 });
  await Deno.symlink(`${dir.path}/elsewhere`, path);
  assert((await refused()).message.includes("symbolic link"));
  await Deno.remove(path);
  // A link that leads nowhere, too.
  await Deno.symlink(`${dir.path}/nowhere`, path);
  await refused();
  await Deno.remove(path);
  await Deno.writeTextFile(path, "x");
  await refused();
  await Deno.remove(path);
  await Deno.mkdir(path);
  await Deno.chmod(path, 0o750);
  await refused();
  await Deno.chmod(path, 0o700);
  await refused(seenAs(path, { owner: "other" }));
  await requireWorkFolder(path, ports);
});

Deno.test("requireWorkFolder() refuses a parent in which others can rename the folder, unless it is sticky", async () => {
  await using dir = await temporaryDirectory();
  const path = `${dir.path}/work`;
  for (const mode of [0o777, 0o770, 0o720]) {
    await Deno.chmod(dir.path, mode);
    await assertE2dError("work_folder_unsafe", () => requireWorkFolder(path, seenAs(dir.path, { ownGroup: false })));
    assertEquals(await systemFiles.info(path), undefined);
  }
  await Deno.chmod(dir.path, 0o777);
  await assertE2dError("work_folder_unsafe", () => requireWorkFolder(path, ports));
  await Deno.chmod(dir.path, 0o1777);
  await requireWorkFolder(path, seenAs(dir.path, { ownGroup: false }));
});

Deno.test("requireWorkFolder() accepts a volume that its own group may write to (fsGroup of Kubernetes)", async () => {
  await using dir = await temporaryDirectory();
  const path = `${dir.path}/work`;
  await Deno.chmod(dir.path, 0o2775);
  await requireWorkFolder(path, seenAs(dir.path, { owner: "root", ownGroup: true }));
  assertEquals((await systemFiles.info(path))!.mode & 0o777, 0o700);
  await requireWorkFolder(path, ports);
});

Deno.test("sweepWorkFolder() removes all but the kept files, and nothing in a folder of another user", async () => {
  await using dir = await temporaryDirectory();
  const path = `${dir.path}/work`;
  const log = new TestLog();
  await sweepWorkFolder(path, () => false, { ...ports, log });
  await Deno.mkdir(path);
  await Deno.chmod(path, 0o700);
  for (const name of ["a.db", "a.db.part", "b.db", "spool.db"]) await Deno.writeTextFile(`${path}/${name}`, "keys");
  await Deno.mkdir(`${path}/copy`);
  await sweepWorkFolder(path, () => false, { ...seenAs(path, { owner: "other" }), log });
  assertEquals(log.lines.map(({ level }) => level), ["warn"]);
  assertEquals((await systemFiles.list(path))!.length, 5);
  await sweepWorkFolder(path, (name) => name === "b.db", { ...ports, log });
  assertEquals(await systemFiles.list(path), ["b.db"]);
});

/** Locks of processes that run beside this one. */
const heldBy = (...folders: string[]): Locks => ({
  take: (path, waitMs) =>
    folders.some((folder) => path.startsWith(`${folder}/`))
      ? Promise.resolve(undefined)
      : systemLocks.take(path, waitMs),
});

Deno.test("openProcessFolder() removes folders of killed processes, and none in use", async () => {
  await using dir = await temporaryDirectory();
  const [dead, live] = [`${dir.path}/.e2d-work-77-00000000`, `${dir.path}/.e2d-work-78-00000000`];
  const other = `${dir.path}/e2d-work of an operator`;
  for (const path of [dead, live, other]) {
    await Deno.mkdir(path);
    await Deno.chmod(path, 0o700);
    await Deno.writeTextFile(`${path}/snapshot.db`, "keys");
  }
  const folder = await openProcessFolder(dir.path, { ...ports, locks: heldBy(live) });
  assertEquals(await systemFiles.info(dead), undefined);
  assert(await systemFiles.info(`${live}/snapshot.db`) !== undefined);
  assert(await systemFiles.info(`${other}/snapshot.db`) !== undefined);
  assertEquals((await systemFiles.info(folder.path))!.mode, 0o700);
  await Deno.writeTextFile(`${folder.path}/snapshot.db`, "keys");
  await folder.close();
  assertEquals(await systemFiles.info(folder.path), undefined);
});

Deno.test("openProcessFolder() leaves nothing if another process removed its folder before it was locked", async () => {
  await using dir = await temporaryDirectory();
  await assertE2dError(
    "work_folder_unsafe",
    () => openProcessFolder(dir.path, { ...ports, locks: heldBy(`${dir.path}/.e2d-work-${systemStaging.owner}`) }),
  );
  assertEquals(await systemFiles.list(dir.path), []);
});
