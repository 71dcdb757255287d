/** What the S3 store sends: options of the URL, conditions, copies, the rest of a cut download, the region of a bucket. */
import { createHash } from "node:crypto";
import type { Http } from "../../lib/ports.ts";
import { type S3Options, S3Store } from "../../lib/storage/s3_store.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { bytesOf, contentOf, streamOf } from "./contract.ts";

interface Sent {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: string;
}

/** A store whose requests `answer` answers; without an answer: 200. Waits between tries end at once. */
function storeWith(
  options: Partial<S3Options> = {},
  answer: (sent: Sent, count: number) => Response | undefined = () => undefined,
) {
  const sent: Sent[] = [];
  const http: Http = (url, init) => {
    const body = typeof init?.body === "string" ? init.body : `${(init?.body as Uint8Array | undefined)?.length ?? 0}`;
    const one = { method: init?.method ?? "GET", url: new URL(url), headers: new Headers(init?.headers), body };
    sent.push(one);
    try {
      return Promise.resolve(answer(one, sent.length - 1) ?? new Response(null));
    } catch (error) {
      return Promise.reject(error);
    }
  };
  const clock = new TestClock();
  const sleep = (ms: number, signal?: AbortSignal) => ms < 10_000 ? Promise.resolve() : clock.sleep(ms, signal);
  const store = new S3Store({
    name: "s3://bucket",
    bucket: "bucket",
    region: "eu-central-1",
    credentials: () => Promise.resolve({ accessKeyId: "id", secretAccessKey: "canary" }),
    ...options,
  }, {
    http,
    clock: { wallMs: clock.wallMs, monotonicMs: clock.monotonicMs, sleep },
    random: { float: () => 0, bytes: (count) => new Uint8Array(count) },
  });
  return { store, sent };
}

const error = (code: string, more = "") => `<?xml version="1.0"?><Error><Code>${code}</Code>${more}</Error>`;
const listing = '<?xml version="1.0"?><ListBucketResult></ListBucketResult>';
const begun = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
const completed = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
const copied = "<CopyObjectResult><ETag>e</ETag></CopyObjectResult>";
const copiedPart = "<CopyPartResult><ETag>e</ETag></CopyPartResult>";
const endpoint = "http://10.0.0.1:9000";

/** Answers every step of an upload. */
function uploadAnswers({ method, url }: Sent): Response | undefined {
  if (method === "PUT") return new Response(null, { headers: { etag: '"e"' } });
  if (method === "POST") return new Response(url.searchParams.has("uploads") ? begun : completed);
  return undefined;
}

Deno.test("S3Store: every PUT has a CRC32 of its content, which the signature covers", async () => {
  const { store, sent } = storeWith({}, uploadAnswers);
  await store.write("k", streamOf(new TextEncoder().encode("123456789")));
  // The check value of CRC-32: 0xcbf43926.
  assertEquals(sent[0]!.headers.get("x-amz-checksum-crc32"), "y/Q5Jg==");
  assert(sent[0]!.headers.get("authorization")!.includes("x-amz-checksum-crc32"));
  sent.length = 0;
  await store.write("k", streamOf(new Uint8Array(26_000_000)));
  const parts = sent.filter(({ method }) => method === "PUT");
  assertEquals(parts.map(({ url }) => url.searchParams.get("partNumber")).sort(), ["1", "2", "3"]);
  assert(parts.every(({ headers }) => headers.has("x-amz-checksum-crc32")));
  assertEquals(sent[0]!.headers.get("x-amz-checksum-algorithm"), "CRC32");
});

Deno.test("S3Store sends encryption, storage class, tags and requester pays with each request that has them", async () => {
  const { store, sent } = storeWith({
    encryption: "aws:kms",
    kmsKey: "alias/backup",
    storageClass: "STANDARD_IA",
    tags: { team: "db & co", env: "a+b" },
    requesterPays: true,
  }, uploadAnswers);
  const sentWith = ({ headers }: Sent) =>
    ["", "-aws-kms-key-id"].map((name) => headers.get(`x-amz-server-side-encryption${name}`)).concat(
      ["x-amz-storage-class", "x-amz-tagging", "x-amz-request-payer"].map((name) => headers.get(name)),
    );
  const all = ["aws:kms", "alias/backup", "STANDARD_IA", "team=db%20%26%20co&env=a%2Bb", "requester"];
  await store.write("k", streamOf(bytesOf(5)));
  await store.write("k", streamOf(new Uint8Array(13_000_000)));
  const [put, create] = sent;
  assertEquals([sentWith(put!), sentWith(create!)], [all, all]);
  sent.length = 0;
  for (const act of [() => store.read("k"), () => store.info("k"), () => store.remove("k")]) {
    await act().catch(() => {});
  }
  assert(sent.length >= 3 && sent.every(({ headers }) => headers.get("x-amz-request-payer") === "requester"));
});

Deno.test("S3Store sends the customer's key with each request for content, and no other place has it", async () => {
  const customerKey = new Uint8Array(32).fill(7);
  const { store, sent } = storeWith(
    { customerKey },
    (one) =>
      one.method === "HEAD"
        ? new Response(null, { headers: { "content-length": "5" } })
        : one.headers.has("x-amz-copy-source")
        ? new Response(copied)
        : uploadAnswers(one) ?? new Response("12345", { headers: { "content-length": "5" } }),
  );
  await store.write("k", streamOf(bytesOf(5)));
  await store.read("k");
  await store.info("k");
  await store.copy("k", "l");
  const names = ["algorithm", "key", "key-md5"];
  const keyMd5 = createHash("md5").update(customerKey).digest("base64");
  const prefix = "x-amz-server-side-encryption-customer-";
  for (const { headers, url } of sent) {
    assertEquals(names.map((name) => headers.get(`${prefix}${name}`)), [
      "AES256",
      customerKey.toBase64(),
      keyMd5,
    ]);
    assert(!url.href.includes(customerKey.toBase64()));
  }
  assertEquals(
    sent.at(-1)!.headers.get("x-amz-copy-source-server-side-encryption-customer-key"),
    customerKey.toBase64(),
  );
});

Deno.test("S3Store asks the host of its bucket: region, partition, dual stack, FIPS, access point, addressing", async () => {
  const accessPoint = "arn:aws:s3:eu-west-1:123456789012:accesspoint/backups";
  const cases: [Partial<S3Options>, string][] = [
    [{}, "https://bucket.s3.eu-central-1.amazonaws.com/k"],
    [{ region: "us-east-1" }, "https://bucket.s3.us-east-1.amazonaws.com/k"],
    [{ region: "cn-north-1" }, "https://bucket.s3.cn-north-1.amazonaws.com.cn/k"],
    [{ bucket: "my.bucket" }, "https://s3.eu-central-1.amazonaws.com/my.bucket/k"],
    [{ addressing: "path" }, "https://s3.eu-central-1.amazonaws.com/bucket/k"],
    [{ dualStack: true }, "https://bucket.s3.dualstack.eu-central-1.amazonaws.com/k"],
    [{ region: "us-east-2", fips: true }, "https://bucket.s3-fips.us-east-2.amazonaws.com/k"],
    [{ bucket: accessPoint }, "https://backups-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/k"],
    [{ endpoint }, `${endpoint}/bucket/k`],
    [{ endpoint: "https://minio.example/s3" }, "https://minio.example/s3/bucket/k"],
    [{ endpoint: "https://minio.example:9000", addressing: "virtual" }, "https://bucket.minio.example:9000/k"],
    // They are of AWS alone.
    [{ endpoint, dualStack: true, fips: true }, `${endpoint}/bucket/k`],
  ];
  for (const [options, host] of cases) {
    const { store, sent } = storeWith(options);
    await store.remove("k");
    assertEquals(sent.map(({ url }) => `${url.origin}${url.pathname}`), [host], JSON.stringify(options));
    assert(sent[0]!.headers.get("authorization")!.startsWith("AWS4-HMAC-SHA256"));
  }
});

Deno.test("S3Store follows a bucket to its region once, whatever kind of answer names it", async () => {
  const answers: Record<string, () => Response> = {
    "301 with a header, as HEAD has it": () =>
      new Response(null, { status: 301, headers: { "x-amz-bucket-region": "eu-west-3" } }),
    "400 without a body": () => new Response(null, { status: 400, headers: { "x-amz-bucket-region": "eu-west-3" } }),
    "307": () =>
      new Response(error("TemporaryRedirect"), { status: 307, headers: { "x-amz-bucket-region": "eu-west-3" } }),
    "a malformed authorization": () =>
      new Response(error("AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>"), { status: 400 }),
    "a message": () =>
      new Response(
        error("AuthorizationHeaderMalformed", "<Message>the region 'x' is wrong; expecting 'eu-west-3'</Message>"),
        { status: 400 },
      ),
  };
  for (const [name, wrong] of Object.entries(answers)) {
    const { store, sent } = storeWith(
      {},
      (one) => one.url.hostname.includes("eu-west-3") ? new Response(listing) : wrong(),
    );
    assertEquals(await store.list("h/"), [], name);
    assertEquals(await store.list("h/"), [], name);
    assertEquals(sent.map(({ url }) => url.hostname.split(".")[2]), ["eu-central-1", "eu-west-3", "eu-west-3"], name);
    assert(sent[1]!.headers.get("authorization")!.includes("/eu-west-3/s3/"), name);
  }
  for (const region of [undefined, "eu-central-1"]) {
    const { store, sent } = storeWith(
      {},
      () => new Response(error("PermanentRedirect", region && `<Region>${region}</Region>`), { status: 301 }),
    );
    await assertE2dError("store_region", () => store.list("h/"));
    assertEquals(sent.length, 1);
  }
});

Deno.test("S3Store asks for other credentials once when the store calls them expired", async () => {
  const asked: (string | undefined)[] = [];
  const { store, sent } = storeWith(
    {
      credentials: (_, refused) => {
        asked.push(refused?.accessKeyId);
        return Promise.resolve({ accessKeyId: refused === undefined ? "old" : "new", secretAccessKey: "s" });
      },
    },
    ({ headers }) =>
      headers.get("authorization")!.includes("Credential=old/")
        ? new Response(error("ExpiredToken"), { status: 400 })
        : new Response(listing),
  );
  assertEquals(await store.list("h/"), []);
  assertEquals([[...new Set(asked)], sent.length], [[undefined, "old"], 2]);
  const lasting = storeWith({}, () => new Response(error("ExpiredToken"), { status: 400 }));
  await assertE2dError("store_broken", () => lasting.store.list("h/"));
  assertEquals(lasting.sent.length, 2);
});

Deno.test("S3Store: a write to an absent key fails if another writer was first, and works in a store without conditions", async () => {
  const taken = storeWith({}, () => new Response(error("PreconditionFailed"), { status: 412 }));
  await assertE2dError("store_exists", () => taken.store.write("k", streamOf(bytesOf(5)), { ifAbsent: true }));
  assertEquals(taken.sent.map(({ headers }) => headers.get("if-none-match")), ["*"]);
  const late = storeWith(
    {},
    (one) =>
      one.method === "POST" && !one.url.searchParams.has("uploads")
        ? new Response(error("PreconditionFailed"), { status: 412 })
        : uploadAnswers(one),
  );
  const write = () => late.store.write("k", streamOf(new Uint8Array(13_000_000)), { ifAbsent: true });
  await assertE2dError("store_exists", write);
  assertEquals(late.sent.at(-1)!.method, "DELETE");
  const old = storeWith(
    {},
    ({ headers }) => headers.has("if-none-match") ? new Response(error("NotImplemented"), { status: 501 }) : undefined,
  );
  for (let round = 0; round < 2; round++) await old.store.write("k", streamOf(bytesOf(5)), { ifAbsent: true });
  assertEquals(old.sent.map(({ headers }) => headers.get("if-none-match")), ["*", null, null]);
});

Deno.test("S3Store: a conditional write whose answer was lost counts as done if the object is there", async () => {
  for (const [size, outcome] of [["5", "written"], ["6", "store_exists"]] as const) {
    const date = "Sun, 29 Nov 2026 10:00:03 GMT";
    const { store } = storeWith({}, ({ method }, count) => {
      if (method === "HEAD") return new Response(null, { headers: { "content-length": size, "last-modified": date } });
      if (count === 0) throw new TypeError("connection reset");
      return new Response(error("PreconditionFailed"), { status: 412, headers: { date } });
    });
    const written = store.write("k", streamOf(bytesOf(5)), { ifAbsent: true });
    assertEquals(await written.then(() => "written", (error) => error.code), outcome);
  }
});

Deno.test("S3Store copies in the store, in parts above the limit of one request, and reports what it cannot copy", async () => {
  const head = (size: number) => new Response(null, { headers: { "content-length": `${size}` } });
  const small = storeWith({}, ({ method }) => method === "HEAD" ? head(5) : new Response(copied));
  assertEquals(await small.store.copy("a b/é+", "to"), true);
  assertEquals(small.sent[1]!.headers.get("x-amz-copy-source"), "bucket/a%20b/%C3%A9%2B");
  assertEquals(small.sent[1]!.headers.get("x-amz-tagging-directive"), null);

  const large = storeWith({ copyMaxBytes: 10 }, ({ method, url }) => {
    if (method === "HEAD") return head(25);
    if (method === "PUT") return new Response(copiedPart);
    return new Response(url.searchParams.has("uploads") ? begun : completed);
  });
  assertEquals(await large.store.copy("from", "to"), true);
  const ranges = large.sent.map(({ headers }) => headers.get("x-amz-copy-source-range")).filter((range) => range);
  assertEquals(ranges, ["bytes=0-9", "bytes=10-19", "bytes=20-24"]);
  assert(large.sent.at(-1)!.body.includes("<PartNumber>3</PartNumber>"));

  const absent = storeWith(
    {},
    ({ method }) => new Response(method === "HEAD" ? null : error("NoSuchKey"), { status: 404 }),
  );
  assertEquals(await absent.store.copy("from", "to"), false);
  const unable = storeWith(
    {},
    ({ method }) => method === "HEAD" ? head(5) : new Response(error("NotImplemented"), { status: 501 }),
  );
  assertEquals(await unable.store.copy("from", "to"), false);
  // An error in the body of a 200.
  const failing = storeWith({}, ({ method }) => method === "HEAD" ? head(5) : new Response(error("InternalError")));
  await assertE2dError("store_broken", () => failing.store.copy("from", "to"));
  assertEquals(failing.sent.length, 6);
  const broken = storeWith({ copyMaxBytes: 10 }, ({ method, url }) => {
    if (method === "HEAD") return head(25);
    if (method === "PUT") return new Response(error("AccessDenied"), { status: 403 });
    return url.searchParams.has("uploads") ? new Response(begun) : undefined;
  });
  await assertE2dError("store_forbidden", () => broken.store.copy("from", "to"));
  assertEquals(broken.sent.at(-1)!.method, "DELETE");
});

/** Sends `bytes` from the offset of the request, and breaks off after `piece` bytes. */
function cutAnswers(bytes: Uint8Array<ArrayBuffer>, piece: number, etag: string | null = '"v1"') {
  return ({ headers, method }: Sent): Response => {
    if (method === "HEAD") return new Response(null, { headers: { "content-length": `${bytes.length}` } });
    const from = Number(/^bytes=(\d+)-$/.exec(headers.get("range") ?? "")?.[1] ?? 0);
    let sent = false;
    const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
      pull(controller) {
        if (sent && from + piece < bytes.length) return controller.error(new TypeError("reset"));
        if (sent) return controller.close();
        sent = true;
        controller.enqueue(bytes.slice(from, from + piece));
      },
    }, { highWaterMark: 0 });
    return new Response(body, {
      status: headers.has("range") ? 206 : 200,
      headers: {
        "content-length": `${bytes.length - from}`,
        ...(etag === null ? {} : { etag }),
        ...(headers.has("range") ? { "content-range": `bytes ${from}-${bytes.length - 1}/${bytes.length}` } : {}),
      },
    });
  };
}

Deno.test("S3Store: a download that is cut continues where it ended, with the same object", async () => {
  const bytes = bytesOf(10_000);
  const { store, sent } = storeWith({}, cutAnswers(bytes, 700));
  assertEquals(await contentOf(store, "k"), bytes);
  assertEquals(sent.length, 15);
  assertEquals([sent[1]!.headers.get("range"), sent[1]!.headers.get("if-match")], ["bytes=700-", '"v1"']);
});

Deno.test("S3Store: a cut download fails if the object was replaced, the store has no ranges, or nothing more comes", async () => {
  const bytes = bytesOf(1_000);
  const codeOf = (answer: (sent: Sent, count: number) => Response | undefined) => {
    const { store, sent } = storeWith({}, answer);
    return contentOf(store, "k").then(() => "read", (error) => [error.code, sent.length, error.message]);
  };
  const whole = cutAnswers(bytes, 300);
  const replaced = await codeOf((one, count) =>
    count === 0 ? whole(one) : new Response(error("PreconditionFailed"), { status: 412 })
  );
  assertEquals(replaced, ["store_broken", 2, 'Cannot read "k" in s3://bucket: it was replaced while it was read']);
  const [withoutRanges] = await codeOf((one) => whole({ ...one, headers: new Headers() }));
  assertEquals(withoutRanges, "store_unreachable");
  const [withoutEtag, requests] = await codeOf(cutAnswers(bytes, 300, null));
  assertEquals([withoutEtag, requests], ["store_unreachable", 1]);
  const [silent, tries] = await codeOf((one, count) => count === 0 ? whole(one) : cutAnswers(bytes, 0)(one));
  assertEquals([silent, tries], ["store_unreachable", 5]);
});

Deno.test("S3Store removes uploads that were begun before a time, and lists them once an hour", async () => {
  const upload = (key: string, id: string, day: number) =>
    `<Upload><Key>${key}</Key><UploadId>${id}</UploadId><Initiated>2026-11-${day}T00:00:00.000Z</Initiated></Upload>`;
  const pages = [
    `<IsTruncated>true</IsTruncated><NextKeyMarker>db</NextKeyMarker><NextUploadIdMarker>a</NextUploadIdMarker>` +
    upload("db", "a", 10),
    `<EncodingType>url</EncodingType>${upload("db.history/a+b%2Bc", "b", 10)}${upload("db", "new", 29)}` +
    upload("other", "c", 10),
  ];
  const { store, sent } = storeWith({}, ({ method, url }) => {
    if (method === "DELETE") {
      const gone = url.searchParams.get("uploadId") === "b";
      return new Response(gone ? error("NoSuchUpload") : null, { status: gone ? 404 : 204 });
    }
    const page = pages[url.searchParams.has("key-marker") ? 1 : 0];
    return new Response(`<ListMultipartUploadsResult>${page}</ListMultipartUploadsResult>`);
  });
  assertEquals(await store.removeCutWrites("db", Date.parse("2026-11-20T00:00:00Z")), 2);
  const removed = sent.filter(({ method }) => method === "DELETE").map(({ url }) => decodeURIComponent(url.pathname));
  assertEquals(removed, ["/db", "/db.history/a b+c"]);
  assertEquals(await store.removeCutWrites("db.history/", Date.parse("2026-11-20T00:00:00Z")), 0);
  assertEquals(sent.length, 4);
  for (const [status, code] of [[403, "AccessDenied"], [501, "NotImplemented"]] as const) {
    const refusing = storeWith({}, () => new Response(error(code), { status }));
    assertEquals(await refusing.store.removeCutWrites("db", 0), 0);
  }
  const circle = storeWith(
    {},
    () => new Response(`<ListMultipartUploadsResult>${pages[0]}</ListMultipartUploadsResult>`),
  );
  await assertE2dError("store_broken", () => circle.store.removeCutWrites("db", 0));
});

Deno.test("S3Store: the signal of a write ends its requests, and its parts are removed", async () => {
  const abort = new AbortController();
  const requests: string[] = [];
  const http: Http = (url, init) => {
    const { search } = new URL(url);
    requests.push(`${init?.method} ${search}`);
    if (init?.method === "POST") return Promise.resolve(new Response(begun));
    if (init?.method === "DELETE") return Promise.resolve(new Response(null, { status: 204 }));
    abort.abort(new Error("enough"));
    return Promise.reject(init!.signal!.reason);
  };
  const clock = new TestClock();
  const writing = new S3Store({
    name: "s3://bucket",
    bucket: "bucket",
    region: "eu-central-1",
    endpoint,
    credentials: () => Promise.resolve({ accessKeyId: "id", secretAccessKey: "canary" }),
  }, { http, clock, random: { float: () => 0, bytes: (count) => new Uint8Array(count) } });
  const failure = await writing.write("k", streamOf(new Uint8Array(30_000_000)), { signal: abort.signal }).then(
    () => "written",
    (error) => error.message,
  );
  assertEquals(failure, "enough");
  assert(requests.at(-1)!.startsWith("DELETE "), requests.join("\n"));
});
