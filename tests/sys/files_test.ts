import { systemFiles } from "../../lib/sys/files.ts";
import { assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";

const owner = async (path: string) => {
  const { uid, gid, mode } = await Deno.stat(path);
  return [uid, gid, mode! & 0o777];
};

Deno.test("systemFiles: a file that root writes gets the owner of the replaced file or of its folder", async () => {
  await using dir = await temporaryDirectory();
  // Only root can change owners.
  const root = Deno.uid() === 0;
  const [uid, gid] = [Deno.uid()!, Deno.gid()!];
  const [theirs, others] = root ? [[4_321, 4_322], [4_323, 4_324]] : [[uid, gid], [uid, gid]];
  await Deno.chown(dir.path, theirs![0]!, theirs![1]!);
  const key = `${dir.path}/peer.key`;
  await systemFiles.writeNew(key, "1", { mode: 0o600 });
  assertEquals(await owner(key), [...theirs!, 0o600]);
  await Deno.chown(key, others![0]!, others![1]!);
  await systemFiles.writeAtomic(key, "2", { mode: 0o600 });
  assertEquals(await owner(key), [...others!, 0o600]);
  await systemFiles.writeAtomic(`${dir.path}/fresh`, "3", { mode: 0o640 });
  assertEquals(await owner(`${dir.path}/fresh`), [...theirs!, 0o640 & ~Deno.umask()]);
  await Deno.chown(dir.path, uid, gid);
});
