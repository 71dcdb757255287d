import { createHash } from "node:crypto";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import type { Clock, Http } from "../../lib/ports.ts";
import { download, type DownloadRequest, shownUrl } from "../../lib/etcd/install/download.ts";
import { MemoryDisk } from "./memory_disk.ts";

const data = Uint8Array.from({ length: 300_000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff);
const sha256 = createHash("sha256").update(data).digest("hex");
const url = "http://127.0.0.1/etcd.tar.gz";
const other = "0".repeat(64);

/** A clock whose retry pauses end immediately, and whose stall time-out fires on request. */
class StillClock implements Clock {
  readonly pausesMs: number[] = [];
  stall: (() => void) | undefined;
  wallMs = () => 0;
  monotonicMs = () => 0;
  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    this.pausesMs.push(ms);
    if (ms !== 30_000) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.stall = resolve;
      signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
    });
  }
}

/** One answer of the server: the part of the requested range that it sends, and how it ends. */
interface Answer {
  status?: number;
  etag?: string;
  /** Bytes after which the connection is lost. */
  breakAfter?: number;
  /** Bytes after which the connection is silent. */
  hangAfter?: number;
  /** Ends like a complete answer after this many bytes, although content-length is larger. */
  cutAfter?: number;
  ignoreRange?: boolean;
  changed?: Uint8Array<ArrayBuffer>;
  refuse?: boolean;
}

function server(answers: Answer[], clock: StillClock): { http: Http; ranges: (string | undefined)[] } {
  const ranges: (string | undefined)[] = [];
  const http: Http = (_url, init) => {
    const answer = answers[ranges.length] ?? {};
    const headers = new Headers(init?.headers);
    ranges.push(headers.get("range") ?? undefined);
    if (answer.refuse) return Promise.reject(new TypeError("connection refused"));
    if (answer.status) return Promise.resolve(new Response("no", { status: answer.status }));
    const body = answer.changed ?? data;
    const etag = answer.etag ?? '"one"';
    const asked = /^bytes=(\d+)-$/.exec(headers.get("range") ?? "");
    const from = asked && !answer.ignoreRange && headers.get("if-range") === etag ? Number(asked[1]) : 0;
    if (from >= body.length) return Promise.resolve(new Response(null, { status: 416 }));
    let at = from;
    const signal = init?.signal;
    const stream = new ReadableStream<Uint8Array<ArrayBuffer>>({
      async pull(controller) {
        const sent = at - from;
        if (sent === answer.breakAfter) return controller.error(new TypeError("connection reset"));
        if (sent === answer.cutAfter) return controller.close();
        if (sent === answer.hangAfter) {
          await new Promise((resolve) => {
            signal?.addEventListener("abort", resolve, { once: true });
            clock.stall?.();
          });
          return controller.error(signal?.reason);
        }
        if (at === body.length) return controller.close();
        const end = Math.min(body.length, at + 50_000);
        controller.enqueue(body.slice(at, end));
        at = end;
      },
    }, { highWaterMark: 0 });
    const length = String(body.length - from);
    return Promise.resolve(
      from > 0
        ? new Response(stream, {
          status: 206,
          headers: {
            etag,
            "content-length": length,
            "content-range": `bytes ${from}-${body.length - 1}/${body.length}`,
          },
        })
        : new Response(stream, { headers: { etag, "content-length": length } }),
    );
  };
  return { http, ranges };
}

function setUp(answers: Answer[], disk = new MemoryDisk()) {
  const clock = new StillClock();
  const { http, ranges } = server(answers, clock);
  const progress: [number, number | undefined][] = [];
  const run = (changes: Partial<DownloadRequest> = {}) =>
    download(
      {
        url,
        sha256,
        folder: "/work",
        sizeMaxBytes: 1_000_000,
        stallTimeoutMs: 30_000,
        triesMax: 3,
        onProgress: ({ receivedBytes, totalBytes }) => progress.push([receivedBytes, totalBytes]),
        ...changes,
      },
      { http, clock, files: disk, staging: disk },
    );
  return { run, ranges, disk, clock, progress };
}

const stored = (disk: MemoryDisk) => {
  const node = disk.nodes.get("/work/archive");
  return node?.kind === "file" ? node.data : undefined;
};

Deno.test("download() returns a complete file and reports its progress", async () => {
  const { run, disk, progress, ranges } = setUp([]);
  assertEquals(await run(), "/work/archive");
  assertEquals(stored(disk), data);
  assertEquals(progress[0], [0, 300_000]);
  assertEquals(progress.at(-1), [300_000, 300_000]);
  assertEquals(ranges, [undefined]);
});

Deno.test("download() continues after a lost connection", async () => {
  const { run, disk, ranges } = setUp([{ breakAfter: 100_000 }, { breakAfter: 50_000 }]);
  await run();
  assertEquals(stored(disk), data);
  assertEquals(ranges, [undefined, "bytes=100000-", "bytes=150000-"]);
});

Deno.test("download() counts only attempts without progress, and keeps received bytes for the next run", async () => {
  const { run, disk, clock } = setUp([{ breakAfter: 200_000 }, { breakAfter: 0 }, { breakAfter: 0 }]);
  const error = await assertE2dError("download_interrupted", run);
  assert(error.message.includes("the connection was lost after 200000 bytes"), error.message);
  assertEquals(error.hint, "run the command again: it continues the download");
  assertEquals(clock.pausesMs.filter((ms) => ms !== 30_000), [500, 1000]);
  const again = setUp([], disk);
  await again.run();
  assertEquals(again.ranges, ["bytes=200000-"]);
  assertEquals(stored(disk), data);
});

Deno.test("download() begins again when the file on the server has changed, or has no strong ETag", async () => {
  const { disk, run } = setUp([{ breakAfter: 100_000, changed: new Uint8Array(300_000) }]);
  await assertE2dError("download_interrupted", () => run({ triesMax: 1 }));
  const again = setUp([{ etag: '"two"' }], disk);
  await again.run();
  assertEquals(again.ranges, ["bytes=100000-"]);
  assertEquals(stored(disk), data);

  const weak = setUp([{ etag: 'W/"weak"', breakAfter: 100_000 }]);
  await weak.run();
  assertEquals(weak.ranges, [undefined, undefined]);
});

Deno.test("download() does not continue with bytes from another URL", async () => {
  const { disk, run } = setUp([{ breakAfter: 100_000 }]);
  await assertE2dError("download_interrupted", () => run({ triesMax: 1 }));
  const again = setUp([], disk);
  await again.run({ url: "http://127.0.0.1/other/etcd.tar.gz" });
  assertEquals(again.ranges, [undefined]);
});

Deno.test("download() downloads again without interruption when a continued file has a wrong checksum", async () => {
  const { disk, run } = setUp([{ breakAfter: 100_000, changed: new Uint8Array(300_000) }]);
  await assertE2dError("download_interrupted", () => run({ triesMax: 1 }));
  // The server kept its ETag although the file changed: only the checksum detects it.
  const again = setUp([], disk);
  await again.run();
  assertEquals(again.ranges, ["bytes=100000-", undefined]);
  assertEquals(stored(disk), data);
});

Deno.test("download() refuses a file with a wrong checksum and removes it", async () => {
  const { run, disk } = setUp([]);
  const error = await assertE2dError("checksum_mismatch", () => run({ sha256: other }));
  assertEquals(error.message, `Cannot use "${url}": its SHA-256 is ${sha256}, not ${other}`);
  assertEquals(stored(disk)!.length, 0);
});

Deno.test("download() uses a complete file without a request", async () => {
  const { run, disk } = setUp([]);
  await run();
  const again = setUp([{ refuse: true }], disk);
  await again.run();
  assertEquals(again.ranges, []);
});

Deno.test("download() detects a truncated answer on an intact connection", async () => {
  const { run } = setUp([{ cutAfter: 100_000 }]);
  const error = await assertE2dError("download_interrupted", () => run({ triesMax: 1 }));
  assert(error.message.endsWith("the answer ended after 100000 of 300000 bytes"), error.message);
});

Deno.test("download() fails when the mirror stalls at each attempt", async () => {
  const { run, ranges } = setUp([{ hangAfter: 0 }, { hangAfter: 0 }, { hangAfter: 0 }]);
  const error = await assertE2dError("download_stalled", run);
  assertEquals(error.message, `Cannot download "${url}": no data for 30000 ms after 0 bytes`);
  assertEquals(ranges.length, 3);
});

Deno.test("download() distinguishes a missing file, a busy server and no server", async () => {
  const missing = setUp([{ status: 404 }]);
  await assertE2dError("release_missing", missing.run);
  assertEquals(missing.ranges.length, 1);
  const busy = setUp([{ status: 503 }, { status: 429 }, { status: 500 }]);
  await assertE2dError("mirror_busy", busy.run);
  assertEquals(busy.ranges.length, 3);
  const forbidden = setUp([{ status: 403 }]);
  await assertE2dError("mirror_status", forbidden.run);
  const nobody = setUp([{ refuse: true }, { refuse: true }, { refuse: true }]);
  await assertE2dError("mirror_unreachable", nobody.run);
});

Deno.test("download() stops at its size limit, with and without a content-length", async () => {
  const { run, disk } = setUp([]);
  await assertE2dError("download_too_big", () => run({ sizeMaxBytes: 299_999 }));
  assertEquals(stored(disk)!.length, 0);
});

Deno.test("download() throws the signal's reason when it is aborted, and disk_full for a full disk", async () => {
  const stop = new AbortController();
  const reason = new Error("stopped");
  const { run } = setUp([]);
  const running = run({ signal: stop.signal, onProgress: () => stop.abort(reason) });
  await running.then(() => assert(false), (error) => assertEquals(error, reason));
  const full = setUp([]);
  full.disk.roomBytes = 60_000;
  await assertE2dError("disk_full", full.run);
});

Deno.test("shownUrl() hides a password", () => {
  assertEquals(shownUrl("https://bob:secret@mirror.test/etcd/x"), "https://mirror.test/etcd/x");
  assertEquals(shownUrl(url), url);
});
