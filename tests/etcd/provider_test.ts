import { createHash } from "node:crypto";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { gzip, makeTar, type TarMember } from "../support/make_tar.ts";
import { E2dError } from "../../lib/errors.ts";
import type { Clock, Http, LogFields, Logger, Process, Processes } from "../../lib/ports.ts";
import {
  type EtcdRequest,
  findEtcd,
  installEtcd,
  listEtcd,
  type ProviderPorts,
} from "../../lib/etcd/install/provider.ts";
import { MemoryDisk } from "./memory_disk.ts";

const cache = "/home/u/.cache/e2d/etcd";
const shared = "/usr/local/lib/e2d/etcd";
const mirror = "http://127.0.0.1/etcd";

/** A "program" on the memory disk is the text that it prints for --version. */
const etcd = (version: string) => `etcd Version: ${version}\nGit SHA: x\n`;
const packed = (text: string) => gzip(new TextEncoder().encode(text));
const sha256 = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");

class World {
  readonly disk = new MemoryDisk();
  readonly started: string[] = [];
  readonly warnings: string[] = [];
  readonly served = new Map<string, Uint8Array<ArrayBuffer> | string>();
  readonly requests: string[] = [];

  readonly ports: ProviderPorts = {
    files: this.disk,
    staging: this.disk,
    clock: {
      wallMs: () => 0,
      monotonicMs: () => 0,
      sleep: (ms: number, signal?: AbortSignal) =>
        ms < 10_000
          ? Promise.resolve()
          : new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason))),
    } satisfies Clock,
    http: ((url: string | URL) => {
      this.requests.push(String(url));
      const body = this.served.get(String(url));
      return Promise.resolve(body === undefined ? new Response(null, { status: 404 }) : new Response(body));
    }) as Http,
    processes: { start: (program: string) => this.#start(program) } as unknown as Processes,
    log: this.#logger(),
  };

  readonly request: EtcdRequest = {
    cacheDir: cache,
    sharedDir: shared,
    path: "/usr/bin:/bin",
    platform: { os: "linux", arch: "x86_64" },
    mirror,
  };

  async #start(program: string): Promise<Process> {
    this.started.push(program);
    const output = await this.disk.readText(program) ?? "";
    if (output === "exec format") {
      throw new E2dError("process_start", "x", { cause: new Error("Exec format error (os error 8)") });
    }
    return {
      pid: 2,
      stdout: new Blob([output]).stream(),
      stderr: new Blob([]).stream(),
      exited: Promise.resolve({ code: 0, signal: undefined }),
      kill: () => {},
    };
  }

  #logger(): Logger {
    const quiet = () => {};
    const warn = (message: string, _fields?: LogFields) => this.warnings.push(message);
    const logger: Logger = { debug: quiet, info: quiet, warn, error: warn, with: () => logger };
    return logger;
  }

  /** Serves a release that is not pinned, with its checksum list. */
  async release(version: string, members: TarMember[], listed = true): Promise<string> {
    const name = `etcd-v${version}-linux-amd64.tar.gz`;
    const data = await gzip(makeTar(members));
    this.served.set(`${mirror}/v${version}/${name}`, data);
    if (listed) this.served.set(`${mirror}/v${version}/SHA256SUMS`, `${sha256(data)}  ${name}\n`);
    return name;
  }

  /** Names in the cache folder. */
  async cached(): Promise<string[]> {
    return await this.disk.list(cache) ?? [];
  }
}

const members = (version: string): TarMember[] => [
  { name: `etcd-v${version}-linux-amd64/`, type: "5" },
  { name: `etcd-v${version}-linux-amd64/README.md`, data: "read" },
  { name: `etcd-v${version}-linux-amd64/etcd`, data: etcd(version) },
  { name: `etcd-v${version}-linux-amd64/etcdctl`, data: "ctl" },
  { name: `etcd-v${version}-linux-amd64/etcdutl`, data: "utl" },
  { name: `etcd-v${version}-linux-amd64/Documentation/etcd`, data: "a text of this name" },
];

Deno.test("findEtcd() uses only etcd-dir when it is set, and reports what is wrong with it", async () => {
  const world = new World();
  world.disk.put(`${cache}/3.6.14/etcd`, etcd("3.6.14"));
  world.disk.put("/opt/etcd/etcd", etcd("3.5.33"));
  world.disk.put("/opt/etcd/etcdctl", "ctl");
  assertEquals(await findEtcd({ ...world.request, etcdDir: "/opt/etcd" }, world.ports), {
    etcd: "/opt/etcd/etcd",
    etcdctl: "/opt/etcd/etcdctl",
    version: "3.5.33",
    source: "etcd-dir",
  });
  const find = (etcdDir: string, version?: string) =>
    findEtcd({ ...world.request, etcdDir, ...(version && { version }) }, world.ports);
  const nowhere = await assertE2dError("etcd_dir_empty", () => find("/nowhere"));
  assertEquals(nowhere.message, 'Cannot use etcd folder "/nowhere": it does not exist');
  await assertE2dError("etcd_version_differs", () => find("/opt/etcd", "3.6.14"));
  world.disk.put("/plain/etcd", etcd("3.6.14"), 0o644);
  await assertE2dError("etcd_dir_empty", () => find("/plain"));
  world.disk.put("/arm/etcd", "exec format");
  const arm = await assertE2dError("etcd_not_runnable", () => find("/arm"));
  assert(arm.message.includes("another platform"), arm.message);
  world.disk.put("/other/etcd", "curl 8\n");
  await assertE2dError("etcd_not_etcd", () => find("/other"));
  world.disk.put("/old/etcd", etcd("3.3.27"));
  await assertE2dError("etcd_version_unsupported", () => find("/old"));
});

Deno.test("findEtcd() searches the executable, the user's cache, the shared folder and PATH, in this order", async () => {
  const world = new World();
  const find = async (request: Partial<EtcdRequest> = {}) => {
    const { etcd, source, version } = await findEtcd({ ...world.request, ...request }, world.ports);
    return [source, version, etcd];
  };
  world.disk.put("/bin/etcd", etcd("3.4.23"));
  assertEquals(await find(), ["path", "3.4.23", "/bin/etcd"]);
  world.disk.put(`${shared}/3.5.33/etcd`, etcd("3.5.33"));
  assertEquals(await find(), ["installed", "3.5.33", `${shared}/3.5.33/etcd`]);
  world.disk.put(`${cache}/3.7.3/etcd`, etcd("3.7.3"));
  assertEquals(await find(), ["cache", "3.7.3", `${cache}/3.7.3/etcd`]);
  world.disk.put(`${shared}/3.6.14/etcd`, etcd("3.6.14"));
  assertEquals(await find(), ["installed", "3.6.14", `${shared}/3.6.14/etcd`]);
  assertEquals(await find({ version: "3.7.3" }), ["cache", "3.7.3", `${cache}/3.7.3/etcd`]);
  assertEquals(await find({ version: "v3.4.23" }), ["path", "3.4.23", "/bin/etcd"]);
  world.disk.put("/inside/etcd.gz", await packed(etcd("3.6.13")));
  const embedded = {
    folder: "/inside",
    version: "3.6.13",
    files: { etcd: { sizeBytes: 1, sha256: sha256(etcd("3.6.13")) } },
  };
  embedded.files.etcd.sizeBytes = etcd("3.6.13").length;
  const [source, version, path] = await find({ embedded });
  assertEquals([source, version], ["embedded", "3.6.13"]);
  assert(/\/embedded-3\.6\.13-[0-9a-f]{12}\/etcd$/.test(path!), path);
  assertEquals(await find({ embedded, version: "3.7.3" }), ["cache", "3.7.3", `${cache}/3.7.3/etcd`]);
  assertEquals((await listEtcd({ ...world.request, embedded }, world.ports)).map((e) => `${e.source} ${e.version}`), [
    "embedded 3.6.13",
    "cache 3.7.3",
    "installed 3.6.14",
    "installed 3.5.33",
    "path 3.4.23",
  ]);
});

Deno.test("findEtcd() runs no program to use the cache", async () => {
  const world = new World();
  world.disk.put(`${cache}/3.6.14/etcd`, etcd("3.6.14"));
  await findEtcd(world.request, world.ports);
  assertEquals(world.started, []);
});

Deno.test("findEtcd() skips unusable programs on PATH", async () => {
  const world = new World();
  world.disk.put("relative/etcd", etcd("3.6.1"));
  world.disk.put("/a/etcd", etcd("3.3.27"));
  world.disk.put("/b/etcd", "exec format");
  world.disk.put("/c/etcd", etcd("3.6.2"));
  const found = await findEtcd({ ...world.request, path: "relative::/none:/a:/b:/c" }, world.ports);
  assertEquals(found.etcd, "/c/etcd");
  assertEquals(world.warnings.length, 2);
});

Deno.test("findEtcd() unpacks embedded programs once, and refuses damaged ones", async () => {
  const world = new World();
  world.disk.put("/inside/etcd.gz", await packed(etcd("3.6.14")));
  const files = { etcd: { sizeBytes: etcd("3.6.14").length, sha256: sha256(etcd("3.6.14")) } };
  const request = { ...world.request, embedded: { folder: "/inside", version: "3.6.14", files } };
  const first = await findEtcd(request, world.ports);
  await world.disk.remove("/inside");
  assertEquals(await findEtcd(request, world.ports), first);
  const broken = new World();
  for (const damage of ["damaged", await packed("another program")]) {
    broken.disk.put("/inside/etcd.gz", damage);
    await assertE2dError("checksum_mismatch", () => findEtcd(request, broken.ports));
    assertEquals([broken.started, await broken.cached()], [[], []]);
  }
  const nowhere: EtcdRequest = { ...request, cacheDir: undefined };
  await assertE2dError("cache_unknown", () => findEtcd(nowhere, broken.ports));
});

Deno.test("installEtcd() installs only the three programs of a release, then uses the cache", async () => {
  const world = new World();
  await world.release("3.7.3", members("3.7.3"));
  const request = { ...world.request, version: "3.7.3" };
  const folder = `${cache}/3.7.3`;
  assertEquals(await installEtcd(request, world.ports), {
    etcd: `${folder}/etcd`,
    etcdctl: `${folder}/etcdctl`,
    etcdutl: `${folder}/etcdutl`,
    version: "3.7.3",
    source: "download",
  });
  assertEquals(await world.disk.list(folder), ["e2d.json", "etcd", "etcdctl", "etcdutl"]);
  assertEquals(await world.cached(), ["3.7.3"]);
  assertEquals(world.warnings, [
    "the checksum of this etcd version is not pinned in e2d and was taken from the release itself",
  ]);
  const asked = world.requests.length;
  assertEquals((await installEtcd(request, world.ports)).source, "cache");
  assertEquals(world.requests.length, asked);
});

Deno.test("installEtcd() requests no checksum list when the checksum is pinned, and refuses another file", async () => {
  const world = new World();
  await world.release("3.6.14", members("3.6.14"));
  const error = await assertE2dError("checksum_mismatch", () => installEtcd(world.request, world.ports));
  assert(error.message.includes("ffe840ff9295808e88cce2794a18a5ac87f12a5203c8314d0bf6aa119b41bac5"), error.message);
  assert(!world.requests.some((url) => url.endsWith("SHA256SUMS")));
  assertEquals([world.started, await world.cached()], [[], []]);
});

Deno.test("installEtcd() leaves no entry and runs no program for an invalid archive", async () => {
  const cases: [string, TarMember[]][] = [
    ["archive_unsafe", [{ name: "../../etcd", data: "evil" }, ...members("3.7.3")]],
    ["archive_unsafe", [...members("3.7.3"), { name: "x/link", type: "2", link: "/etc/passwd" }]],
    ["archive_corrupt", [{ name: "etcd-v3.7.3-linux-amd64/README.md", data: "no programs" }]],
    ["archive_corrupt", [...members("3.7.3"), ...members("3.7.3")]],
  ];
  for (const [code, content] of cases) {
    const world = new World();
    await world.release("3.7.3", content);
    await assertE2dError(code, () => installEtcd({ ...world.request, version: "3.7.3" }, world.ports));
    assertEquals([code, world.started, await world.cached()], [code, [], []]);
  }
  const differs = new World();
  await differs.release("3.7.3", members("3.7.2"));
  await assertE2dError(
    "etcd_version_differs",
    () => installEtcd({ ...differs.request, version: "3.7.3" }, differs.ports),
  );
  assertEquals(await differs.cached(), []);
});

Deno.test("installEtcd() needs the release's own checksum list for a version that is not pinned", async () => {
  const world = new World();
  await world.release("3.7.3", members("3.7.3"), false);
  const install = () => installEtcd({ ...world.request, version: "3.7.3" }, world.ports);
  await assertE2dError("checksum_unknown", install);
  world.served.set(`${mirror}/v3.7.3/SHA256SUMS`, `${"a".repeat(64)}  etcd-v3.7.3-linux-arm64.tar.gz\n`);
  await assertE2dError("checksum_unknown", install);
  world.served.set(`${mirror}/v3.7.3/SHA256SUMS`, "x".repeat(70_000));
  await assertE2dError("checksum_unknown", install);
  assertEquals(await world.cached(), []);
});

Deno.test("findEtcd() replaces a damaged entry of the user's cache, and skips a damaged shared one", async () => {
  const world = new World();
  world.disk.put(`${shared}/3.6.14/other`, "");
  world.disk.put(`${cache}/3.6.14/etcd`, etcd("3.6.14"));
  const note = { version: "3.6.14", from: "x", files: { etcd: { sizeBytes: 5, sha256: "" } } };
  world.disk.put(`${cache}/3.6.14/e2d.json`, JSON.stringify(note));
  world.disk.put("/bin/etcd", etcd("3.5.33"));
  assertEquals((await findEtcd(world.request, world.ports)).source, "path");
  assertEquals(world.warnings, ["cache entry of etcd is damaged", "cache entry of etcd is damaged"]);
  assertEquals(await world.cached(), []);
  assert(await world.disk.info(`${shared}/3.6.14/other`));
});

Deno.test("two concurrent installs of one release both succeed", async () => {
  const world = new World();
  await world.release("3.7.3", members("3.7.3"));
  const install = () => installEtcd({ ...world.request, version: "3.7.3" }, world.ports);
  const both = await Promise.all([install(), install()]);
  assertEquals(both.map(({ etcd }) => etcd), [`${cache}/3.7.3/etcd`, `${cache}/3.7.3/etcd`]);
  assertEquals(await world.cached(), ["3.7.3"]);
});
