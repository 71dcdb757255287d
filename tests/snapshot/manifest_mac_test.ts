import { canonicalJson, isAuthentic, plainSumFits } from "../../lib/snapshot/manifest_mac.ts";
import { decodeManifest, encodeManifest, type Manifest } from "../../lib/snapshot/manifest.ts";
import { authenticateManifest } from "../../lib/snapshot/manifest_mac.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { caSecret, counter, otherSecret } from "./support.ts";

const open = {
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
  compression: "none",
  sealed: true,
  etcdVersion: "3.6.14",
  takenAt: "2026-01-01T00:00:00.000Z",
  verifiedAt: "2026-01-01T00:00:01.000Z",
} as const;

const made = () => authenticateManifest(open, [caSecret, otherSecret], counter());

/** Through the store and back. */
const kept = (manifest: Manifest) => decodeManifest("m", new TextEncoder().encode(encodeManifest(manifest)));

Deno.test("a manifest verifies with each of its keys, and with no other", () => {
  const manifest = kept(made());
  for (const secret of [caSecret, otherSecret]) assert(isAuthentic(manifest, [new Uint8Array(32), secret]));
  assert(!isAuthentic(manifest, [new Uint8Array(32)]) && !isAuthentic(manifest, []));
});

Deno.test("a manifest with any field changed, added or left out fails authentication", () => {
  const manifest = kept(made());
  const { authentication } = manifest;
  const [tag] = authentication!.tags;
  const forged: unknown[] = [
    ...Object.entries(manifest).filter(([name]) => name !== "authentication").map(([name, value]) => ({
      ...manifest,
      [name]: typeof value === "number" ? value + 1 : typeof value === "boolean" ? !value : `${value}0`,
    })),
    { ...manifest, lineage: { ...manifest.lineage, epoch: 3 } },
    { ...manifest, note: "added" },
    { ...manifest, sealed: undefined },
    { ...manifest, plainSha256: "c".repeat(64) },
    { ...manifest, authentication: { ...authentication, tags: [{ ...tag, plain: "0".repeat(64) }] } },
    { ...manifest, authentication: { ...authentication, salt: "0".repeat(64) } },
    { ...manifest, authentication: undefined },
  ];
  for (const each of forged) assert(!isAuthentic(each as Manifest, [caSecret, otherSecret]), JSON.stringify(each));
});

Deno.test("nothing beside a sealed snapshot confirms a guess of its content without a key", () => {
  const text = encodeManifest(made());
  assert(!text.includes(open.plainSha256) && !text.includes("plainSha256"));
  assert(plainSumFits(made(), open.plainSha256, [otherSecret]));
  assert(!plainSumFits(made(), "c".repeat(64), [caSecret, otherSecret]));
  assert(!plainSumFits(made(), open.plainSha256, [new Uint8Array(32)]));
  // Two snapshots of one content have no sum in common.
  const again = authenticateManifest(open, [caSecret], (length) => new Uint8Array(length).fill(9));
  assert(!made().authentication!.tags.some(({ plain }) => plain === again.authentication!.tags[0]!.plain));
});

Deno.test("a manifest without a MAC is readable and not authentic", () => {
  const before = kept(open);
  assertEquals(before, open);
  assert(!isAuthentic(before, [caSecret]) && plainSumFits(before, open.plainSha256, []));
});

Deno.test("canonicalJson() is independent of the order of fields", () => {
  assertEquals(
    canonicalJson({ b: [1, { d: null, c: "é\n" }], a: true, gone: undefined }),
    '{"a":true,"b":[1,{"c":"é\\n","d":null}]}',
  );
});

Deno.test("the MAC is that of DESIGN.md: the stored vector is reproduced byte by byte", async () => {
  const path = new URL("../vectors/manifest-v1.json", import.meta.url);
  const text = encodeManifest(made());
  if (Deno.args.includes("--update")) await Deno.writeTextFile(path, text);
  assertEquals(await Deno.readTextFile(path), text);
});
