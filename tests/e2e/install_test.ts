/** install.sh as people run it: piped to sh from a server, and inside a checkout with and without a network. */
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

/** A server of released executables; here they are scripts that know their version. */
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

  async publish(version: string): Promise<string> {
    const name = `e2d-linux-${Deno.build.arch === "aarch64" ? "arm64" : "amd64"}`;
    const executable = `#!/bin/sh\necho "e2d ${version}"\n`;
    this.files.set(name, executable);
    this.files.set("SHA256SUMS", `${"0".repeat(64)}  e2d-other\n${await sum(executable)}  ${name}\n`);
    return name;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

Deno.test("install.sh piped to sh installs the released executable, replaces an older one, and does nothing twice", async () => {
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

Deno.test("install.sh installs nothing when the sum is wrong, the release is missing or not for this machine", async () => {
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

Deno.test("install.sh does nothing when the download of it breaks off, at any line and inside the last one", async () => {
  await using dir = await temporaryDirectory();
  const lines = script.split("\n").map((_, index, all) => all.slice(0, index).join("\n"));
  const cuts = lines.filter((_, index) => index % 9 === 0);
  for (let bytes = 1; bytes < 20; bytes++) cuts.push(script.slice(0, -bytes));
  // The last newline is no part of the script.
  for (const cut of cuts.filter((text) => text !== script.trimEnd())) {
    await run(["sh", "-s", "--", "--prefix", `${dir.path}/p`], {
      input: cut,
      cwd: dir.path,
      environment: { E2D_RELEASES: "http://127.0.0.1:1", HOME: dir.path },
    });
    assertEquals(await exists(`${dir.path}/p`), false, cut.slice(-40));
  }
});

Deno.test("install.sh --help tells all options, and an unknown one changes nothing", async () => {
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

/** The environment of a user who has this Deno on PATH and a home of his own. */
const userEnvironment = (home: string) => ({
  HOME: home,
  PATH: `${Deno.execPath().replace(/\/[^/]*$/, "")}:/usr/sbin:/usr/bin:/sbin:/bin`,
  DENO_TLS_CA_STORE: "system,mozilla",
});

Deno.test("install.sh in a checkout gives an e2d that runs anywhere, twice in a row", async () => {
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
  // A mount namespace of its own, in which that one address leads nowhere.
  const space = Deno.uid() === 0 ? ["unshare", "-m"] : ["unshare", "-rm"];
  const command = 'mount --bind "$1" /etc/hosts && unset DENORT_BIN && exec "$2" --prefix "$3" --no-etcd';
  const { code, stderr } = await run(
    [...space, "sh", "-c", command, "sh", `${dir.path}/hosts`, `${root}install.sh`, prefix],
    { cwd: dir.path, environment: userEnvironment(dir.path) },
  );
  assertEquals(code, 0, stderr);
  assert(stderr.includes("installed a launcher"), stderr);
  const version = await run([`${prefix}/bin/e2d`, "version"], { cwd: "/" });
  assert(version.code === 0 && version.stdout.includes("e2d"), version.stderr);
});
