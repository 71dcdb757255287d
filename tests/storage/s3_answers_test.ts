/** What an S3 store, or what answers in its place, may say: nothing but a proper NoSuchKey is absence. */
import fc from "fast-check";
import type { Http } from "../../lib/ports.ts";
import { isPlainKey } from "../../lib/storage/key.ts";
import { parseListing } from "../../lib/storage/s3_answer.ts";
import { S3Store } from "../../lib/storage/s3_store.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { bytesOf, contentOf, streamOf } from "./contract.ts";

function storeOver(http: Http): S3Store {
  // Waits between tries end at once; deadlines never come.
  const clock = new TestClock();
  const sleep = (ms: number, signal?: AbortSignal) => ms < 10_000 ? Promise.resolve() : clock.sleep(ms, signal);
  return new S3Store({
    name: "s3://bucket",
    bucket: "bucket",
    region: "eu-central-1",
    endpoint: "http://10.0.0.1:9000",
    credentials: () => Promise.resolve({ accessKeyId: "id", secretAccessKey: "canary" }),
  }, {
    http,
    clock: { wallMs: clock.wallMs, monotonicMs: clock.monotonicMs, sleep },
    random: { float: () => 0, bytes: (count) => new Uint8Array(count) },
  });
}

const answer = (body: string | null, init: ResponseInit = {}) => Promise.resolve(new Response(body, init));
const error = (code: string) => `<?xml version="1.0"?><Error><Code>${code}</Code><Message>x</Message></Error>`;
const methodOf = (init: RequestInit | undefined) => init?.method ?? "GET";
const listing = (inner: string) => `<?xml version="1.0"?><ListBucketResult>${inner}</ListBucketResult>`;
const entry = (key: string, size = 1) =>
  `<Contents><Key>${key}</Key><Size>${size}</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`;

Deno.test("S3Store: a 404 is absence only when the store itself answers NoSuchKey", async () => {
  const pages = ["", "<html><body>404 page not found</body></html>", "404 page not found", '{"error":"not found"}'];
  for (const page of [...pages, error("NoSuchThing"), error("NoSuchVersion")]) {
    const store = storeOver((_, init) => answer(methodOf(init) === "HEAD" ? null : page, { status: 404 }));
    for (
      const act of [() => store.read("k"), () => store.info("k"), () => store.list("k"), () => store.remove("k")]
    ) await assertE2dError("store_broken", act);
  }
  const nothing = storeOver((_, init) =>
    answer(methodOf(init) === "HEAD" ? null : error("NoSuchKey"), { status: 404 })
  );
  assertEquals([await nothing.read("k"), await nothing.info("k")], [undefined, undefined]);
  await nothing.remove("k");
  const bucketless = storeOver((_, init) =>
    answer(methodOf(init) === "HEAD" ? null : error("NoSuchBucket"), { status: 404 })
  );
  for (const act of [() => bucketless.read("k"), () => bucketless.info("k"), () => bucketless.list("k")]) {
    await assertE2dError("store_missing", act);
  }
});

Deno.test("S3Store: a HEAD that contradicts GET is repeated, and never means absence", async () => {
  for (const [lies, outcome] of [[1, 5], [9, "store_broken"]] as const) {
    let heads = 0;
    const store = storeOver((_, init) =>
      methodOf(init) === "HEAD" && heads++ < lies
        ? answer(null, { status: 404 })
        : answer(methodOf(init) === "HEAD" ? null : "12345", { headers: { "content-length": "5" } })
    );
    if (typeof outcome === "string") await assertE2dError(outcome, () => store.info("k"));
    else assertEquals((await store.info("k"))?.size, outcome);
  }
});

Deno.test("S3Store: an incomplete listing is an error, not an empty listing", async () => {
  const cut = listing(`${entry("h/1")}<IsTruncated>true</IsTruncated>`);
  for (
    const body of [
      "",
      "<",
      "<a",
      "{}",
      "<html></html>",
      "<ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>",
      listing(entry("h/1")).slice(0, -20),
      "<ListBucketResult>",
      cut,
      listing(`<IsTruncated>true</IsTruncated><NextContinuationToken></NextContinuationToken>`),
      listing("<KeyCount>2</KeyCount><IsTruncated>false</IsTruncated>"),
      listing("<Contents/>"),
      listing("<Contents><Key>h/1</Key></Contents>"),
      listing(`<EncodingType>url</EncodingType>${entry("h/%zz")}`),
      // The same page for ever.
      cut.replace("</IsTruncated>", "</IsTruncated><NextContinuationToken>t</NextContinuationToken>"),
    ]
  ) {
    const store = storeOver(() => answer(body));
    const failure = await assertE2dError("store_broken", () => store.list("h/"));
    assert(failure.message.includes("Cannot list") && !failure.message.includes("\n"), failure.message);
  }
  assertEquals(await storeOver(() => answer(listing("<IsTruncated>false</IsTruncated>"))).list("h/"), []);
  assertEquals(await storeOver(() => answer("<ListBucketResult/>")).list("h/"), []);
});

Deno.test("S3Store: repeated continuation tokens end the listing with an error, a long listing ends normally", async () => {
  const paged = (tokenAfter: (token: string | undefined) => string | undefined) =>
    storeOver((url) => {
      const token = new URL(String(url)).searchParams.get("continuation-token") ?? undefined;
      const next = tokenAfter(token);
      const more = next === undefined
        ? ""
        : `<IsTruncated>true</IsTruncated><NextContinuationToken>${next}</NextContinuationToken>`;
      return answer(listing(`${entry(`h/${token ?? "first"}`)}${more}`));
    });
  for (const length of [1, 2, 3]) {
    const circle = paged((token) => String(token === undefined ? 0 : (Number(token) + 1) % length));
    const failure = await assertE2dError("store_broken", () => circle.list("h/"));
    assert(failure.message.includes("goes in a circle"), failure.message);
  }
  const long = paged((token) => token === "19" ? undefined : String(Number(token ?? -1) + 1));
  assertEquals((await long.list("h/")).length, 21);
});

const escaped = (key: string) =>
  key.replace(/[&<>'"\t]/g, (char) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", "'": "&#39;", '"': "&#34;" })[char]!);
const encodings: Record<string, (key: string) => string> = {
  "URL, a blank as +": (key) => encodeURIComponent(key).replaceAll("%20", "+"),
  "URL, a blank as %20": (key) => encodeURIComponent(key).replaceAll("%2F", "/"),
  "XML, decimal entities": escaped,
  "XML, hexadecimal entities": (key) => escaped(key).replaceAll("&#39;", "&#x27;").replaceAll("&#34;", "&#x22;"),
};

Deno.test("parseListing() returns every key as it was written, in each encoding of stores", () => {
  const odd = fc.constantFrom(
    "'",
    '"',
    "&#39;",
    "&amp;",
    " ",
    "+",
    "%",
    "%20",
    "%2B",
    "é",
    "𝕊",
    "<",
    ">",
    "&",
    "/",
    "~",
  );
  const key = fc.array(fc.oneof(odd, fc.string({ unit: "grapheme", maxLength: 3 })), { minLength: 1, maxLength: 6 })
    .map((parts) => parts.join("")).filter(isPlainKey);
  for (const [name, encode] of Object.entries(encodings)) {
    const mark = name.startsWith("URL") ? "<EncodingType>url</EncodingType>" : "";
    fc.assert(
      fc.property(fc.uniqueArray(key, { maxLength: 5 }), (keys) => {
        const text = listing(`${mark}${keys.map((key) => entry(encode(key))).join("\n ")}`);
        assertEquals(parseListing(text).objects.map(({ key }) => key), keys);
      }),
      { seed: 20261129, numRuns: 300 },
    );
  }
});

Deno.test("S3Store: blanks of a prefix are sent as %20, never as a plus sign", async () => {
  const asked: string[] = [];
  const store = storeOver((url) => {
    asked.push(String(url));
    return answer(listing(""));
  });
  await store.list("a b+c ");
  assert(asked[0]!.includes("prefix=a%20b%2Bc%20"), asked[0]);
  assert(asked[0]!.includes("encoding-type=url"), asked[0]);
});

Deno.test("S3Store: an object without Content-Length is read completely, with its length from HEAD or the listing", async () => {
  for (const head of [{ "content-length": "1000" }, {} as Record<string, string>]) {
    const store = storeOver((url, init) => {
      if (methodOf(init) === "HEAD") return answer(null, { headers: head });
      if (String(url).includes("list-type")) return answer(listing(entry("k2", 3) + entry("k", 1000)));
      return Promise.resolve(new Response(streamOf(bytesOf(1_000), 300)));
    });
    assertEquals(await contentOf(store, "k"), bytesOf(1_000));
    assertEquals((await store.info("k"))?.size, 1_000);
  }
  const unknown = storeOver((url, init) =>
    String(url).includes("list-type")
      ? answer(listing(""))
      : answer(methodOf(init) === "HEAD" ? null : "x", { headers: {} })
  );
  const read = await unknown.read("k").then((object) => object?.size, (failure) => failure.code);
  assert(read === "store_broken" || read === 1, String(read));
});

Deno.test("S3Store: RequestTimeout with status 400, and an error in the body of a 200, are retried", async () => {
  let count = 0;
  const slow = storeOver(() => count++ < 2 ? answer(error("RequestTimeout"), { status: 400 }) : answer(listing("")));
  assertEquals(await slow.list(""), []);
  assertEquals(count, 3);
  count = 0;
  const broken = storeOver(() => count++ < 2 ? answer(error("InternalError")) : answer(listing("")));
  assertEquals(await broken.list(""), []);
  const lasting = storeOver(() => answer(error("InvalidRequest")));
  await assertE2dError("store_broken", () => lasting.list(""));
});

/** An upload of two parts; `complete` answers the n-th CompleteMultipartUpload. */
function uploadStore(complete: (count: number) => Promise<Response>, head: Record<string, string> | undefined) {
  let completes = 0;
  const undone: string[] = [];
  const store = storeOver((url, init) => {
    const { search } = new URL(String(url));
    const method = methodOf(init);
    if (method === "DELETE") undone.push(search);
    if (method === "DELETE") return answer(null, { status: 204 });
    if (method === "PUT") return answer(null, { headers: { etag: '"e"' } });
    if (method === "HEAD") return head ? answer(null, { headers: head }) : answer(null, { status: 404 });
    if (method === "GET") return answer(error("NoSuchKey"), { status: 404 });
    if (search.includes("uploadId")) return complete(completes++);
    const headers = { date: "Sun, 29 Nov 2026 10:00:00 GMT" };
    const begun = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>";
    return answer(begun, { headers });
  });
  return { store, undone };
}

const uploaded = "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>";
const bytes = new Uint8Array(13_000_000);

Deno.test("S3Store: completing an upload is retried after an error in the body of a 200", async () => {
  const { store, undone } = uploadStore((count) => count < 2 ? answer(error("InternalError")) : answer(uploaded), {});
  assertEquals(await store.write("k", streamOf(bytes)), { size: bytes.length });
  assertEquals(undone, []);
});

Deno.test("S3Store: NoSuchUpload after a lost answer is success if the object exists, and an error otherwise", async () => {
  const lost = (count: number) =>
    count === 0 ? Promise.reject(new TypeError("connection reset")) : answer(error("NoSuchUpload"), { status: 404 });
  const modified = (at: string, size = bytes.length) => ({ "content-length": String(size), "last-modified": at });
  const done = uploadStore(lost, modified("Sun, 29 Nov 2026 10:00:03 GMT"));
  assertEquals(await done.store.write("k", streamOf(bytes)), { size: bytes.length });
  for (
    const head of [
      undefined,
      // Of an earlier upload, or of another size.
      modified("Sun, 29 Nov 2026 09:00:00 GMT"),
      modified("Sun, 29 Nov 2026 10:00:03 GMT", 5),
    ]
  ) {
    const failed = uploadStore(lost, head);
    await assertE2dError("store_upload_gone", () => failed.store.write("k", streamOf(bytes)));
    assertEquals(failed.undone.length, 1);
  }
});

Deno.test("S3Store: a listing whose body stalls is aborted, and a broken one is retried", async () => {
  let count = 0;
  const store = storeOver(() => {
    if (count++ > 0) return answer(listing(""));
    return Promise.resolve(
      new Response(new ReadableStream({ pull: (controller) => controller.error(new Error("cut")) })),
    );
  });
  assertEquals(await store.list(""), []);
  assertEquals(count, 2);
});
