import { isE2dError } from "../../lib/errors.ts";
import { accessPointRegion, parseS3Endpoint, parseStoreUrl } from "../../lib/storage/url.ts";
import { assert, assertEquals } from "../support/assert.ts";

const absolute = (path: string) => path.startsWith("/") ? path : `/cwd/${path}`;

Deno.test("parseStoreUrl() reads every form of the original, and refuses others", () => {
  const cases: [string, unknown][] = [
    ["file:///backups/db", { kind: "file", folder: "/backups", key: "db" }],
    ["file:///backups/", { kind: "file", folder: "/backups", key: "etcd.snapshot" }],
    ["file:///db", { kind: "file", folder: "/", key: "db" }],
    ["file://file", { kind: "file", folder: "/cwd", key: "file" }],
    ["s3://bucket", { kind: "s3", bucket: "bucket", key: "etcd.snapshot" }],
    ["s3://bucket/", { kind: "s3", bucket: "bucket", key: "etcd.snapshot" }],
    ["s3://bucket/a/b", { kind: "s3", bucket: "bucket", key: "a/b" }],
    ["s3://bucket/a/", { kind: "s3", bucket: "bucket", key: "a/etcd.snapshot" }],
    ["https://nyc3.digitaloceanspaces.com/space", {
      kind: "spaces",
      region: "nyc3",
      bucket: "space",
      key: "etcd.snapshot",
    }],
    ["https://nyc3.digitaloceanspaces.com/space/k", { kind: "spaces", region: "nyc3", bucket: "space", key: "k" }],
    ["", "store_url"],
    ["file://", "store_url"],
    ["file:///a/../b", "store_url"],
    ["s3://", "store_url"],
    ["s3://bucket/../x", "store_url"],
    ["https://example.com/space", "store_url"],
    ["ftp://x/y", "store_url"],
    ["/backups/db", "store_url"],
    ["file://./backups/db", { kind: "file", folder: "/cwd/./backups", key: "db" }],
    ["file:///backups/.", "store_url"],
    ["file:///backups/a\0b", "store_url"],
    ["s3://bucket/a/./b", "store_url"],
    ["s3://bucket/a\r\nHost: evil", "store_url"],
    ["s3://bucket\r\nHost:evil/a", "store_url"],
    ["s3://user:password@bucket/a", "store_url"],
    ["s3://bucket#.evil.example/a", "store_url"],
    [`s3://bucket/${"x".repeat(1_025)}`, "store_url"],
    ["https://evil.example#.digitaloceanspaces.com/space", "store_url"],
    ["https://evil.example/x.digitaloceanspaces.com/space", "store_url"],
  ];
  for (const [text, expected] of cases) {
    let found: unknown;
    try {
      found = parseStoreUrl(text, absolute);
    } catch (error) {
      found = isE2dError(error) ? error.code : error;
    }
    assertEquals(found, expected, text);
  }
});

Deno.test("parseStoreUrl() reads the parameters of an S3 URL, and refuses unknown and contradictory ones", () => {
  const settingsOf = (query: string) => {
    try {
      const url = parseStoreUrl(`s3://bucket/a+b?${query}`, absolute);
      return url.kind === "s3" ? [url.key, url.settings] : url.kind;
    } catch (error) {
      return isE2dError(error) ? error.code : error;
    }
  };
  const cases: [string, unknown][] = [
    ["", {}],
    ["region=eu-west-3&addressing=virtual", { region: "eu-west-3", addressing: "virtual" }],
    ["dual-stack=true&fips=false&requester-pays=true", { dualStack: true, fips: false, requesterPays: true }],
    ["sse=AES256&storage-class=STANDARD_IA", { encryption: "AES256", storageClass: "STANDARD_IA" }],
    ["kms-key=arn:aws:kms:eu-west-3:1:key/a-b", { kmsKey: "arn:aws:kms:eu-west-3:1:key/a-b", encryption: "aws:kms" }],
    ["sse=aws:kms:dsse&kms-key=alias/a", { kmsKey: "alias/a", encryption: "aws:kms:dsse" }],
    ["sse-c-key=keys/s3", { customerKeyPath: "/cwd/keys/s3" }],
    ["tag.team=a+b&tag.cost%20center=7%25", "store_url"],
    ["tag.team=a+b&tag.cost%20center=7", { tags: { team: "a+b", "cost center": "7" } }],
  ];
  for (const [query, expected] of cases) {
    const settings = typeof expected === "string" ? expected : ["a+b", expected];
    assertEquals(settingsOf(query), settings, query);
  }
  const refused = [
    "regio=eu-west-3",
    "region=eu/west",
    "region=",
    "addressing=dns",
    "fips=1",
    "sse=none",
    "sse=AES256&kms-key=alias/a",
    "sse=AES256&sse-c-key=/k",
    "sse-c-key=",
    "storage-class=DEEP_ARCHIVE",
    "storage-class=GLACIER",
    "__proto__=x",
    "tag.=x",
    "a#b",
  ];
  for (const query of refused) assertEquals(settingsOf(query), "store_url", query);
  for (const url of ["file:///a/b?sse=AES256", "https://nyc3.digitaloceanspaces.com/space/k?sse=AES256"]) {
    let code: unknown;
    try {
      code = parseStoreUrl(url, absolute);
    } catch (error) {
      code = isE2dError(error) ? error.code : error;
    }
    assertEquals(code, "store_url", url);
  }
});

Deno.test("parseStoreUrl() takes the ARN of an access point for a bucket", () => {
  for (
    const arn of [
      "arn:aws:s3:eu-west-1:123456789012:accesspoint/backups",
      "arn:aws-cn:s3:cn-north-1:123456789012:accesspoint:backups",
    ]
  ) {
    assertEquals(parseStoreUrl(`s3://${arn}/a/b`, absolute), { kind: "s3", bucket: arn, key: "a/b" });
    assertEquals(parseStoreUrl(`s3://${arn}`, absolute), { kind: "s3", bucket: arn, key: "etcd.snapshot" });
    assertEquals(accessPointRegion(arn), arn.split(":")[3]);
  }
  assertEquals(accessPointRegion("bucket"), undefined);
});

Deno.test("parseS3Endpoint() and parseStoreUrl() refuse credentials in an endpoint, and do not show them", () => {
  for (const parse of [parseS3Endpoint, (text: string) => parseStoreUrl(text, absolute)]) {
    for (const text of ["https://key:canary@host/x", "https://canary@host", "//a/canary@b", "s3://k:canary/x@b/c"]) {
      try {
        parse(text);
        throw new Error("it was taken");
      } catch (error) {
        assert(isE2dError(error, "store_url"), String(error));
        if (!text.startsWith("//")) assert(!/canary@/.test(error.message), error.message);
      }
    }
  }
});

Deno.test("parseS3Endpoint() accepts endpoints with a port and a path, and refuses invalid ones", () => {
  assertEquals(parseS3Endpoint("http://127.0.0.1:9000/"), "http://127.0.0.1:9000");
  assertEquals(parseS3Endpoint("https://minio.example/s3/"), "https://minio.example/s3");
  for (const text of ["", "minio:9000", "file:///etc", "https://", "https://a?b", "https://a#b", "https://a\r\n b/"]) {
    let code: string | undefined;
    try {
      parseS3Endpoint(text);
    } catch (error) {
      code = isE2dError(error) ? error.code : String(error);
    }
    assertEquals([text, code], [text, "store_url"]);
  }
});
