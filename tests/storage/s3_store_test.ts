import fc from "fast-check";
import { isE2dError } from "../../lib/errors.ts";
import type { Http } from "../../lib/ports.ts";
import { isPlainKey } from "../../lib/storage/key.ts";
import { S3Store } from "../../lib/storage/s3_store.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { streamOf } from "./contract.ts";

function storeOver(http: Http): S3Store {
  return new S3Store({
    name: "s3://bucket",
    bucket: "bucket",
    region: "eu-central-1",
    endpoint: "http://10.0.0.1:9000",
    credentials: () => Promise.resolve({ accessKeyId: "id", secretAccessKey: "canary" }),
  }, { http, clock: new TestClock(), random: { float: () => 0, bytes: (count) => new Uint8Array(count) } });
}

Deno.test("S3Store requests exactly the given key, or nothing", async () => {
  const asked: URL[] = [];
  const store = storeOver((url) => {
    asked.push(new URL(url));
    return Promise.resolve(new Response(null, { status: 204 }));
  });
  const part = fc.oneof(
    fc.constantFrom(
      ".",
      "..",
      "%2e%2e",
      "%2F",
      "?x=1",
      "#",
      "\\",
      "a b",
      "\r\nHost: evil",
      "\0",
      "@evil.example",
      "é+&=",
    ),
    fc.string({ unit: "binary", maxLength: 8 }),
  );
  let refused = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join("/")), async (key) => {
      asked.length = 0;
      try {
        await store.remove(key);
      } catch (error) {
        assert(isE2dError(error, "store_broken"), String(error));
        assertEquals(asked, []);
        refused++;
        return;
      }
      assert(isPlainKey(key), JSON.stringify(key));
      const [url, ...more] = asked;
      assertEquals([url!.host, url!.search, url!.hash, more.length], ["10.0.0.1:9000", "?x-id=DeleteObject", "", 0]);
      assertEquals(decodeURIComponent(url!.pathname), `/bucket/${key}`);
    }),
    { seed: 20261123, numRuns: 400 },
  );
  assert(refused > 40 && refused < 360, `${refused} of 400 keys were refused`);
});

Deno.test("S3Store omits keys from a listing that it cannot request", async () => {
  const store = storeOver(() =>
    Promise.resolve(
      new Response(
        `<ListBucketResult><IsTruncated>false</IsTruncated>${
          ["h/1", "h/../../other/1", "h/./2", "/h", "h/&#10;3", "h/4"].map((key) =>
            `<Contents><Key>${key}</Key><Size>1</Size><LastModified>2026-01-01T00:00:00Z</LastModified></Contents>`
          ).join("")
        }</ListBucketResult>`,
      ),
    )
  );
  assertEquals((await store.list("h/")).map(({ key }) => key).filter((key) => !isPlainKey(key)), []);
  assertEquals((await store.list("h/")).map(({ key }) => key).slice(-1), ["h/4"]);
});

Deno.test("S3Store does not reveal its secret if a request fails", async () => {
  const store = storeOver((_, init) =>
    Promise.resolve(
      new Response(
        `<Error><Code>SignatureDoesNotMatch</Code><Message>no</Message><Auth>${
          new Headers(init?.headers).get("authorization")
        }</Auth></Error>`,
        {
          status: 403,
        },
      ),
    )
  );
  for (
    const act of [() => store.read("a"), () => store.list(""), () => store.write("a", streamOf(new Uint8Array(1)))]
  ) {
    try {
      await act();
      throw new Error("it was allowed");
    } catch (error) {
      assert(isE2dError(error, "store_forbidden"), String(error));
      assert(!/canary|AWS4-HMAC|Signature=/.test(`${error.message} ${error.hint} ${error.cause}`), error.message);
    }
  }
});
