import fc from "fast-check";
import { MessageReader } from "../../lib/etcd/client/message_reader.ts";
import { assert, assertEquals } from "../support/assert.ts";

type Bytes = Uint8Array<ArrayBuffer>;

function framed(messages: readonly Uint8Array[], flag = 0): Bytes {
  const parts = messages.flatMap((message) => {
    const prefix = new Uint8Array(5);
    prefix[0] = flag;
    new DataView(prefix.buffer).setUint32(1, message.length);
    return [...prefix, ...message];
  });
  return new Uint8Array(parts);
}

/** A byte stream that delivers these parts one by one, as a connection does. */
function source(parts: readonly Bytes[]): { body: ReadableStream<Bytes>; close(): void; closed: () => number } {
  let at = 0;
  let closed = 0;
  const body = new ReadableStream({
    type: "bytes",
    pull(controller) {
      const part = parts[at++];
      if (part !== undefined) return controller.enqueue(part.slice());
      controller.close();
      controller.byobRequest?.respond(0);
    },
  });
  return { body, close: () => void closed++, closed: () => closed };
}

const cut = (bytes: Bytes, step: number): Bytes[] =>
  Array.from({ length: Math.ceil(bytes.length / step) }, (_, at) => bytes.slice(at * step, (at + 1) * step));

const broken = (details: string) => new Error(details);

async function readAll(parts: readonly Bytes[], onBytes: () => void = () => {}): Promise<Bytes[]> {
  const reader = new MessageReader(source(parts), broken);
  const found: Bytes[] = [];
  for (let message; (message = await reader.next(onBytes)) !== undefined;) found.push(new Uint8Array(message));
  return found;
}

Deno.test("MessageReader returns complete messages for every split of the bytes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.uint8Array({ maxLength: 300 }), { maxLength: 8 }),
      fc.integer({ min: 1, max: 700 }),
      async (messages, step) => {
        assertEquals(await readAll(cut(framed(messages), step)), messages.map((message) => new Uint8Array(message)));
      },
    ),
    { seed: 11, numRuns: 300 },
  );
});

Deno.test("MessageReader returns messages that are longer than its buffer", async () => {
  const long = new Uint8Array(2_500_000).map((_, at) => at % 251);
  const short = new Uint8Array([1, 2, 3]);
  const parts: Bytes[] = [framed([short])];
  for (let turn = 0; turn < 2; turn++) {
    const prefix = new Uint8Array(5);
    new DataView(prefix.buffer).setUint32(1, long.length);
    parts.push(prefix, ...cut(long, 16_384));
  }
  parts.push(framed([short]));
  const found = await readAll(parts);
  assertEquals(found.map(({ length }) => length), [3, long.length, long.length, 3]);
  assertEquals(found[2], long);
  assertEquals(found[3], short);
});

Deno.test("MessageReader distinguishes an end within a message from an end after one", async () => {
  const whole = framed([new Uint8Array(20)]);
  for (let length = 1; length < whole.length; length++) {
    const error = await readAll([whole.slice(0, length)]).then(() => undefined, (error) => error as Error);
    assertEquals(error?.message, "the connection was lost within a message", `${length} bytes`);
  }
  assertEquals((await readAll([whole])).length, 1);
});

Deno.test("MessageReader refuses compressed messages and excessive lengths", async () => {
  const absurd = new Uint8Array([0, 0xff, 0xff, 0xff, 0xff, 1]);
  for (const bytes of [framed([new Uint8Array(3)], 1), absurd]) {
    const error = await readAll([bytes]).then(() => undefined, (error) => error as Error);
    assertEquals(error?.message, "the answer is not valid gRPC");
  }
});

Deno.test("MessageReader reports arriving bytes, and closes its source once", async () => {
  let heard = 0;
  const bytes = framed([new Uint8Array(200_000)]);
  await readAll(cut(bytes, 16_384), () => heard++);
  assert(heard >= 3, `${heard} signs of life`);

  const from = source([bytes]);
  const reader = new MessageReader(from, broken);
  reader.close();
  reader.close();
  await new Promise((resolve) => setTimeout(resolve));
  assertEquals(from.closed(), 1);
});
