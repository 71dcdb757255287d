import { assertEquals } from "../support/assert.ts";
import { claimWorkspace } from "../../lib/etcd/install/workspace.ts";
import { MemoryDisk } from "./memory_disk.ts";

const name = ".download-a.tar.gz";
const claim = (disk: MemoryDisk) => claimWorkspace("/cache", name, { files: disk, staging: disk });
const folders = (disk: MemoryDisk) => disk.paths().filter((path) => disk.nodes.get(path)!.kind === "directory");

Deno.test("claimWorkspace() gives an earlier folder to exactly one process", async () => {
  const disk = new MemoryDisk();
  const first = await claim(disk);
  disk.put(`${first.path}/archive`, "half");
  await first.leave();
  assertEquals(await disk.readText(`/cache/${name}/archive`), "half");
  const [a, b] = [await claim(disk), await claim(disk)];
  assertEquals(await disk.readText(`${a.path}/archive`), "half");
  assertEquals(await disk.readText(`${b.path}/archive`), undefined);
});

Deno.test("claimWorkspace() takes over the folder of a dead process, not that of a running one", async () => {
  const disk = new MemoryDisk();
  disk.put(`/cache/${name}.7-alive.1/archive`, "alive");
  disk.put(`/cache/${name}.8-dead.1/archive`, "dead");
  disk.put(`/cache/${name}.9-dead.1/archive`, "dead too");
  disk.put(`/cache/${name}.sum/archive`, "not a workspace");
  disk.running.add("7-alive");
  const { path } = await claim(disk);
  assertEquals(await disk.readText(`${path}/archive`), "dead");
  assertEquals(folders(disk), ["/cache", path, `/cache/${name}.7-alive.1`, `/cache/${name}.sum`].sort());
});

Deno.test("leave() keeps one folder when two processes stop at the same archive", async () => {
  const disk = new MemoryDisk();
  const [a, b] = [await claim(disk), await claim(disk)];
  disk.put(`${a.path}/archive`, "a");
  disk.put(`${b.path}/archive`, "b");
  await a.leave();
  await b.leave();
  assertEquals(folders(disk), ["/cache", `/cache/${name}`]);
  assertEquals(await disk.readText(`/cache/${name}/archive`), "a");
});
