/** A command removes its unencrypted database from the disk, however it ends. */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir } from "../support/parts.ts";
import { e2d, programOf } from "./node_process.ts";

const cancelled = { sanitizeResources: false, sanitizeOps: false };

/** A bucket with one file of a MiB; while it stalls it sends at most half of it. */
class StallingBucket implements AsyncDisposable {
  stalls = true;
  readonly #closing = new AbortController();
  readonly #server = Deno.serve(
    { hostname: "127.0.0.1", port: 0, signal: this.#closing.signal, onListen: () => {} },
    (request) => this.#answer(request),
  );

  get environment(): Record<string, string> {
    const { port } = this.#server.addr as Deno.NetAddr;
    return {
      AWS_ACCESS_KEY_ID: "id",
      AWS_SECRET_ACCESS_KEY: "key",
      AWS_ENDPOINT_URL_S3: `http://127.0.0.1:${port}`,
      AWS_REGION: "us-east-1",
    };
  }

  #answer(request: Request): Response {
    const { searchParams } = new URL(request.url);
    const size = 1_048_576;
    if (searchParams.has("list-type")) {
      const own = "db".startsWith(searchParams.get("prefix") ?? "");
      const entry =
        `<Contents><Key>db</Key><Size>${size}</Size><LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>`;
      return new Response(
        `<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>${own ? entry : ""}</ListBucketResult>`,
        { headers: { "content-type": "application/xml" } },
      );
    }
    const headers = { "content-length": String(size), "last-modified": "Thu, 01 Jan 2026 00:00:00 GMT" };
    if (request.method === "HEAD") return new Response(null, { headers });
    const half = new Uint8Array(size / 2).fill(65);
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => {
        controller.enqueue(half);
        if (this.stalls) return;
        controller.enqueue(half);
        controller.close();
      },
    });
    return new Response(body, { headers });
  }

  async [Symbol.asyncDispose]() {
    this.#closing.abort();
    await this.#server.finished;
  }
}

const workFolders = async (path: string) =>
  (await Array.fromAsync(Deno.readDir(path), ({ name }) => name)).filter((name) => name.startsWith(".e2d-work-"));

/** A running command that has half an unencrypted database on disk. */
async function holding(path: string, environment: Record<string, string>) {
  const [program, ...args] = programOf();
  const child = new Deno.Command(program!, {
    args: [...args, "snapshot", "restore", "s3://bucket/db", `--data-dir=${path}/data`, `--etcd-dir=${etcdDir()}`],
    env: environment,
    stdin: "null",
    stdout: "null",
    stderr: "null",
  }).spawn();
  const before = await workFolders(path);
  const folder = await eventually("an unencrypted database", async () => {
    for (const name of await workFolders(path)) {
      if (before.includes(name)) continue;
      const info = await Deno.stat(`${path}/${name}/snapshot.db.part`).catch(() => undefined);
      if (info !== undefined && info.size > 0) return name;
    }
    return undefined;
  });
  return { child, folder };
}

Deno.test("e2d snapshot restore leaves no unencrypted database after a signal", cancelled, async () => {
  await using dir = await temporaryDirectory();
  await using bucket = new StallingBucket();
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143], ["SIGHUP", 129]] as const) {
    const { child } = await holding(dir.path, bucket.environment);
    child.kill(signal);
    assertEquals([signal, (await child.status).code], [signal, code]);
    assertEquals([signal, await workFolders(dir.path)], [signal, []]);
  }
});

Deno.test(
  "after kill -9 the next command removes the unencrypted database, and none that is in use",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    await using bucket = new StallingBucket();
    const killed = await holding(dir.path, bucket.environment);
    const live = await holding(dir.path, bucket.environment);
    killed.child.kill("SIGKILL");
    await killed.child.status;
    assert((await workFolders(dir.path)).includes(killed.folder));
    bucket.stalls = false;
    const args = ["snapshot", "restore", "s3://bucket/db", `--data-dir=${dir.path}/data`, `--etcd-dir=${etcdDir()}`];
    const { code, stderr } = await e2d(args, { environment: bucket.environment });
    // A MiB of one letter is not a database, and is removed too.
    assert(code === 1 && stderr.includes("has no checksum of etcd"), stderr);
    assertEquals(await workFolders(dir.path), [live.folder]);
    live.child.kill("SIGTERM");
    await live.child.status;
    assertEquals(await workFolders(dir.path), []);
  },
);
