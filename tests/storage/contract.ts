/** What every store promises, whatever is behind it. */
import type { Store } from "../../lib/storage/store.ts";
import { assert, assertEquals } from "../support/assert.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const bytesOf = (length: number): Bytes => Uint8Array.from({ length }, (_, at) => (at * 7 + (at >> 9)) & 255);

export function streamOf(bytes: Bytes, piece = 1_000_000): ReadableStream<Bytes> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.slice(at, at += piece));
    },
  });
}

export async function contentOf(store: Store, key: string): Promise<Bytes | undefined> {
  const object = await store.read(key);
  if (object === undefined) return undefined;
  const bytes = new Uint8Array(await new Response(object.stream).arrayBuffer());
  assertEquals(bytes.length, object.size);
  return bytes;
}

/** Of which one pair each is the same when blanks are trimmed, or when one decoding too many or too few is done. */
const oddKeys = [
  "it's",
  "it&#39;s",
  'a"b',
  "a&quot;b",
  " edge ",
  "edge",
  "a b",
  "a+b",
  "a%20b",
  "a%2Bb",
  "100%",
  "<a>&b",
  "été",
  "日本語",
  "a=b,c;d~e!*()",
];

/** `withStore` hands over a store that is empty under the prefix. */
export function testStore(
  name: string,
  withStore: (use: (store: Store, prefix: string) => Promise<void>) => Promise<void>,
) {
  Deno.test(`${name}: a written object is read, listed with its size, and replaced completely`, () =>
    withStore(async (store, prefix) => {
      const key = `${prefix}etcd.snapshot`;
      assertEquals(await store.read(key), undefined);
      assertEquals(await store.info(key), undefined);
      assertEquals(await store.list(prefix), []);
      for (const length of [0, 1, 100_000]) {
        assertEquals(await store.write(key, streamOf(bytesOf(length))), { size: length });
        assertEquals(await contentOf(store, key), bytesOf(length));
        assertEquals((await store.info(key))?.size, length);
      }
      await store.write(`${key}.history/1`, streamOf(bytesOf(5)));
      await store.write(`${key}.history/2`, streamOf(bytesOf(6)));
      const history = await store.list(`${key}.history/`);
      // A prefix is a prefix: it names what lies in the folder of the history, too.
      const both = [key, ...history.map((info) => info.key)].sort();
      assertEquals((await store.list(key)).map((info) => info.key).sort(), both);
      assertEquals(history.map(({ key, size }) => [key, size]), [[`${key}.history/1`, 5], [`${key}.history/2`, 6]]);
      assert(history.every(({ modifiedMs }) => modifiedMs > Date.UTC(2020, 0)));
      await store.remove(`${key}.history/1`);
      await store.remove(`${key}.history/1`);
      assertEquals((await store.list(`${key}.history/`)).length, 1);
    }));

  Deno.test(`${name}: special keys are found by read, by info and in a listing`, () =>
    withStore(async (store, prefix) => {
      const keys = oddKeys.map((key) => `${prefix}${key}`);
      for (const [at, key] of keys.entries()) {
        await store.write(key, streamOf(bytesOf(at + 1)));
        await store.write(`${key}.history/${key.split("/").at(-1)}`, streamOf(bytesOf(at + 1)));
      }
      for (const [at, key] of keys.entries()) {
        assertEquals(await contentOf(store, key), bytesOf(at + 1), key);
        assertEquals((await store.info(key))?.size, at + 1, key);
        assert(
          (await store.list(key)).some((info) => info.key === key && info.size === at + 1),
          `${key} is not listed`,
        );
        const inside = (await store.list(`${key}.history/`)).map(({ key }) => key);
        assertEquals(inside, [`${key}.history/${key.split("/").at(-1)}`]);
      }
      for (const key of keys) {
        await store.remove(key);
        assertEquals(await store.info(key), undefined, key);
      }
    }));

  Deno.test(`${name}: a stream of many parts arrives unchanged`, () =>
    withStore(async (store, prefix) => {
      const bytes = bytesOf(21_000_001);
      let told = 0;
      const { size } = await store.write(`${prefix}large`, streamOf(bytes), { onProgress: (bytes) => told = bytes });
      assertEquals([size, told], [bytes.length, bytes.length]);
      const back = await contentOf(store, `${prefix}large`);
      assert(back !== undefined && back.length === bytes.length && back.every((byte, at) => byte === bytes[at]));
    }));

  Deno.test(`${name}: a stream that breaks leaves the previous object, and nothing partial`, () =>
    withStore(async (store, prefix) => {
      const key = `${prefix}kept`;
      await store.write(key, streamOf(bytesOf(10)));
      for (const goodBytes of [0, 20_000_000]) {
        let sent = 0;
        const broken = new ReadableStream<Bytes>({
          pull(controller) {
            if (sent >= goodBytes) throw new Error("the source broke");
            controller.enqueue(bytesOf(1_000_000));
            sent += 1_000_000;
          },
        });
        const failure = await store.write(key, broken).then(() => "written", (error) => String(error));
        assert(failure.includes("the source broke"), failure);
        assertEquals(await contentOf(store, key), bytesOf(10));
        assertEquals((await store.list(prefix)).map(({ key }) => key), [key]);
      }
    }));

  Deno.test(`${name}: a copy has the content of its source, and an absent source is reported`, () =>
    withStore(async (store, prefix) => {
      if (store.copy === undefined) return;
      const [from, to] = [`${prefix}it's a+b`, `${prefix}to`];
      assertEquals(await store.copy(from, to), false);
      assertEquals(await store.info(to), undefined);
      for (const length of [100_000, 5]) {
        await store.write(from, streamOf(bytesOf(length)));
        assertEquals(await store.copy(from, to), true);
        assertEquals(await contentOf(store, to), bytesOf(length));
      }
      await store.remove(from);
      assertEquals(await contentOf(store, to), bytesOf(5));
      assertEquals((await store.list(prefix)).map(({ key }) => key), [to]);
    }));

  Deno.test(`${name}: a write to an absent key replaces nothing`, () =>
    withStore(async (store, prefix) => {
      const key = `${prefix}once`;
      await store.write(key, streamOf(bytesOf(5)), { ifAbsent: true });
      for (const length of [6, 13_000_000]) {
        const second = store.write(key, streamOf(new Uint8Array(length)), { ifAbsent: true });
        assertEquals(await second.then(() => "written", (error) => error.code), "store_exists");
      }
      assertEquals(await contentOf(store, key), bytesOf(5));
      assertEquals((await store.list(prefix)).map(({ key }) => key), [key]);
      // Also of several parts.
      await store.write(`${key} more`, streamOf(new Uint8Array(13_000_000)), { ifAbsent: true });
      assertEquals((await store.info(`${key} more`))?.size, 13_000_000);
    }));

  Deno.test(`${name}: reading may stop in the middle`, () =>
    withStore(async (store, prefix) => {
      await store.write(`${prefix}large`, streamOf(bytesOf(5_000_000)));
      const { stream } = (await store.read(`${prefix}large`))!;
      const reader = stream.getReader();
      assert((await reader.read()).value!.length > 0);
      await reader.cancel();
    }));
}
