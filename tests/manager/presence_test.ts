import { watchDataDir } from "../../lib/manager/data_dir/presence.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import type { Clock, FileInfo } from "../../lib/ports.ts";
import { assertEquals } from "../support/assert.ts";

type Seen = Pick<FileInfo, "identity"> | "absent" | "unreadable";

/** Looks at what is named, one after another, each beside the etcd of that pid; what was reported. */
async function reported(...looks: [seen: Seen, pid?: number][]): Promise<string[]> {
  const closing = new AbortController();
  const found: string[] = [];
  let at = -1;
  await watchDataDir({
    dataDir: "/d",
    files: {
      info() {
        const [seen] = looks[at]!;
        if (seen === "unreadable") return Promise.reject(new Error("permission denied"));
        return Promise.resolve(seen === "absent" ? undefined : seen as FileInfo);
      },
    },
    clock: {
      sleep() {
        if (++at === looks.length) closing.abort();
        return Promise.resolve();
      },
    } as unknown as Clock,
    log: { debug() {} },
    signal: closing.signal,
    etcdPid: () => {
      const [, pid = 1] = looks[at]!;
      return pid === 0 ? undefined : pid;
    },
    deliver: (event) => found.push(event.found),
  });
  return found;
}

const [one, two] = [{ identity: "1:1" }, { identity: "1:2" }];

Deno.test("watchDataDir() reports a removed or replaced data-dir of the running etcd", async () => {
  assertEquals(await reported([one], [one], ["absent"], [two], [one]), ["there", "absent", "replaced", "there"]);
  // Not to be looked at is not absent, and a folder that etcd has not made yet is not lost.
  assertEquals(await reported(["absent"], ["absent"], [one], ["unreadable"], [one]), ["there"]);
  // The next etcd runs on another folder by right; without an etcd nothing is looked at.
  assertEquals(await reported([one], [two, 2], [two, 2], ["absent", 0], ["absent", 3]), ["there"]);
});

Deno.test("a folder that is created again at the same path has another identity", async () => {
  const folder = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${folder}/member`);
    const before = (await systemFiles.info(`${folder}/member`))?.identity;
    await Deno.rename(`${folder}/member`, `${folder}/kept`);
    await Deno.mkdir(`${folder}/member`);
    const after = (await systemFiles.info(`${folder}/member`))?.identity;
    assertEquals([typeof before, before === after], ["string", false]);
    assertEquals((await systemFiles.info(`${folder}/kept`))?.identity, before);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
