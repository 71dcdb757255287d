/** install.sh piped to sh from a server, and inside a checkout with and without a network. */
import { fileURLToPath } from "node:url";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
const script = await Deno.readTextFile(`${root}install.sh`);

interface Result {
  code: number;
  stdout: string;
  stderr: string;
}

async function run(
  command: string[],
  { input = "", environment = {}, cwd }: { input?: string; environment?: Record<string, string>; cwd: string },
): Promise<Result> {
  const child = new Deno.Command(command[0]!, {
    args: command.slice(1),
    cwd,
    env: environment,
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
    signal: AbortSignal.timeout(300_000),
  }).spawn();
  const writer = child.stdin.getWriter();
  // A script that ends early does not read the rest of its input.
  const written = writer.write(new TextEncoder().encode(input)).then(() => writer.close()).catch(() => {});
  const { code, stdout, stderr } = await child.output();
  await written;
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

const exists = (path: string) => Deno.stat(path).then(() => true, () => false);

const sum = async (text: string) =>
  new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))).toHex();

/** A server of released executables, which are scripts that print their version. */
class Releases implements AsyncDisposable {
  readonly files = new Map<string, string>();
  readonly requests: string[] = [];
  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
      const name = new URL(request.url).pathname.slice(1);
      this.requests.push(name);
      const body = this.files.get(name);
      return new Response(body ?? null, { status: body === undefined ? 404 : 200 });
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  /** `etcdInstall`: what it does as `e2d etcd install --version $4 --to $6`. */
  async publish(version: string, { etcdInstall = "exit 1" } = {}): Promise<string> {
    const name = `e2d-linux-${Deno.build.arch === "aarch64" ? "arm64" : "amd64"}`;
    const executable = `#!/bin/sh\nif [ "$1 $2" = "etcd install" ]; then\n${etcdInstall}\nfi\necho "e2d ${version}"\n`;
    this.files.set(name, executable);
    this.files.set("SHA256SUMS", `${"0".repeat(64)}  e2d-other\n${await sum(executable)}  ${name}\n`);
    return name;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

Deno.test("install.sh piped to sh installs the released executable, replaces an older one, and changes nothing when repeated", async () => {
  await using dir = await temporaryDirectory();
  await using releases = new Releases();
  const install = () =>
    run(["sh", "-s", "--", "--prefix", `${dir.path}/p`, "--no-etcd"], {
      input: script,
      cwd: dir.path,
      environment: { E2D_RELEASES: releases.url },
    });
  const name = await releases.publish("1.0.0");
  const first = await install();
  assertEquals(first.code, 0, first.stderr);
  assert(first.stderr.includes(`done: e2d 1.0.0 is ${dir.path}/p/bin/e2d`), first.stderr);
  assertEquals((await run([`${dir.path}/p/bin/e2d`], { cwd: "/" })).stdout, "e2d 1.0.0\n");
  releases.requests.length = 0;
  assertEquals((await install()).code, 0);
  assertEquals(releases.requests, ["SHA256SUMS"]);
  await releases.publish("1.1.0");
  assertEquals((await install()).code, 0);
  assertEquals((await run([`${dir.path}/p/bin/e2d`], { cwd: "/" })).stdout, "e2d 1.1.0\n");
  assert(releases.requests.includes(name));
});

Deno.test("install.sh installs nothing if the checksum is wrong, the release is missing or the platform differs", async () => {
  await using dir = await temporaryDirectory();
  await using releases = new Releases();
  const install = () =>
    run(["sh", "-s", "--", "--prefix", `${dir.path}/p`, "--no-etcd"], {
      input: script,
      cwd: dir.path,
      environment: { E2D_RELEASES: releases.url },
    });
  const missing = await install();
  assert(missing.code !== 0 && missing.stderr.includes("cannot download"), missing.stderr);
  const name = await releases.publish("1.0.0");
  releases.files.set(name, "#!/bin/sh\necho changed\n");
  const wrong = await install();
  assert(wrong.code !== 0 && /has SHA-256 [0-9a-f]{64}, not/.test(wrong.stderr), wrong.stderr);
  releases.files.set("SHA256SUMS", `${"0".repeat(64)}  e2d-plan9-mips\n`);
  const other = await install();
  assert(other.code !== 0 && other.stderr.includes(`does not name ${name}`), other.stderr);
  assertEquals(await exists(`${dir.path}/p/bin/e2d`), false);
});

Deno.test("install.sh does nothing if its own download is truncated at any line or inside the last one", async () => {
  await using dir = await temporaryDirectory();
  const lines = script.split("\n").map((_, index, all) => all.slice(0, index).join("\n"));
  const cuts = lines.filter((_, index) => index % 9 === 0);
  for (let bytes = 1; bytes < 20; bytes++) cuts.push(script.slice(0, -bytes));
  // The last newline is not part of the script.
  for (const cut of cuts.filter((text) => text !== script.trimEnd())) {
    await run(["sh", "-s", "--", "--prefix", `${dir.path}/p`], {
      input: cut,
      cwd: dir.path,
      environment: { E2D_RELEASES: "http://127.0.0.1:1", HOME: dir.path },
    });
    assertEquals(await exists(`${dir.path}/p`), false, cut.slice(-40));
  }
});

Deno.test("install.sh --help lists all options, and an unknown option changes nothing", async () => {
  await using dir = await temporaryDirectory();
  const help = await run(["sh", "-s", "--", "--help"], { input: script, cwd: dir.path });
  assertEquals(help.code, 0);
  for (const option of ["--prefix", "--no-etcd", "--embed-etcd", "DENORT_BIN", "E2D_ETCD_MIRROR"]) {
    assert(help.stdout.includes(option), option);
  }
  const unknown = await run(["sh", "-s", "--", "--perfix", "x"], { input: script, cwd: dir.path });
  assert(unknown.code !== 0 && unknown.stderr.includes('unknown argument "--perfix"'), unknown.stderr);
  assertEquals(await Array.fromAsync(Deno.readDir(dir.path)), []);
});

/** Writes programs that print their version. */
const etcdRelease = `mkdir -p "$6/$4" && cd "$6/$4"
for program in etcd etcdctl etcdutl; do
  printf '#!/bin/sh\\necho "%s Version: %s"\\n' "$program" "$4" > "$program" && chmod 755 "$program"
done
exit 0`;
const etcdVersion = /^ETCD_VERSION=(.*)$/m.exec(script)![1]!;

Deno.test("install.sh links etcdctl to the installed etcd, updates only its own link, and replaces no other file", async () => {
  await using dir = await temporaryDirectory();
  await using releases = new Releases();
  await releases.publish("1.0.0", { etcdInstall: etcdRelease });
  const prefix = `${dir.path}/a 'p'`;
  const link = `${prefix}/bin/etcdctl`;
  const install = async (version: string) => {
    const { code, stderr } = await run(["sh", "-s", "--", "--prefix", prefix], {
      input: script.replace(/^ETCD_VERSION=.*$/m, `ETCD_VERSION=${version}`),
      cwd: dir.path,
      environment: { E2D_RELEASES: releases.url },
    });
    assertEquals(code, 0, stderr);
    assert(stderr.endsWith(`done: e2d 1.0.0 is ${prefix}/bin/e2d\n`), stderr);
  };
  const etcds = `${prefix}/lib/e2d/etcd`;
  for (let round = 0; round < 2; round++) {
    await install("3.6.13");
    assertEquals(await Deno.readLink(link), `${etcds}/3.6.13/etcdctl`);
    assertEquals((await run([link], { cwd: "/" })).stdout, "etcdctl Version: 3.6.13\n");
  }
  // With an etcd that is there already, too.
  await Deno.remove(link);
  await install("3.6.13");
  assertEquals(await Deno.readLink(link), `${etcds}/3.6.13/etcdctl`);
  await Deno.remove(`${etcds}/3.6.13`, { recursive: true });
  await install(etcdVersion);
  assertEquals(await Deno.readLink(link), `${etcds}/${etcdVersion}/etcdctl`);
  await Deno.remove(link);
  await Deno.symlink("/nowhere/etcdctl", link);
  await install(etcdVersion);
  assertEquals(await Deno.readLink(link), "/nowhere/etcdctl");
  await Deno.remove(link);
  await Deno.writeTextFile(link, "mine");
  await install(etcdVersion);
  assertEquals(await Deno.readTextFile(link), "mine");
});

Deno.test("install.sh reports in its last line that no etcd is installed, and finds one that is installed by hand", async () => {
  await using dir = await temporaryDirectory();
  await using releases = new Releases();
  await releases.publish("1.0.0");
  // The other two sources of an etcd fail as well.
  await Deno.mkdir(`${dir.path}/tools`);
  for (const tool of ["go", "apt-get"]) {
    await Deno.writeTextFile(`${dir.path}/tools/${tool}`, "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  }
  const prefix = `${dir.path}/p`;
  const install = async () => {
    const { code, stderr } = await run(["sh", "-s", "--", "--prefix", prefix], {
      input: script,
      cwd: dir.path,
      environment: { E2D_RELEASES: releases.url, PATH: `${dir.path}/tools:${Deno.env.get("PATH")}` },
    });
    // e2d is there, and looks for an etcd when it runs.
    assertEquals(code, 0, stderr);
    return stderr.trimEnd().split("\n");
  };
  const lines = await install();
  const folder = `${prefix}/lib/e2d/etcd`;
  assert(lines.at(-1)!.startsWith("install: NO ETCD IS INSTALLED."), lines.at(-1)!);
  assert(lines.at(-1)!.includes(`${folder}/<version>/`), lines.at(-1)!);
  assert(!lines.some((line) => line.includes("done:")), lines.join("\n"));
  assertEquals(await exists(`${prefix}/bin/etcdctl`), false);
  await Deno.mkdir(`${folder}/3.7.3`);
  for (const program of ["etcd", "etcdctl"]) {
    await Deno.writeTextFile(`${folder}/3.7.3/${program}`, `#!/bin/sh\necho "etcd Version: 3.7.3"\n`, { mode: 0o755 });
  }
  assert((await install()).at(-1)!.startsWith("install: done: "));
  assertEquals(await Deno.readLink(`${prefix}/bin/etcdctl`), `${folder}/3.7.3/etcdctl`);
});

/** The environment of a user with this Deno on PATH and a separate home directory. */
const userEnvironment = (home: string) => ({
  HOME: home,
  PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:/usr/sbin:/usr/bin:/sbin:/bin`,
  DENO_TLS_CA_STORE: "system,mozilla",
});

Deno.test("install.sh in a checkout installs an e2d that runs in every directory, also when repeated", async () => {
  await using dir = await temporaryDirectory();
  for (let round = 0; round < 2; round++) {
    const { code, stderr } = await run([`${root}install.sh`, "--prefix", `${dir.path}/p`, "--no-etcd"], {
      cwd: dir.path,
      environment: userEnvironment(dir.path),
    });
    assertEquals(code, 0, stderr);
    const version = await run([`${dir.path}/p/bin/e2d`, "version"], { cwd: "/" });
    assert(version.code === 0 && version.stdout.includes("e2d"), version.stderr);
  }
});

Deno.test("install.sh installs a launcher where the runtime of the executable cannot be downloaded", async () => {
  await using dir = await temporaryDirectory();
  await Deno.writeTextFile(`${dir.path}/hosts`, "127.0.0.1 localhost dl.deno.land\n");
  const prefix = `${dir.path}/with 'odd' name`;
  // A separate mount namespace, in which that address does not resolve.
  const space = Deno.uid() === 0 ? ["unshare", "-m"] : ["unshare", "-rm"];
  const command = 'mount --bind "$1" /etc/hosts && unset DENORT_BIN && exec "$2" --prefix "$3" --no-etcd';
  const { code, stderr } = await run(
    [...space, "sh", "-c", command, "sh", `${dir.path}/hosts`, `${root}install.sh`, prefix],
    { cwd: dir.path, environment: userEnvironment(dir.path) },
  );
  assertEquals(code, 0, stderr);
  assert(stderr.includes("installed a launcher"), stderr);
  // Every user of the machine can read it, because the service may run as any of them.
  const hidden = await run(["find", `${prefix}/lib/e2d`, "!", "-perm", "-004"], { cwd: "/" });
  assertEquals(hidden.stdout, "");
  const version = await run([`${prefix}/bin/e2d`, "version"], { cwd: "/" });
  assert(version.code === 0 && version.stdout.includes("e2d"), version.stderr);
});
