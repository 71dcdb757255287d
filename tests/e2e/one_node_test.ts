/** One node on a real etcd: start, stop, kill, orphaned etcd, unusable data-dirs and invalid flags. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { e2d, NodeProcess, runs } from "./node_process.ts";

const text = (value: Uint8Array | undefined) => value && new TextDecoder().decode(value);

async function value(node: NodeProcess, key: string): Promise<string | undefined> {
  return text((await (await node.client()).get(key))?.value);
}

async function gone(pid: number, timeoutMs = 20_000): Promise<void> {
  const endMs = performance.now() + timeoutMs;
  while (await runs(pid)) {
    assert(performance.now() < endMs, `process ${pid} still runs`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Every file below a folder with the checksum of its content, to show that no file changed. */
async function contents(folder: string): Promise<string> {
  const { stdout } = await new Deno.Command("sh", {
    args: ["-c", 'find "$1" -type f -exec sha256sum {} + | sort', "sh", folder],
  }).output();
  return new TextDecoder().decode(stdout);
}

Deno.test("e2d run bootstraps a cluster, exits with 0 on SIGTERM, and restarts from its data under the recorded name", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  let host: string;
  let etcd: number;
  {
    await using node = new NodeProcess({ dataDir, args: ["--name=first"] });
    host = node.host;
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    etcd = await node.etcdPid();
    assertEquals(await node.stop(), 0);
    await gone(etcd, 1_000);
  }
  await using again = new NodeProcess({ dataDir, host, args: ["--name=second"] });
  await again.healthy();
  assertEquals(await value(again, "kept"), "yes");
  const members = await (await again.client()).memberList(again.clientUrl);
  assertEquals(members.map(({ name }) => name), ["first"]);
  await again.logged(({ configured, kept }) => configured === "second" && kept === "first");
});

Deno.test("kill -9 of e2d ends its etcd too, and the next start serves the data", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  let host: string;
  {
    await using node = new NodeProcess({ dataDir });
    host = node.host;
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    const etcd = await node.etcdPid();
    node.kill("SIGKILL");
    await node.exit();
    await gone(etcd);
  }
  await using again = new NodeProcess({ dataDir, host });
  await again.healthy();
  assertEquals(await value(again, "kept"), "yes");
});

Deno.test("without setpriv the next start finds the orphaned etcd and stops it first", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  // A PATH with every program that e2d needs except setpriv.
  const bin = `${dir.path}/bin`;
  await Deno.mkdir(bin);
  for (const program of ["cat"]) await Deno.symlink(await which(program), `${bin}/${program}`);
  let host: string;
  let etcd: number;
  {
    await using node = new NodeProcess({ dataDir, environment: { PATH: bin } });
    host = node.host;
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    etcd = await node.etcdPid();
    await node.eventually("noted", async () => {
      assert((await Deno.readTextFile(`${dataDir}.e2d.lock`)).includes(`"pid":${etcd}`));
    });
    node.kill("SIGKILL");
    await node.exit();
  }
  assert(await runs(etcd), "the etcd ended with e2d: this test needs an orphan");
  await using again = new NodeProcess({ dataDir, host, environment: { PATH: bin } });
  await again.logged(({ message, pid }) => message.includes("left behind") && pid === etcd);
  await again.logged(({ message, pid }) => message === "the orphaned etcd has exited" && pid === etcd);
  assert(!await runs(etcd));
  await again.healthy();
  assertEquals(await value(again, "kept"), "yes");
});

async function which(program: string): Promise<string> {
  const { stdout } = await new Deno.Command("sh", { args: ["-c", `command -v ${program}`] }).output();
  return new TextDecoder().decode(stdout).trim();
}

Deno.test("e2d restarts an etcd that was killed with -9, on its data", async () => {
  await using dir = await temporaryDirectory();
  await using node = new NodeProcess({ dataDir: `${dir.path}/data` });
  await node.healthy();
  await (await node.client()).put("kept", "yes");
  const first = await node.etcdPid();
  Deno.kill(first, "SIGKILL");
  await node.logged(({ message }) => message === "etcd exited unexpectedly");
  await node.eventually("restarted", async () => {
    const pid = await node.etcdPid();
    assert(pid > 0 && pid !== first);
  });
  await node.healthy();
  assertEquals(await value(node, "kept"), "yes");
});

Deno.test("a second signal kills an etcd that does not stop", async () => {
  await using dir = await temporaryDirectory();
  await using node = new NodeProcess({ dataDir: `${dir.path}/data` });
  await node.healthy();
  const etcd = await node.etcdPid();
  Deno.kill(etcd, "SIGSTOP");
  node.kill("SIGTERM");
  await node.logged(({ message }) => message === "stopping etcd");
  assert(await runs(etcd));
  node.kill("SIGTERM");
  assertEquals(await node.exit(), 0);
  assert(!await runs(etcd));
});

Deno.test("a second e2d on one data-dir is refused, and the first one keeps serving", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  await using node = new NodeProcess({ dataDir });
  await node.healthy();
  await using second = new NodeProcess({ dataDir });
  assertEquals(await second.exit(), 1);
  const refusal = await second.logged(({ code }) => code === "data_dir_in_use");
  assert(String(refusal.error).includes(dataDir));
  await node.healthy();
});

Deno.test("a busy port is reported before any file is written", async () => {
  await using dir = await temporaryDirectory();
  await using first = new NodeProcess({ dataDir: `${dir.path}/one` });
  await first.healthy();
  await using second = new NodeProcess({ dataDir: `${dir.path}/two`, host: first.host });
  assertEquals(await second.exit(), 1);
  const refusal = await second.logged(({ code }) => code === "address_unusable");
  assert(String(refusal.error).includes(`${first.host}:2380`));
  assert(String(refusal.error).includes("--peer-addr"));
  assertEquals(await contents(`${dir.path}/two`), "");
});

Deno.test("a damaged data-dir is reported and not changed", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  {
    await using node = new NodeProcess({ dataDir });
    await node.healthy();
  }
  await Deno.truncate(`${dataDir}/member/snap/db`, 5_000);
  const before = await contents(dataDir);
  await using node = new NodeProcess({ dataDir });
  assertEquals(await node.exit(), 1);
  await node.logged(({ reason }) => reason === "data_damaged");
  assertEquals(await contents(dataDir), before);
});

Deno.test("an unreadable data-dir does not count as empty", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  await Deno.symlink(`${dir.path}/a-disk-that-is-not-mounted`, dataDir);
  await using node = new NodeProcess({ dataDir });
  assertEquals(await node.exit(), 1);
  await node.logged(({ reason }) => reason === "data_unreadable");
  assertEquals(await Deno.lstat(`${dir.path}/a-disk-that-is-not-mounted`).catch(() => "nothing"), "nothing");
});

Deno.test("a full disk is reported, and the node starts etcd again when space is free", async () => {
  await using dir = await temporaryDirectory();
  const disk = `${dir.path}/disk`;
  await Deno.mkdir(disk);
  // etcd's first log file alone takes 64 MB.
  await sh(`mount -t tmpfs -o size=20m tmpfs "${disk}"`);
  try {
    await using node = new NodeProcess({ dataDir: `${disk}/data` });
    const problem = await node.logged(({ reason }) => reason === "etcd_dies");
    assert(problem.level === "error" && String(problem.hint).startsWith("free space"), JSON.stringify(problem));
    await sh(`mount -o remount,size=400m "${disk}"`);
    await node.healthy();
  } finally {
    await sh(`umount -l "${disk}"`);
  }
});

async function sh(script: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("sh", { args: ["-c", script] }).output();
  if (!success) throw new Error(`${script}: ${new TextDecoder().decode(stderr)}`);
}

Deno.test("invalid flags are all reported at once, with exit status 2 and no file on disk", async () => {
  await using dir = await temporaryDirectory();
  const { code, stderr } = await e2d(["run", "--data-dri=x", "-n=4", "--health-check-timeout=5"], { cwd: dir.path });
  assertEquals(code, 2);
  assert(stderr.includes("did you mean --data-dir?"), stderr);
  assert(stderr.includes('-n "4": allowed: 1, 3, 5 or 7'), stderr);
  assert(stderr.includes('--health-check-timeout "5": allowed: a duration'), stderr);
  assertEquals(await contents(dir.path), "");
});

Deno.test("e2d version prints the original's JSON", async () => {
  const { code, stdout } = await e2d(["version"]);
  assertEquals(code, 0);
  const { etcd, e2d: own } = JSON.parse(stdout);
  assertEquals([etcd.Version, own.Version], ["3.6.14", "1.0.0"]);
});
