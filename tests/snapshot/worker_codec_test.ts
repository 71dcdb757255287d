/** Seal and open in a Worker: the same bytes and errors as on the own thread, bounded, and over when the stream is. */
import { E2dError } from "../../lib/errors.ts";
import { type Codec, sameThreadCodec } from "../../lib/snapshot/format/codec.ts";
import type { WrapOptions } from "../../lib/snapshot/format/seal.ts";
import { workerCodec } from "../../lib/snapshot/format/worker_codec.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { type Bytes, caSecret, collect, counter, database, otherSecret, sha256, streamOf } from "./support.ts";

const mib = 1_048_576;
const keys = { recipients: [caSecret], secret: caSecret };

function options(plain: Bytes, change: Partial<WrapOptions> = {}): WrapOptions {
  return {
    facts: {
      clusterId: "c",
      lineage: { id: "l", epoch: 1, token: "t" },
      revision: 1,
      etcdVersion: "3.6.14",
      takenAt: "2026-01-02T03:04:05.000Z",
      plainBytes: plain.length,
    },
    format: "v2",
    compression: "none",
    sealed: true,
    keys,
    mac: "HMAC-SHA-256",
    randomBytes: counter(),
    ...change,
  };
}

async function sealedBy(codec: Codec, plain: Bytes, change?: Partial<WrapOptions>) {
  const { stream, etcdSum } = codec.seal(streamOf(plain, 32_768), options(plain, change));
  return { file: await collect(stream), sum: await etcdSum };
}

async function openedBy(codec: Codec, file: Bytes, openKeys = keys) {
  const { kind, header, gzip, stream, sums } = await codec.open(streamOf(file, 32_768), openKeys, {});
  return { kind, header, gzip, plain: await collect(stream), sums: await sums };
}

/** Of several chunks, which no compression makes small. */
function incompressible(bytes: number): Bytes {
  const plain = database("x", bytes / 512);
  let state = 1;
  for (let at = 0; at < bytes; at++) plain[at] = (state = Math.imul(state, 1_103_515_245) + 12_345 | 0) >>> 16;
  plain.set(Uint8Array.fromHex(sha256(plain.subarray(0, bytes))), bytes);
  return plain;
}

Deno.test("workerCodec writes and reads the same bytes, headers and sums as the own thread, in every form", async () => {
  const plain = incompressible(3 * mib);
  const forms: Partial<WrapOptions>[] = [
    {},
    { mac: "HMAC-SHA-512/256" },
    { sealed: false },
    { compression: "gzip" },
    { compression: "zstd", sealed: false },
    { format: "go-v1" },
    { format: "go-v1", sealed: false, compression: "gzip" },
    { format: "go-v1", sealed: false },
  ];
  for (const form of forms) {
    const [ours, theirs] = [await sealedBy(workerCodec, plain, form), await sealedBy(sameThreadCodec, plain, form)];
    assertEquals(sha256(ours.file), sha256(theirs.file), JSON.stringify(form));
    assertEquals(ours.sum, theirs.sum);
    const opened = await openedBy(workerCodec, ours.file);
    assertEquals(sha256(opened.plain), sha256(plain));
    assertEquals(opened.sums, { etcdSum: ours.sum, storedSha256: sha256(ours.file) });
    assertEquals({ ...opened, plain: 0 }, { ...await openedBy(sameThreadCodec, theirs.file), plain: 0 });
  }
});

Deno.test("workerCodec refuses damaged, truncated, mixed and foreign files with the code of the own thread", async () => {
  const plain = incompressible(3 * mib);
  const [{ file }, { file: other }] = [
    await sealedBy(sameThreadCodec, plain),
    await sealedBy(sameThreadCodec, plain, { keys: { recipients: [otherSecret, caSecret] } }),
  ];
  const flipped = (at: number) => {
    const touched = file.slice();
    touched[at]! ^= 1;
    return touched;
  };
  const chunk = 4 + mib + 32;
  const first = file.length - 3 * chunk - (4 + 32 + 32);
  const swapped = file.slice();
  swapped.set(file.subarray(first + chunk, first + 2 * chunk), first);
  swapped.set(file.subarray(first, first + chunk), first + chunk);
  const mixed = file.slice();
  mixed.set(other.subarray(other.length - 2 * mib), file.length - 2 * mib);
  const damaged: [string, Bytes, string][] = [
    ["header", flipped(20), "snapshot_corrupt"],
    ["first chunk", flipped(first + 100), "snapshot_corrupt"],
    ["last tag", flipped(file.length - 1), "snapshot_corrupt"],
    ["swapped", swapped, "snapshot_corrupt"],
    ["mixed", mixed, "snapshot_corrupt"],
    ["cut in the header", file.slice(0, 100), "snapshot_truncated"],
    ["cut at a chunk", file.slice(0, first + 2 * chunk), "snapshot_truncated"],
    ["cut in a chunk", file.slice(0, first + chunk + 9), "snapshot_truncated"],
    ["longer", new Uint8Array([...file, 0]), "snapshot_trailing"],
    ["without etcd's sum", plain.slice(0, -1), "snapshot_corrupt"],
  ];
  for (const [what, bytes, code] of damaged) {
    for (const codec of [workerCodec, sameThreadCodec]) {
      const error = await openedBy(codec, bytes).then(() => undefined, (error: unknown) => error);
      assert(error instanceof E2dError, what);
      assertEquals([what, error.code], [what, code]);
    }
  }
  const foreign = { recipients: [otherSecret], secret: otherSecret };
  const error = await openedBy(workerCodec, file, foreign).then(() => undefined, (error: unknown) => error);
  assert(error instanceof E2dError && error.code === "snapshot_wrong_key" && error.hint !== undefined);
});

/** Endless, and counts what was read. */
function endless() {
  const state = { chunks: 0, cancelled: undefined as unknown };
  const stream = new ReadableStream<Bytes>({
    pull(controller) {
      state.chunks++;
      controller.enqueue(new Uint8Array(mib));
    },
    cancel: (reason) => void (state.cancelled = reason),
  }, { highWaterMark: 0 });
  return { state, stream };
}

Deno.test("workerCodec reads no further ahead than its queues, and not at all before the stream is read", async () => {
  const { state, stream } = endless();
  const sealed = workerCodec.seal(stream, options(new Uint8Array(0)));
  const reader = sealed.stream.getReader();
  assertEquals(state.chunks, 0);
  for (let read = 0; read < 64 * mib;) {
    read += (await reader.read()).value!.length;
    // Four messages each way, three chunks in work, and those that pass from one to the other.
    assert(state.chunks - read / mib <= 16, `${state.chunks} MiB are read when ${read / mib} are sealed`);
  }
  await reader.cancel("enough");
  assertEquals(state.cancelled, "enough");
});

Deno.test("workerCodec errors with what its source throws, and rejects the sum of a stream that ends early", async () => {
  const failure = new E2dError("store_gone", "the store is gone");
  let chunks = 0;
  const broken = () =>
    new ReadableStream<Bytes>({
      pull(controller) {
        if (chunks++ === 3) throw failure;
        controller.enqueue(new Uint8Array(mib));
      },
    }, { highWaterMark: 0 });
  const { stream, etcdSum } = workerCodec.seal(broken(), options(new Uint8Array(0)));
  assertEquals(await collect(stream).catch((error) => error), failure);
  assertEquals(await etcdSum.catch((error) => error), failure);
  chunks = 3;
  assertEquals(await workerCodec.open(broken(), keys, {}).catch((error) => error), failure);

  const cancelled = workerCodec.seal(endless().stream, options(new Uint8Array(0)));
  await cancelled.stream.cancel();
  await assertE2dError("snapshot_worker", () => cancelled.etcdSum);
});
