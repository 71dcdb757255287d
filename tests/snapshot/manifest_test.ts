import fc from "fast-check";
import { decodeManifest, encodeManifest, type Manifest } from "../../lib/snapshot/manifest.ts";
import { isE2dError } from "../../lib/errors.ts";
import { assert, assertEquals } from "../support/assert.ts";

const sample: Manifest = {
  version: 1,
  key: "db.history/20260101T000000Z-7",
  size: 100,
  sha256: "a".repeat(64),
  plainBytes: 90,
  plainSha256: "b".repeat(64),
  revision: 7,
  clusterId: "cdf818194e3a8c32",
  lineage: { id: "l", epoch: 2, token: "t" },
  format: "v2",
  compression: "zstd",
  etcdVersion: "3.6.14",
  takenAt: "2026-01-01T00:00:00.000Z",
  verifiedAt: "2026-01-01T00:00:01.000Z",
};
const bytes = (value: unknown) => new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

function codeOf(data: Uint8Array): string {
  try {
    decodeManifest("m", data);
    return "taken";
  } catch (error) {
    if (isE2dError(error)) return error.code;
    throw error;
  }
}

Deno.test("decodeManifest() reads what encodeManifest() writes", () => {
  assertEquals(decodeManifest("m", bytes(encodeManifest(sample))), sample);
});

Deno.test("decodeManifest() refuses missing or invalid fields, another version and too much data", () => {
  for (const field of Object.keys(sample)) {
    const { [field as keyof Manifest]: _, ...rest } = sample;
    assertEquals([field, codeOf(bytes(rest))], [field, "manifest_unreadable"]);
  }
  const wrong: Record<string, unknown>[] = [
    { version: 2 },
    { size: -1 },
    { size: 1.5 },
    { revision: "7" },
    { sha256: "A".repeat(64) },
    { plainSha256: "b".repeat(63) },
    { lineage: { id: "l", epoch: -1, token: "t" } },
    { lineage: null },
    { format: "v3" },
    { compression: "lz4" },
    { takenAt: "yesterday" },
  ];
  for (const change of wrong) {
    assertEquals([change, codeOf(bytes({ ...sample, ...change }))], [change, "manifest_unreadable"]);
  }
  assertEquals(codeOf(bytes({ ...sample, note: "x".repeat(70_000) })), "manifest_unreadable");
});

Deno.test("decodeManifest() throws only manifest_unreadable for any bytes", () => {
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map(bytes)), (data) => {
      assert(["taken", "manifest_unreadable"].includes(codeOf(data)), "another error");
    }),
    { seed: 6, numRuns: 2_000 },
  );
});
