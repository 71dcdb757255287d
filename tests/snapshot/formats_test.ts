/** Snapshot formats: what goes in comes out, and nothing that was touched, cut or mixed comes out at all. */
import fc from "fast-check";
import { isE2dError } from "../../lib/errors.ts";
import { compress } from "../../lib/snapshot/format/compress.ts";
import { checkEtcdSum } from "../../lib/snapshot/format/etcd_sum.ts";
import { sealGoV1 } from "../../lib/snapshot/format/go_v1.ts";
import { derive, fastestMac, mac, type MacName, unwrapKey } from "../../lib/snapshot/format/keys.ts";
import { openSnapshot, type SnapshotKeys } from "../../lib/snapshot/format/unseal.ts";
import { type Compression, sealV2, type SnapshotFacts } from "../../lib/snapshot/format/v2.ts";
import { secretKeyFromCaKey } from "../../lib/pki/secret_key.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const facts: SnapshotFacts = {
  clusterId: "cdf818194e3a8c32",
  lineage: { id: "l", epoch: 1, token: "t" },
  revision: 42,
  etcdVersion: "3.6.14",
  takenAt: "2026-01-02T03:04:05.000Z",
  plainBytes: 0,
};
const macs = ["HMAC-SHA-256", "HMAC-SHA-512/256"] as const;
const recipient: Bytes = new Uint8Array(32).fill(7);
const other: Bytes = new Uint8Array(32).fill(8);

/** Deterministic random bytes. */
function counter(): (length: number) => Bytes {
  let next = 0;
  return (length) => Uint8Array.from({ length }, () => next++ % 251);
}

const bytesOf = (length: number): Bytes => Uint8Array.from({ length }, (_, at) => (at * 31 + (at >> 8)) & 255);

/** In pieces, so that no reader may take a chunk for a whole. */
function streamOf(bytes: Bytes, piece = 1_000): ReadableStream<Bytes> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at += piece));
    },
  });
}

const collect = async (stream: ReadableStream<Uint8Array>): Promise<Bytes> =>
  new Uint8Array(await new Response(stream).arrayBuffer());

interface Seal {
  plain: Bytes;
  compression?: Compression;
  recipients?: readonly Bytes[];
  chunkBytes?: number;
  mac?: MacName;
}

async function v2(
  { plain, compression = "none", recipients = [recipient], chunkBytes = 64, mac = "HMAC-SHA-256" }: Seal,
): Promise<Bytes> {
  return await collect(
    sealV2(compress(streamOf(plain), compression), {
      facts: { ...facts, plainBytes: plain.length },
      compression,
      recipients,
      mac,
      randomBytes: counter(),
      chunkBytes,
    }),
  );
}

async function open(file: Bytes, keys: SnapshotKeys = { recipients: [recipient] }): Promise<Bytes> {
  return await collect((await openSnapshot(streamOf(file, 37), keys)).stream);
}

/** What was given out before the error, and the error's code. */
async function openTouched(file: Bytes, keys?: SnapshotKeys): Promise<{ code: string; given: number }> {
  let given = 0;
  try {
    const opened = await openSnapshot(streamOf(file, 37), keys ?? { recipients: [recipient] });
    for await (const chunk of opened.stream) given += chunk.length;
  } catch (error) {
    if (isE2dError(error)) return { code: error.code, given };
    throw error;
  }
  return { code: "opened", given };
}

Deno.test("v2 round-trips every length around the edges of its chunks", async () => {
  for (const length of [0, 1, 15, 16, 63, 64, 65, 127, 128, 129, 640, 1_000]) {
    const plain = bytesOf(length);
    assertEquals(await open(await v2({ plain })), plain, `${length} bytes`);
    const unsealed = await v2({ plain, recipients: [] });
    assertEquals(await open(unsealed, { recipients: [] }), plain, `${length} bytes, not sealed`);
  }
});

Deno.test("v2 and go-v1 round-trip lengths around the piece edges of real files", async () => {
  const mib = 1_048_576;
  for (const length of [mib - 1, mib, mib + 1, 2 * mib, 2 * mib + 17]) {
    const plain = bytesOf(length);
    const through = (file: Bytes) => streamOf(file, 65_521);
    const sealed = await collect(
      sealV2(streamOf(plain, 32_768), {
        facts: { ...facts, plainBytes: length },
        compression: "none",
        recipients: [recipient],
        mac: "HMAC-SHA-512/256",
        randomBytes: counter(),
      }),
    );
    const opened = await openSnapshot(through(sealed), { recipients: [recipient] });
    assertEquals(await collect(opened.stream), plain, `v2, ${length} bytes`);
    const old = await collect(
      sealGoV1(streamOf(plain, 32_768), { key: recipient, plainBytes: length, randomBytes: counter() }),
    );
    const reopened = await openSnapshot(through(old), { recipients: [], secret: recipient });
    assertEquals(await collect(reopened.stream), plain, `go v1, ${length} bytes`);
  }
});

Deno.test("compressed or unsealed v2 does not open with a flipped bit or truncated", async () => {
  for (const seal of [{ compression: "gzip" }, { compression: "zstd" }, { recipients: [] }] as const) {
    const file = await v2({ plain: bytesOf(600), ...seal });
    const keys = "recipients" in seal ? { recipients: [] } : undefined;
    for (let at = 0; at < file.length; at++) {
      const touched = file.slice();
      touched[at]! ^= 1;
      const what = JSON.stringify(seal);
      // Without its magic it is no v2 at all, but a plain file, which etcd's own sum then has to prove.
      if (at >= 8) assert((await openTouched(touched, keys)).code !== "opened", `${what}: byte ${at}`);
      if (at >= 16) assert((await openTouched(file.slice(0, at), keys)).code !== "opened", `${what}: cut at ${at}`);
    }
  }
});

Deno.test("v2 with gzip and zstd round-trips", async () => {
  for (const compression of ["gzip", "zstd"] as const) {
    const plain = bytesOf(300_000);
    const file = await v2({ plain, compression, chunkBytes: 4_096 });
    assert(file.length < plain.length / 2, `${compression} does not compress`);
    assertEquals(await open(file), plain);
  }
});

Deno.test("v2 opens for each of its recipients and no other key", async () => {
  const plain = bytesOf(200);
  const file = await v2({ plain, recipients: [other, recipient] });
  assertEquals(await open(file, { recipients: [recipient] }), plain);
  assertEquals(await open(file, { recipients: [other] }), plain);
  for (const recipients of [[], [new Uint8Array(32)]]) {
    assertEquals(await openTouched(file, { recipients }), { code: "snapshot_wrong_key", given: 0 });
  }
});

Deno.test("v2 does not open with any single bit flipped", async () => {
  for (const mac of macs) {
    const file = await v2({ plain: bytesOf(200), mac });
    for (let at = 0; at < file.length; at++) {
      const touched = file.slice();
      touched[at]! ^= 1 << at % 8;
      const { code, given } = await openTouched(touched);
      // The first eight bytes say that it is one at all: without them it counts as a plain database.
      if (at < 8) assert(code === "opened", `bit at ${at}`);
      else {assert(
          code.startsWith("snapshot_") && given % 64 === 0 && given <= 192,
          `bit at ${at}: ${code}, ${given} bytes`,
        );}
    }
  }
});

Deno.test("v2 does not open truncated at any position", async () => {
  const file = await v2({ plain: bytesOf(200) });
  for (let length = 12; length < file.length; length++) {
    const { code } = await openTouched(file.slice(0, length));
    assertEquals(code, "snapshot_truncated", `cut to ${length}`);
  }
});

Deno.test("v2 refuses moved chunks, chunks of other files, and bytes after its end", async () => {
  const chunk = 4 + 64 + 32;
  const plain = bytesOf(256);
  const [one, two] = [await v2({ plain }), await v2({ plain, recipients: [recipient, other] })];
  const start = one.length - 4 * chunk;
  const swapped = one.slice();
  swapped.set(one.subarray(start + chunk, start + 2 * chunk), start);
  swapped.set(one.subarray(start, start + chunk), start + chunk);
  assertEquals(await openTouched(swapped), { code: "snapshot_corrupt", given: 0 });
  const mixed = one.slice();
  mixed.set(two.subarray(two.length - 2 * chunk), one.length - 2 * chunk);
  assertEquals(await openTouched(mixed), { code: "snapshot_corrupt", given: 128 });
  assertEquals((await openTouched(new Uint8Array([...one, 0]))).code, "snapshot_trailing");
  const dropped = new Uint8Array([...one.subarray(0, start + chunk), ...one.subarray(start + 2 * chunk)]);
  assertEquals(await openTouched(dropped), { code: "snapshot_corrupt", given: 64 });
});

/** `deno test -A tests/snapshot/formats_test.ts -- --update` writes the vectors anew. */
const vectors = { "HMAC-SHA-256": "vector-v2", "HMAC-SHA-512/256": "vector-v2-sha512" } as const;

Deno.test("v2 writes the bytes of DESIGN.md: the stored vectors open and are reproduced byte by byte", async () => {
  for (const mac of macs) {
    const path = new URL(`../vectors/${vectors[mac]}.snapshot`, import.meta.url);
    const made = await v2({ plain: bytesOf(300), recipients: [recipient, other], mac });
    if (Deno.args.includes("--update")) await Deno.writeFile(path, made);
    const kept = new Uint8Array(await Deno.readFile(path));
    assertEquals(made.toHex(), kept.toHex());
    assertEquals(await open(kept), bytesOf(300));
  }
});

Deno.test("v2 opens a file whose header names no MAC, as an e2d before 1.0.0 wrote it", async () => {
  const kept = new Uint8Array(await Deno.readFile(new URL("../vectors/vector-v2-unnamed.snapshot", import.meta.url)));
  const { header } = await openSnapshot(streamOf(kept), { recipients: [recipient] });
  assertEquals([header?.mac, await open(kept)], [undefined, bytesOf(300)]);
});

/** An authentic file with another MAC in its header, as one with the file key can write it. */
async function renamed(file: Bytes, change: (header: Record<string, unknown>) => void): Promise<Bytes> {
  const { magicBytes, lengthBytes } = { magicBytes: 8, lengthBytes: 4 };
  const length = new DataView(file.buffer).getUint32(magicBytes);
  const start = magicBytes + lengthBytes;
  const header = JSON.parse(new TextDecoder().decode(file.subarray(start, start + length)));
  const salt = Uint8Array.fromHex(header.salt);
  change(header);
  const text = new TextEncoder().encode(JSON.stringify(header));
  const field = new Uint8Array(lengthBytes);
  new DataView(field.buffer).setUint32(0, text.length);
  const head = new Uint8Array([...file.subarray(0, magicBytes), ...field, ...text]);
  const fileKey = await unwrapKey(header.recipients, [recipient], salt);
  assert(fileKey !== undefined);
  const tag = mac("HMAC-SHA-512/256", derive(fileKey, salt, "e2d v2 header"), head);
  return new Uint8Array([...head, ...tag, ...file.subarray(start + length + 32)]);
}

Deno.test("v2 refuses chunks under another MAC than the header names, and names that it does not know", async () => {
  const file = await v2({ plain: bytesOf(200), mac: "HMAC-SHA-256" });
  assertEquals((await openTouched(await renamed(file, () => {}))).code, "opened");
  for (const name of ["HMAC-SHA-512/256", undefined]) {
    const other = await renamed(file, (header) => header.mac = name);
    assertEquals(await openTouched(other), { code: "snapshot_corrupt", given: 0 });
  }
  for (const name of ["", "none", "HMAC-SHA-1", "toString", "__proto__"]) {
    const unknown = await renamed(file, (header) => header.mac = name);
    assertEquals(await openTouched(unknown), { code: "snapshot_newer_format", given: 0 }, name);
    // Before it is authentic the name decides nothing.
    const tagEnd = 12 + new DataView(unknown.buffer).getUint32(8) + 32;
    unknown[tagEnd - 1]! ^= 1;
    assertEquals((await openTouched(unknown)).code, "snapshot_corrupt", name);
  }
  const number = await renamed(file, (header) => header.mac = 1);
  assertEquals((await openTouched(number)).code, "snapshot_corrupt");
});

Deno.test("fastestMac() measures both MACs once per clock, and takes HMAC-SHA-256 if they are equal", () => {
  const clockOf = (durations: number[]) => {
    let [calls, now] = [0, 0];
    // Each measurement reads the clock twice.
    return { monotonicMs: () => calls++ % 2 === 0 ? now : now += durations[(calls >> 1) - 1] ?? 0, calls: () => calls };
  };
  const slow256 = clockOf([5, 4, 5, 3, 9, 9]);
  assertEquals([fastestMac(slow256), fastestMac(slow256), slow256.calls()], [
    "HMAC-SHA-512/256",
    "HMAC-SHA-512/256",
    12,
  ]);
  assertEquals(fastestMac(clockOf([9, 9, 3, 4, 4, 4])), "HMAC-SHA-256");
  assertEquals(fastestMac(clockOf([])), "HMAC-SHA-256");
});

async function goV1(plain: Bytes, key = recipient): Promise<Bytes> {
  return await collect(sealGoV1(streamOf(plain), { key, plainBytes: plain.length, randomBytes: counter() }));
}
const goKeys: SnapshotKeys = { recipients: [], secret: recipient };

Deno.test("go-v1 round-trips every length, also inside gzip", async () => {
  for (const length of [0, 1, 63, 64, 127, 128, 8_191, 8_192, 100_000]) {
    const plain = bytesOf(length);
    const file = await goV1(plain);
    assertEquals(await open(file, goKeys), plain);
    assertEquals(await open(await collect(compress(streamOf(file), "gzip")), goKeys), plain);
  }
});

Deno.test("go-v1 opens with the matching one of several former keys", async () => {
  const plain = bytesOf(10_000);
  // As every page 0 of bbolt begins: a header of 16 bytes, then the magic number.
  new DataView(plain.buffer).setUint32(16, 0xed0cdaed, true);
  const third = recipient.map((byte) => byte ^ 0x55);
  const file = await goV1(plain, other);
  assertEquals(await open(file, { recipients: [], secret: recipient, former: [third, other] }), plain);
  assertEquals(
    (await openTouched(file, { recipients: [], secret: recipient, former: [third] })).code,
    "snapshot_corrupt",
  );
});

Deno.test("go-v1 refuses what the original accepts: a missing tag, a changed byte, bytes after the end, no key", async () => {
  const file = await goV1(bytesOf(500));
  assertEquals((await openTouched(file.slice(0, -32), goKeys)).code, "snapshot_truncated");
  assertEquals((await openTouched(new Uint8Array([...file, 1]), goKeys)).code, "snapshot_trailing");
  assertEquals((await openTouched(file, { recipients: [] })).code, "snapshot_wrong_key");
  assertEquals((await openTouched(file, { recipients: [], secret: other })).code, "snapshot_corrupt");
  for (let at = 10; at < file.length; at++) {
    const touched = file.slice();
    touched[at]! ^= 4;
    assert((await openTouched(touched, goKeys)).code !== "opened", `byte ${at}`);
    assertEquals((await openTouched(file.slice(0, at), goKeys)).code, "snapshot_truncated", `cut at ${at}`);
  }
  await assertE2dError(
    "snapshot_size",
    () => collect(sealGoV1(streamOf(bytesOf(10)), { key: recipient, plainBytes: 11, randomBytes: counter() })),
  );
});

Deno.test("openSnapshot() emits at most maxBytes, in every format", async () => {
  const plain = bytesOf(900);
  const sealed = await goV1(plain);
  const gzip = (bytes: Bytes) => collect(compress(streamOf(bytes), "gzip"));
  const code = async (file: Bytes, maxBytes?: number) => {
    const keys = { recipients: [recipient], secret: recipient };
    const options = maxBytes === undefined ? {} : { maxBytes };
    const error = await openSnapshot(streamOf(file), keys, options).then(({ stream }) => collect(stream)).then(
      () => undefined,
      (error: unknown) => error,
    );
    return isE2dError(error) ? error.code : String(error);
  };
  for (const file of [plain, sealed, await gzip(plain), await gzip(sealed), await v2({ plain, compression: "gzip" })]) {
    assertEquals([await code(file, 900), await code(file, 899)], ["undefined", "snapshot_size"]);
  }
  // What is compressed is not read on behind the bound, whatever the format within makes of it.
  const padded = await gzip(new Uint8Array([...sealed, ...new Uint8Array(1_048_576)]));
  assertEquals([await code(padded), await code(padded, 900)], ["snapshot_trailing", "snapshot_size"]);
  // The header of a sealed file has the size of the database.
  const longer = sealV2(compress(streamOf(plain), "gzip"), {
    facts: { ...facts, plainBytes: 899 },
    compression: "gzip",
    recipients: [recipient],
    mac: "HMAC-SHA-256",
    randomBytes: counter(),
    chunkBytes: 64,
  });
  assertEquals(await code(await collect(longer)), "snapshot_size");
});

Deno.test("openSnapshot() returns a value or throws an E2dError for any bytes", async () => {
  const starts = [
    new TextEncoder().encode("E2DSNAP2"),
    new TextEncoder().encode("ENCRYPTED:"),
    new Uint8Array([31, 139]),
  ];
  const any = fc.tuple(fc.constantFrom(...starts, new Uint8Array()), fc.uint8Array({ maxLength: 200 }));
  await fc.assert(
    fc.asyncProperty(any, async ([start, rest]) => {
      const { code } = await openTouched(new Uint8Array([...start, ...rest]), { ...goKeys, recipients: [recipient] });
      assert(code === "opened" || code.startsWith("snapshot_"), code);
    }),
    { seed: 6, numRuns: 2_000 },
  );
});

Deno.test("checkEtcdSum() verifies etcd's checksum, accepts files without one, and detects damage", async () => {
  const pages = bytesOf(1_024);
  const sum = new Uint8Array(await crypto.subtle.digest("SHA-256", pages));
  const whole = new Uint8Array([...pages, ...sum]);
  const check = async (bytes: Bytes, step = 100) => {
    const { stream, done } = checkEtcdSum(streamOf(bytes, step));
    assertEquals(await collect(stream), bytes);
    return await done;
  };
  const sha256 = async (bytes: Bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
  // Parts that are shorter than the sum, as long, longer, and all at once.
  for (const step of [1, 31, 32, 33, 100, 1_023, 1_055, 1_056]) {
    assertEquals(await check(whole, step), { kind: "checked", sum: sum.toHex(), sha256: await sha256(whole) });
    assertEquals(await check(pages, step), { kind: "none", sha256: await sha256(pages) });
  }
  const touched = whole.slice();
  touched[500]! ^= 1;
  await assertE2dError("snapshot_corrupt", () => check(touched));
  await assertE2dError("snapshot_corrupt", () => check(whole.slice(0, -1)));
  await assertE2dError("snapshot_corrupt", () => check(new Uint8Array(0)));
});

Deno.test("the Go original's own files open to the same database, sealed ones by its CA key", async () => {
  const vectors = new URL("../vectors/", import.meta.url);
  const read = async (name: string) => new Uint8Array(await Deno.readFile(new URL(name, vectors)));
  const caKey = await Deno.readTextFile(new URL("go-pki/ca.key", vectors));
  const { bytes: secret } = secretKeyFromCaKey(caKey, { role: "CA key", path: "ca.key" });
  for (
    const [name, kind] of [["plain", "plain"], ["gzip", "plain"], ["encrypted", "go-v1"], ["gzip-encrypted", "go-v1"]]
  ) {
    const opened = await openSnapshot(streamOf(await read(`go-v1/${name}.snapshot`)), { recipients: [], secret });
    assertEquals(opened.kind, kind);
    const { stream, done } = checkEtcdSum(opened.stream);
    const database = await collect(stream);
    assertEquals(database.length, 28_672, name);
    // Its files carry no sum of etcd.
    assertEquals((await done).kind, "none");
  }
});

Deno.test("openssl opens our go-v1 files", async () => {
  const plain = bytesOf(5_000);
  const file = await goV1(plain);
  // "ENCRYPTED:", two bytes of varint for 5,000, then the IV.
  const iv = file.slice(12, 28).toHex();
  const child = new Deno.Command("openssl", {
    args: ["enc", "-d", "-aes-256-ctr", "-K", recipient.toHex(), "-iv", iv],
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const writer = child.stdin.getWriter();
  const written = writer.write(file.slice(28, -32)).then(() => writer.close());
  const { stdout } = await child.output();
  await written;
  assertEquals(new Uint8Array(stdout), plain);
});
