/** The S3 store against a real S3 server, and with connections that break. */
import type { Clock } from "../../lib/ports.ts";
import { S3Store } from "../../lib/storage/s3_store.ts";
import { systemClock } from "../../lib/sys/clock.ts";
import { systemRandom } from "../../lib/sys/random.ts";
import { Moto } from "./aws_stack.ts";
import { bytesOf, contentOf, streamOf, testStore } from "../storage/contract.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { freePorts } from "../support/fixtures.ts";
import { s3Keys as keys, S3Server } from "../support/s3_server.ts";

interface StoreOptions {
  bucket?: string;
  credentials?: typeof keys;
  timeoutMs?: number;
  clock?: Clock;
}

const storeAt = (
  endpoint: string,
  { bucket = "bucket", credentials = keys, timeoutMs = 10_000, clock = systemClock }: StoreOptions = {},
) =>
  new S3Store(
    {
      name: `s3://${bucket}`,
      bucket,
      region: "us-east-1",
      endpoint,
      credentials: () => Promise.resolve(credentials),
      timeoutMs,
    },
    { http: fetch, clock, random: systemRandom },
  );

let prefixes = 0;
testStore("S3 store", async (use) => {
  await using server = await S3Server.start();
  await use(storeAt(server.endpoint), `p${prefixes++}/`);
});

testStore("S3 store of moto", async (use) => {
  await using moto = await Moto.start();
  const store = storeAt(moto.url);
  // moto checks signatures only if configured.
  const made = await fetch(`${moto.url}/bucket`, { method: "PUT", headers: { host: "s3.amazonaws.com" } });
  await made.body?.cancel();
  await use(store, `p${prefixes++}/`);
});

Deno.test("S3Store: wrong keys and a missing bucket are errors, not an absent snapshot", async () => {
  await using server = await S3Server.start();
  const stranger = storeAt(server.endpoint, { credentials: { ...keys, secretAccessKey: "wrong" } });
  for (
    const act of [() => stranger.info("k"), () => stranger.read("k"), () => stranger.write("k", streamOf(bytesOf(1)))]
  ) {
    const error = await assertE2dError("store_forbidden", act);
    assert(!JSON.stringify(error).includes("wrong") && !error.message.includes("secret"));
  }
  const nowhere = storeAt(server.endpoint, { bucket: "no-such-bucket" });
  await assertE2dError("store_missing", () => nowhere.read("k"));
  await assertE2dError("store_missing", () => nowhere.list(""));
  await assertE2dError("store_missing", () => nowhere.write("k", streamOf(bytesOf(1))));
});

Deno.test("S3Store: a machine with a wrong clock reads and writes with the time of the store", async () => {
  await using server = await S3Server.start();
  for (const hours of [1, -1]) {
    const clock = { ...systemClock, wallMs: () => systemClock.wallMs() + hours * 3_600_000 };
    const content = bytesOf(100);
    await storeAt(server.endpoint, { clock }).write("k", streamOf(content));
    // Each request may be the first one; HEAD has no body that names the reason.
    assertEquals((await storeAt(server.endpoint, { clock }).info("k"))?.size, 100);
    assertEquals((await storeAt(server.endpoint, { clock }).list("")).map(({ key }) => key), ["k"]);
    assertEquals(await contentOf(storeAt(server.endpoint, { clock }), "k"), content);
    const stranger = storeAt(server.endpoint, { clock, credentials: { ...keys, secretAccessKey: "wrong" } });
    await assertE2dError("store_forbidden", () => stranger.info("k"));
  }
});

Deno.test("S3Store: an upload that was cut is removed, a finished object is not", async () => {
  await using server = await S3Server.start();
  await using moto = await Moto.start();
  const made = await fetch(`${moto.url}/bucket`, { method: "PUT", headers: { host: "s3.amazonaws.com" } });
  await made.body?.cancel();
  for (const endpoint of [server.endpoint, moto.url]) {
    const store = storeAt(endpoint);
    await store.write("db", streamOf(new Uint8Array(13_000_000)));
    const abort = new AbortController();
    // The process ends within the upload: nothing aborts it.
    const http = (url: string | URL, init?: RequestInit) =>
      init?.method === "DELETE" ? Promise.resolve(new Response(null, { status: 204 })) : fetch(url, init);
    const killed = new S3Store({
      name: "s3://bucket",
      bucket: "bucket",
      region: "us-east-1",
      endpoint,
      credentials: () => Promise.resolve(keys),
    }, { http, clock: systemClock, random: systemRandom });
    const onProgress = () => abort.abort(new Error("killed"));
    const writing = killed.write("db", streamOf(new Uint8Array(40_000_000)), { signal: abort.signal, onProgress });
    assertEquals(await writing.then(() => "written", (error) => error.message), "killed");
    const [yesterday, tomorrow] = [-1, 1].map((days) => Date.now() + days * 86_400_000) as [number, number];
    assertEquals(await store.removeCutWrites("db.history/", tomorrow), 0);
    // moto dates every upload to 2010.
    if (endpoint !== moto.url) assertEquals(await store.removeCutWrites("db", yesterday), 0);
    assertEquals(await storeAt(endpoint).removeCutWrites("db", tomorrow), 1);
    assertEquals(await storeAt(endpoint).removeCutWrites("db", tomorrow), 0);
    assertEquals((await store.list("")).map(({ key, size }) => [key, size]), [["db", 13_000_000]]);
  }
});

Deno.test("S3Store: an object above the limit of one copy is copied in parts", async () => {
  await using server = await S3Server.start();
  const store = new S3Store({
    name: "s3://bucket",
    bucket: "bucket",
    region: "eu-west-3",
    endpoint: server.endpoint,
    credentials: () => Promise.resolve(keys),
    copyMaxBytes: 5 * 1_048_576,
  }, { http: fetch, clock: systemClock, random: systemRandom });
  const content = bytesOf(11_000_000);
  await store.write("a b", streamOf(content));
  assertEquals(await store.copy("a b", "copy"), true);
  assertEquals(await contentOf(store, "copy"), content);
});

Deno.test("S3Store: an address without a server is unreachable", async () => {
  const store = storeAt(`http://127.0.0.1:${freePorts(1)[0]}`);
  await assertE2dError("store_unreachable", () => store.info("k"));
});

/** Forwards requests except those that `fault` answers. */
function proxy(to: string, fault: (request: Request, count: number) => Promise<Response> | Response | undefined) {
  let count = 0;
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, async (request) => {
    const faulty = await fault(request, count++);
    if (faulty !== undefined) {
      await request.body?.cancel();
      return faulty;
    }
    const url = new URL(request.url);
    const headers = new Headers(request.headers);
    const body = request.method === "GET" || request.method === "HEAD" ? null : await request.arrayBuffer();
    return await fetch(`${to}${url.pathname}${url.search}`, { method: request.method, headers, body });
  });
  return {
    endpoint: `http://127.0.0.1:${server.addr.port}`,
    get requests() {
      return count;
    },
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

Deno.test("S3Store: temporary errors are retried, permanent ones are reported", async () => {
  await using server = await S3Server.start();
  // The signature covers the host, so a real server refuses forwarded requests: only faults are asserted.
  await using flaky = proxy(
    server.endpoint,
    (_, count) =>
      count < 2
        ? new Response("<Error><Code>SlowDown</Code></Error>", { status: 503 })
        : new Response("<Error><Code>NoSuchKey</Code></Error>", { status: 404 }),
  );
  assertEquals(await storeAt(flaky.endpoint).info("k"), undefined);
  // HEAD three times, then GET, whose answer names the reason.
  assertEquals(flaky.requests, 4);
  await using broken = proxy(
    server.endpoint,
    () => new Response("<Error><Code>InternalError</Code></Error>", { status: 500 }),
  );
  const error = await assertE2dError("store_broken", () => storeAt(broken.endpoint).info("k"));
  assert(error.message.includes("500"), error.message);
  assertEquals(broken.requests, 5);
});

Deno.test("S3Store: a body that stalls is aborted, a slow one is not", async () => {
  const piece = bytesOf(100);
  const body = (pauseMs: number, pieces: number) => {
    let sent = 0;
    return new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        if (sent === 10) return controller.close();
        if (sent >= pieces) return await new Promise(() => {});
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
        controller.enqueue(piece);
        sent++;
      },
    });
  };
  const headers = { "content-length": "1000" };
  await using slow = proxy("", () => new Response(body(150, 10), { headers }));
  assertEquals((await contentOf(storeAt(slow.endpoint, { timeoutMs: 400 }), "k"))?.length, 1_000);
  await using stalled = proxy("", () => new Response(body(0, 3), { headers }));
  await assertE2dError("store_timeout", () => contentOf(storeAt(stalled.endpoint, { timeoutMs: 400 }), "k"));
});
