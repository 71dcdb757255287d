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

/** `withStore` hands over a store that is empty under the prefix. */
export function testStore(
  name: string,
  withStore: (use: (store: Store, prefix: string) => Promise<void>) => Promise<void>,
) {
  Deno.test(`${name}: what is written is read, listed with its size, and replaced whole`, () =>
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
      assertEquals(history.map(({ key, size }) => [key, size]), [[`${key}.history/1`, 5], [`${key}.history/2`, 6]]);
      assert(history.every(({ modifiedMs }) => modifiedMs > Date.UTC(2020, 0)));
      await store.remove(`${key}.history/1`);
      await store.remove(`${key}.history/1`);
      assertEquals((await store.list(`${key}.history/`)).length, 1);
    }));

  Deno.test(`${name}: a stream of many parts arrives as it went`, () =>
    withStore(async (store, prefix) => {
      const bytes = bytesOf(21_000_001);
      let told = 0;
      const { size } = await store.write(`${prefix}large`, streamOf(bytes), { onProgress: (bytes) => told = bytes });
      assertEquals([size, told], [bytes.length, bytes.length]);
      const back = await contentOf(store, `${prefix}large`);
      assert(back !== undefined && back.length === bytes.length && back.every((byte, at) => byte === bytes[at]));
    }));

  Deno.test(`${name}: a stream that breaks leaves what was there, and nothing half-written`, () =>
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

  Deno.test(`${name}: reading may stop in the middle`, () =>
    withStore(async (store, prefix) => {
      await store.write(`${prefix}large`, streamOf(bytesOf(5_000_000)));
      const { stream } = (await store.read(`${prefix}large`))!;
      const reader = stream.getReader();
      assert((await reader.read()).value!.length > 0);
      await reader.cancel();
    }));
}
