/** One node and other users of its machine: secrets, the status address, links in its data. See docs/security.md. */
import type { StatusReport } from "../../lib/manager/status/report.ts";
import { secretKeyFromCaKey } from "../../lib/pki/secret_key.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { MemoryWatch } from "./attacker.ts";
import { e2d, freshHost, NodeProcess } from "./node_process.ts";

/** A secret that is searched for in every output. */
const canary = (of: string) => `canary-${of}-7d1f`;

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** Records the command lines of all child processes of a process until it is disposed of. */
class ChildrenWatch implements AsyncDisposable {
  readonly commandLines = new Set<string>();
  readonly programs = new Set<string>();
  #ended = false;
  readonly #running: Promise<void>;

  constructor(parent: number) {
    this.#running = this.#watch(parent);
  }

  async #watch(parent: number): Promise<void> {
    while (!this.#ended) {
      const { stdout } = await new Deno.Command("pgrep", { args: ["-P", String(parent)] }).output();
      for (const pid of new TextDecoder().decode(stdout).split("\n").filter((text) => text !== "")) {
        const line = await Deno.readTextFile(`/proc/${pid}/cmdline`).catch(() => "");
        this.commandLines.add(line);
        this.programs.add(line.split("\0")[0]!.replace(/^.*\//, ""));
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended = true;
    await this.#running;
  }
}

/** The answers of S3 for an empty bucket. */
function emptyBucket(request: Request): Response {
  if (new URL(request.url).searchParams.has("list-type")) {
    return new Response(
      "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>",
      { headers: { "content-type": "application/xml" } },
    );
  }
  return new Response("<Error><Code>NoSuchKey</Code><Message>no</Message></Error>", { status: 404 });
}

Deno.test("secrets of flags, variables and key files appear in no log, command line, environment of etcd, status or error", async () => {
  await using dir = await temporaryDirectory();
  const host = freshHost();
  const ca = [`--ca-cert=${dir.path}/ca.crt`, `--ca-key=${dir.path}/ca.key`];
  for (
    const args of [
      ["pki", "init", ...ca],
      ["pki", "gencerts", ...ca, `--hosts=${host}`, `--output-dir=${dir.path}`],
    ]
  ) assertEquals((await e2d(args)).code, 0);
  // A careless copy: every user can read it.
  await Deno.chmod(`${dir.path}/ca.key`, 0o644);
  const read = (name: string) => Deno.readTextFile(`${dir.path}/${name}`);
  const keys = await Promise.all(["ca.key", "server.key", "peer.key", "client.key"].map(read));
  const secret = secretKeyFromCaKey(keys[0]!, { role: "CA key", path: "ca.key" }).bytes;
  const secrets = [
    "canary-",
    hex(secret),
    btoa(String.fromCharCode(...secret)),
    ...keys.map((pem) => pem.split("\n")[2]!),
  ];

  // An empty store that refuses later, as after a change of its key: the log lines of that case must not leak.
  const asked: string[] = [];
  let refuses = false;
  await using store = Deno.serve({ hostname: host, port: 0, onListen() {} }, (request) => {
    asked.push(request.headers.get("authorization") ?? "");
    if (!refuses) return emptyBucket(request);
    return new Response("<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error>", { status: 403 });
  });
  const pair = (role: string) => [`--${role}-cert=${dir.path}/${role}.crt`, `--${role}-key=${dir.path}/${role}.key`];
  await using node = new NodeProcess({
    host,
    dataDir: `${dir.path}/data`,
    // Core dumps are allowed up to the hard limit of this machine.
    inside: ["sh", "-c", 'ulimit -S -c "$(ulimit -H -c)"; exec "$@"', "sh"],
    tls: { ca: await read("ca.crt"), certificate: await read("client.crt"), key: keys[3]! },
    args: [
      ...[...ca, ...pair("server"), ...pair("peer"), ...pair("client")],
      "--verbose",
      `--status-addr=${host}:7981`,
      ...["--snapshot-backup-url=s3://bucket/db", `--s3-endpoint=http://${host}:${store.addr.port}`],
      ...["--snapshot-interval=1s", "--snapshot-encryption"],
      ...[`--aws-access-key=${canary("access")}`, `--aws-secret-key=${canary("secret")}`],
      `--do-access-token=${canary("token")}`,
    ],
    environment: {
      E2D_DO_SPACES_KEY: canary("spaces-key"),
      E2D_DO_SPACES_SECRET: canary("spaces-secret"),
      AWS_SECRET_ACCESS_KEY: canary("aws"),
      AWS_SESSION_TOKEN: canary("session"),
      HCLOUD_TOKEN: canary("hetzner"),
      DIGITALOCEAN_TOKEN: canary("do"),
      HTTPS_PROXY: `http://user:${canary("proxy")}@${host}:1`,
      ETCD_INITIAL_CLUSTER_TOKEN: canary("etcd"),
      KUBERNETES_TOKEN: canary("kubernetes"),
    },
  });
  // Before its first log line the process may still be the shell that raises the limit.
  await node.logged(() => true);
  await using children = new ChildrenWatch(node.pid);
  await node.healthy();
  refuses = true;
  await (await node.client()).put("key", "value");
  await eventually("the store is asked for some time", () => asked.length >= 3);
  assert(asked.some((header) => header.includes(canary("access"))), "the credentials given were not those used");
  await node.logged((entry) => JSON.stringify(entry).includes("SignatureDoesNotMatch"));

  const etcd = await node.etcdPid();
  const places = new Map<string, string>();
  for (const path of ["/status", "/why", "/metrics", "/readyz", "/healthz", "/nowhere"]) {
    const response = await fetch(`http://${host}:7981${path}`);
    places.set(path, JSON.stringify([...response.headers]) + await response.text());
  }
  const environment = (await Deno.readTextFile(`/proc/${etcd}/environ`)).split("\0").filter((each) => each !== "");
  places.set("environment", environment.join("\n"));
  for (const pid of [node.pid, etcd]) {
    const limits = await Deno.readTextFile(`/proc/${pid}/limits`);
    assert(/^Max core file size +0 /m.test(limits), limits);
  }
  assertEquals(await node.stop(), 0);
  await children[Symbol.asyncDispose]();
  places.set("command lines", [...children.commandLines].join("\n"));
  places.set("log", node.lines.join("\n"));
  for (const [place, text] of places) {
    for (const secret of secrets) assert(!text.includes(secret), `${place} has ${secret}:\n${text.slice(0, 2_000)}`);
  }
  // The searched places contain what they should.
  assert(places.get("log")!.includes('"level":"debug"') && places.get("command lines")!.includes("--data-dir="));
  assert(children.programs.has("etcd"), [...children.programs].join());
  assertEquals(environment.filter((each) => !/^(PATH|HOME|TZ|LANG|LC_|TMPDIR|SSL_CERT_|GO[A-Z]+=)/.test(each)), []);
  const warned = node.log.filter(({ level, message }) => level === "warn" && message.includes(`${dir.path}/ca.key`));
  assert(warned.some(({ message }) => message.includes("every user of this machine")), JSON.stringify(warned));

  // Errors do not quote the rejected values.
  await Deno.writeTextFile(`${dir.path}/config.yaml`, `aws-secret-key: "${canary("config")}\nname: x\n`);
  for (
    const args of [
      ["run", `--aws-secret-key=${canary("lonely")}`],
      ["run", `--aws-secret-kee=${canary("misspelled")}`],
      ["run", `--config=${dir.path}/config.yaml`],
      ["run", "--snapshot-backup-url=s3://bucket", `--s3-endpoint=https://user:${canary("url")}@${host}`, "-n=1"]
        .concat(`--data-dir=${dir.path}/other`, `--host=${host}`, "--etcd-dir=/nowhere"),
    ]
  ) {
    const { code, stdout, stderr } = await e2d(args);
    assert(code !== 0 && stderr !== "", args.join(" "));
    assert(!`${stdout}${stderr}`.includes("canary-"), stderr);
  }
});

Deno.test("a client certificate is accepted at the client port of etcd and refused at the peer port", async () => {
  await using dir = await temporaryDirectory();
  const host = freshHost();
  const ca = [`--ca-cert=${dir.path}/ca.crt`, `--ca-key=${dir.path}/ca.key`];
  for (
    const args of [
      ["pki", "init", ...ca],
      ["pki", "gencerts", ...ca, `--hosts=${host}`, `--output-dir=${dir.path}`],
    ]
  ) assertEquals((await e2d(args)).code, 0);
  const read = (name: string) => Deno.readTextFile(`${dir.path}/${name}`);
  const pair = (role: string) => [`--${role}-cert=${dir.path}/${role}.crt`, `--${role}-key=${dir.path}/${role}.key`];
  await using node = new NodeProcess({
    host,
    dataDir: `${dir.path}/data`,
    tls: { ca: await read("ca.crt"), certificate: await read("client.crt"), key: await read("client.key") },
    args: [...ca, ...pair("server"), ...pair("peer"), ...pair("client"), "--status-addr=off"],
  });
  await node.healthy();
  const asked = async (role: string, path: string) => {
    using client = Deno.createHttpClient({
      caCerts: [await read("ca.crt")],
      cert: await read(`${role}.crt`),
      key: await read(`${role}.key`),
      http2: false,
    });
    try {
      const response = await fetch(`https://${host}:${path}`, { client });
      await response.body?.cancel();
      return response.status;
    } catch {
      return "hung up";
    }
  };
  assertEquals(await asked("client", "2379/version"), 200);
  assertEquals(await asked("peer", "2380/members"), 200);
  assertEquals(await asked("client", "2380/members"), "hung up");
  await node.logged(({ message }) => message.includes("rejected connection"));
});

/**
 * Sends text unchanged, and returns the status of the answer; 0 for a connection that ends without one. `cut`: closes
 * the sending direction, which the server may treat as a closed connection.
 */
async function raw(hostname: string, text: string, { cut = false } = {}): Promise<{ status: number; text: string }> {
  const connection = await Deno.connect({ hostname, port: 7981 });
  let open = true;
  const close = () => {
    if (open) connection.close();
    open = false;
  };
  const timer = setTimeout(close, 5_000);
  const chunks: Uint8Array[] = [];
  try {
    const data = new TextEncoder().encode(text);
    for (let at = 0; at < data.length;) at += await connection.write(data.subarray(at));
    if (cut) await connection.closeWrite();
    const chunk = new Uint8Array(65_536);
    for (let count = await connection.read(chunk); count !== null; count = await connection.read(chunk)) {
      chunks.push(chunk.slice(0, count));
    }
  } catch {
    // It hung up.
  } finally {
    clearTimeout(timer);
    close();
  }
  const answer = await new Blob(chunks as Uint8Array<ArrayBuffer>[]).text();
  return { status: Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0), text: answer };
}

Deno.test("the status address answers only this machine, is read-only, and survives malformed and endless requests", async () => {
  await using dir = await temporaryDirectory();
  const host = freshHost();
  await using node = new NodeProcess({
    host,
    dataDir: `${dir.path}/data`,
    // Fewer than the connections below, which would use all of them.
    inside: ["sh", "-c", 'ulimit -n 256; exec "$@"', "sh"],
    args: [`--status-addr=${host}:7981`],
  });
  await node.healthy();
  const ask = async (line: string, headers = `Host: ${host}:7981\r\n`) =>
    await raw(host, `${line} HTTP/1.1\r\n${headers}Connection: close\r\n\r\n`);

  assertEquals((await ask("GET /status")).status, 200);
  assertEquals((await ask("GET /status", "Host: localhost:9\r\n")).status, 200);
  for (const name of ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:7981", `evil.example:${7981}`]) {
    const { status, text } = await ask("GET /status", `Host: ${name}\r\n`);
    assertEquals([name, status], [name, 421]);
    assert(!text.includes("members"), text);
  }
  assertEquals((await ask("GET http://evil.example/status")).status, 421);
  for (const header of ["Host: a/b\r\n", "Host: \r\n", "Host: x y\r\n", "Host: \x01\r\n", "Host: [::1\r\n", ""]) {
    const { status } = await ask("GET /status", header);
    assert([400, 421, 500, 0].includes(status) || header.length < 9, `${JSON.stringify(header)}: ${status}`);
  }
  for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"]) {
    assertEquals([method, (await ask(`${method} /status`)).status], [method, 405]);
  }
  for (
    const path of [
      ...[
        "/page.js/",
        "/status/",
        "//status",
        "/status/../../etc/passwd",
        "/../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
      ],
      ...["/status%00", "/status;x", `/${"a".repeat(5_000)}`, "/..\\..\\etc\\passwd", "/%ff%fe"],
    ]
  ) {
    const { status, text } = await ask(`GET ${path}`);
    assert([400, 404].includes(status), `${path}: ${status}`);
    assert(!text.includes("root:"), text);
  }
  assertEquals((await ask("GET /status?x=/../../y")).status, 200);
  assert([400, 405, 421, 500, 0].includes((await ask("CONNECT evil.example:443")).status));

  using memory = new MemoryWatch(node.pid);
  const beforeMiB = memory.mostMiB;
  for (const headers of [`X: ${"a".repeat(4_000_000)}\r\n`, "X: y\r\n".repeat(200_000)]) {
    const { status } = await ask("GET /status", `Host: ${host}\r\n${headers}`);
    assert([400, 413, 431, 0].includes(status), String(status));
  }
  for (const bytes of ["\0\0\0", "GET", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff", "\x16\x03\x01\x02\x00\x01"]) {
    await raw(host, bytes, { cut: true });
  }
  // Requests that never end, and unexpected bodies, over as many connections as possible.
  const crowd: Deno.TcpConn[] = [];
  try {
    for (let at = 0; at < 400; at++) {
      const connection = await Deno.connect({ hostname: host, port: 7981 });
      crowd.push(connection);
      const post = `POST /status HTTP/1.1\r\nHost: ${host}\r\nContent-Length: 9999\r\n\r\nx`;
      const text = at % 2 === 0 ? "GET /status HTTP/1.1\r\nHost:" : post;
      await connection.write(new TextEncoder().encode(text)).catch(() => {});
    }
    await eventually("a probe gets through the crowd", async () => (await ask("GET /readyz")).status === 200);
    const etcd = await node.etcdPid();
    Deno.kill(etcd, "SIGKILL");
    await node.eventually("etcd started again, for which there have to be file descriptors", async () => {
      const now = await node.etcdPid();
      assert(now > 0 && now !== etcd);
    });
  } finally {
    for (const connection of crowd) connection.close();
  }
  await node.healthy();
  const grownMiB = memory.mostMiB - beforeMiB;
  assert(grownMiB < 96, `memory grew by ${grownMiB} MiB`);
  await eventually("all is as it was", async () => {
    const status: StatusReport = await (await fetch(`http://${host}:7981/status`)).json();
    return status.ready && status.members.length === 1;
  });
});

Deno.test("a data-dir that is a link is followed; a link in the place of e2d's own files is refused and its target unchanged", async () => {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/disk`, { mode: 0o700 });
  await Deno.symlink(`${dir.path}/disk`, `${dir.path}/data`);
  const dataDir = `${dir.path}/data`;
  const names = async (folder: string) => (await Array.fromAsync(Deno.readDir(folder))).map(({ name }) => name).sort();
  let host: string;
  {
    await using node = new NodeProcess({ dataDir, args: ["--name=linked"] });
    host = node.host;
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    assertEquals((await Deno.stat(`${dataDir}.e2d.sock`)).mode! & 0o777, 0o600);
    assertEquals(await node.stop(), 0);
  }
  assertEquals(await names(`${dir.path}/disk`), ["member"]);
  assertEquals(await names(dir.path), ["data", "data.e2d.json", "data.e2d.lock", "disk"]);
  for (const name of ["data.e2d.json", "data.e2d.lock"]) {
    assertEquals((await Deno.stat(`${dir.path}/${name}`)).mode! & 0o777, 0o600);
  }
  const victim = `${dir.path}/victim`;
  await Deno.writeTextFile(victim, "precious");
  await Deno.rename(`${dataDir}.e2d.lock`, `${dir.path}/kept.lock`);
  await Deno.symlink(victim, `${dataDir}.e2d.lock`);
  {
    await using node = new NodeProcess({ dataDir, host });
    assertEquals(await node.exit(), 1);
    await node.logged(({ code, error }) => code === "place_unsafe" && String(error).includes("data.e2d.lock"));
  }
  assertEquals(await Deno.readTextFile(victim), "precious");
  await Deno.remove(`${dataDir}.e2d.lock`);
  await Deno.chmod(`${dataDir}.e2d.json`, 0o666);
  await Deno.chmod(dir.path, 0o777);
  await using node = new NodeProcess({ dataDir, host });
  await node.healthy();
  assertEquals(new TextDecoder().decode((await (await node.client()).get("kept"))?.value), "yes");
  const warned = node.log.filter(({ level }) => level === "warn").map(({ path }) => path);
  assert(warned.includes(`${dataDir}.e2d.json`) && warned.includes(dir.path), JSON.stringify(warned));
});
