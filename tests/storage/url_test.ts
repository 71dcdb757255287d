import { isE2dError } from "../../lib/errors.ts";
import { parseStoreUrl } from "../../lib/storage/url.ts";
import { assertEquals } from "../support/assert.ts";

const absolute = (path: string) => path.startsWith("/") ? path : `/cwd/${path}`;

Deno.test("parseStoreUrl() reads every form of the original, and refuses the rest", () => {
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
