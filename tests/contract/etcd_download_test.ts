/** The installation of an etcd release, with a real HTTP server, real disks and real processes. */
import { fileURLToPath } from "node:url";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { eventually, freePorts, temporaryDirectory } from "../support/fixtures.ts";
import { gzip, makeTar } from "../support/make_tar.ts";
import { etcdDir } from "../support/parts.ts";
import type { Logger } from "../../lib/ports.ts";
import { systemProviderPorts } from "../../lib/cli/etcd_provider.ts";
import { type EtcdPrograms, type EtcdRequest, findEtcd, installEtcd } from "../../lib/etcd/install/provider.ts";
import { ReleaseMirror } from "./release_mirror.ts";

const quiet = () => {};
const log: Logger = { debug: quiet, info: quiet, warn: quiet, error: quiet, with: () => log };
const ports = systemProviderPorts(log);
const program = fileURLToPath(new URL("./install_etcd.ts", import.meta.url));

function requestFor(cacheDir: string, mirror: ReleaseMirror, changes: Partial<EtcdRequest> = {}): EtcdRequest {
  return {
    version: "3.7.3",
    cacheDir,
    path: "",
    platform: { os: Deno.build.os, arch: Deno.build.arch },
    mirror: mirror.url,
    stallTimeoutMs: 20_000,
    triesMax: 2,
    ...changes,
  };
}

async function names(folder: string): Promise<string[]> {
  const found: string[] = [];
  for await (const { name } of Deno.readDir(folder)) found.push(name);
  return found.sort();
}

async function assertRuns({ etcd, etcdutl, etcdctl }: EtcdPrograms): Promise<void> {
  const { success } = await new Deno.Command(etcd, { args: ["--version"] }).output();
  assert(success);
  for (const path of [etcd, etcdctl, etcdutl]) {
    assertEquals((await Deno.stat(path!)).mode! & 0o777, 0o755 & ~Deno.umask());
  }
  for (const name of ["etcd", "etcdctl", "etcdutl"]) {
    const unpacked = await Deno.readFile(etcd.replace(/etcd$/, name));
    assert(unpacked.length === (await Deno.stat(`${etcdDir("3.7.3")}/${name}`)).size, name);
  }
}

interface Outcome {
  found?: EtcdPrograms;
  code?: string;
  message?: string;
}

/** The same in a separate process; `wrap` precedes its command line. */
function start(request: EtcdRequest, wrap: string[] = []): { child: Deno.ChildProcess; outcome: Promise<Outcome> } {
  const command = [...wrap, Deno.execPath(), "run", "--quiet", "-A", program, "install", JSON.stringify(request)];
  const child = new Deno.Command(command[0]!, { args: command.slice(1), stdout: "piped", stderr: "null" }).spawn();
  const outcome = child.output().then(({ stdout }) => {
    const line = new TextDecoder().decode(stdout).trim().split("\n").at(-1);
    return line ? JSON.parse(line) as Outcome : {};
  });
  return { child, outcome };
}

Deno.test("installEtcd() installs a complete, runnable release from a mirror, and downloads it once", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  await mirror.add("3.7.3");
  const request = requestFor(`${dir.path}/etcd`, mirror);
  const found = await installEtcd(request, ports);
  assertEquals([found.source, found.version], ["download", "3.7.3"]);
  await assertRuns(found);
  assertEquals(await names(`${dir.path}/etcd`), ["3.7.3"]);
  const requests = mirror.requests.length;
  assertEquals((await findEtcd(request, ports)).source, "cache");
  assertEquals(mirror.requests.length, requests);
});

Deno.test("installEtcd() continues after an interrupted and a stalled download, and requests only the remaining bytes", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  const path = await mirror.add("3.7.3");
  for (const kind of ["cut", "stall"] as const) {
    mirror.requests.length = 0;
    mirror.fault = { kind, afterBytes: 5_000_000, times: 1 };
    const stallTimeoutMs = kind === "stall" ? 1_000 : 20_000;
    await assertRuns(await installEtcd(requestFor(`${dir.path}/${kind}`, mirror, { stallTimeoutMs }), ports));
    const ranges = mirror.requests.filter((request) => request.path === path).map(({ range }) => range);
    // A loaded machine may stall once more; no byte is requested twice.
    assert(kind === "stall" ? ranges.length >= 2 : ranges.length === 2, `${kind}: ${ranges}`);
    for (const range of ranges.slice(1)) assert(Number(/^bytes=(\d+)-$/.exec(range!)![1]) >= 1_000_000, range!);
  }
});

Deno.test("installEtcd() fails for a mirror that stalls permanently, keeps the partial file, and the next run continues", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  await mirror.add("3.7.3");
  mirror.fault = { kind: "stall", afterBytes: 3_000_000, times: 1 };
  const request = requestFor(`${dir.path}/etcd`, mirror, { triesMax: 1, stallTimeoutMs: 1_000 });
  const error = await assertE2dError("download_stalled", () => installEtcd(request, ports));
  assert(error.message.includes(mirror.url) && error.hint!.includes("E2D_ETCD_MIRROR"), error.message);
  assertEquals((await names(`${dir.path}/etcd`)).map((name) => name.replace(/-linux-.*/, "")), [
    ".download-etcd-v3.7.3",
  ]);
  await assertRuns(await installEtcd({ ...request, stallTimeoutMs: 20_000 }, ports));
  assert(mirror.requests.at(-1)!.range !== null);
  assertEquals(await names(`${dir.path}/etcd`), ["3.7.3"]);
});

Deno.test("installEtcd() continues the download of a process that was killed with -9", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  await mirror.add("3.7.3");
  const cacheDir = `${dir.path}/etcd`;
  mirror.fault = { kind: "stall", afterBytes: 4_000_000, times: 1 };
  const { child, outcome } = start(requestFor(cacheDir, mirror, { stallTimeoutMs: 60_000 }));
  await eventually("some megabytes on the disk", async () => {
    const [folder] = (await names(cacheDir)).filter((name) => name.startsWith(".download"));
    return folder !== undefined && (await Deno.stat(`${cacheDir}/${folder}/archive`)).size > 3_000_000;
  });
  child.kill("SIGKILL");
  await outcome;
  await assertRuns(await installEtcd(requestFor(cacheDir, mirror), ports));
  assert(Number(/\d+/.exec(mirror.requests.at(-1)!.range!)![0]) > 3_000_000);
  assertEquals(await names(cacheDir), ["3.7.3"]);
});

Deno.test("installEtcd() leaves no entry after a wrong checksum, a missing or forbidden release, or a wrong list", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  await mirror.add("3.7.3");
  const cacheDir = `${dir.path}/etcd`;
  const request = requestFor(cacheDir, mirror);
  mirror.fault = { kind: "wrong-bytes", times: Infinity };
  await assertE2dError("checksum_mismatch", () => installEtcd(request, ports));
  mirror.fault = { kind: "status", status: 403, times: 1 };
  await assertE2dError("mirror_status", () => installEtcd(request, ports));
  mirror.fault = { kind: "status", status: 404, times: 1 };
  await assertE2dError("release_missing", () => installEtcd(request, ports));
  await assertE2dError("checksum_unknown", () => installEtcd({ ...request, version: "3.7.4" }, ports));
  // The official checksum of 3.6.14 is pinned: a mirror cannot serve another file under this name.
  await mirror.add("3.6.14");
  await assertE2dError("checksum_mismatch", () => installEtcd({ ...request, version: "3.6.14" }, ports));
  assertEquals(await names(cacheDir), []);
});

Deno.test("installEtcd() unpacks nothing from an archive with a path outside of its folder", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  const arch = Deno.build.arch === "aarch64" ? "arm64" : "amd64";
  const archive = await gzip(
    makeTar([{ name: "etcd-v3.7.9/etcd", data: "x" }, { name: "../../../escaped", data: "evil" }]),
  );
  await mirror.put("3.7.9", `etcd-v3.7.9-linux-${arch}.tar.gz`, archive);
  const cacheDir = `${dir.path}/a/b/etcd`;
  await assertE2dError("archive_unsafe", () => installEtcd(requestFor(cacheDir, mirror, { version: "3.7.9" }), ports));
  assertEquals(await names(cacheDir), []);
  assertEquals(await names(dir.path), ["a"]);
});

Deno.test("installEtcd() refuses a release whose program reports another version", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  await mirror.add("3.6.14", { as: "3.7.4" });
  const request = requestFor(`${dir.path}/etcd`, mirror, { version: "3.7.4" });
  await assertE2dError("etcd_version_differs", () => installEtcd(request, ports));
  assertEquals(await names(`${dir.path}/etcd`), []);
});

Deno.test("installEtcd() reports a mirror that does not answer", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  const request = requestFor(`${dir.path}/etcd`, mirror, { mirror: `http://127.0.0.1:${freePorts(1)[0]}` });
  await assertE2dError("checksum_unknown", () => installEtcd(request, ports));
  const error = await assertE2dError("mirror_unreachable", () => installEtcd({ ...request, version: "3.6.14" }, ports));
  assert(error.hint!.includes("--etcd-dir"), error.hint);
});

Deno.test("installEtcd() in two processes at once succeeds in both and leaves one entry", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  await mirror.add("3.7.3");
  const request = requestFor(`${dir.path}/etcd`, mirror);
  const outcomes = await Promise.all([start(request), start(request)].map(({ outcome }) => outcome));
  for (const { found } of outcomes) await assertRuns(found!);
  assertEquals(await names(`${dir.path}/etcd`), ["3.7.3"]);
});

Deno.test("installEtcd() on a full disk fails with a hint and removes the partial file", async () => {
  await using dir = await temporaryDirectory();
  await using mirror = new ReleaseMirror();
  const path = await mirror.add("3.7.3");
  const archiveBytes = mirror.files.get(path)!.length;
  // Too small for the archive; then large enough for it, but not for the programs in it.
  for (const sizeBytes of [8_000_000, archiveBytes + 20_000_000]) {
    const mount = `${dir.path}/disk-${sizeBytes}`;
    await Deno.mkdir(mount);
    // A separate file system in a separate mount namespace: it ends with the process and needs no root.
    const space = Deno.uid() === 0 ? ["unshare", "-m"] : ["unshare", "-rm"];
    const list = `${dir.path}/left-${sizeBytes}`;
    const shell = `mount -t tmpfs -o size=${sizeBytes} none ${mount} && "$@"; find ${mount} -type f > ${list}`;
    const { outcome } = start(requestFor(`${mount}/etcd`, mirror), [...space, "sh", "-c", shell, "sh"]);
    const { code, message } = await outcome;
    assertEquals(code, "disk_full", message);
    assert(message!.includes("free space"), message);
    assertEquals(await Deno.readTextFile(list), "");
  }
});
