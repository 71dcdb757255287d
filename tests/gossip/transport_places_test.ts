/** Who gets one of the places for incoming streams when strangers want all of them. */
import { labelBytes } from "../../lib/gossip/wire/label.ts";
import type { PushPull } from "../../lib/gossip/wire/message.ts";
import { encodeStream, StreamDecoder } from "../../lib/gossip/wire/stream_frame.ts";
import { openTransport, type TransportHandlers } from "../../lib/gossip/transport.ts";
import type { Connection, Datagrams, Listener } from "../../lib/ports.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { flush, TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

const label = labelBytes("");
const at = { host: "127.0.0.1", port: 7980 };
const state: PushPull = { kind: "pushPull", join: false, nodes: [], userState: new Uint8Array(0) };
const frame = { label, key: undefined, nonce: () => new Uint8Array(12), compress: false };

/** One incoming connection, seen from outside. */
class Caller implements Connection {
  readonly remote = { host: "10.0.0.9", port: 1 };
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  readonly writable: WritableStream<Uint8Array>;
  readonly #answer = new StreamDecoder({ label, keys: undefined, side: "answerer" });
  #incoming!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  closed = false;
  answered = false;

  constructor() {
    this.readable = new ReadableStream({ start: (controller) => void (this.#incoming = controller) });
    this.writable = new WritableStream({
      write: (data) => {
        this.answered = this.#answer.push(data) !== undefined;
      },
    });
  }

  asks(): void {
    this.#incoming.enqueue(encodeStream(state, { ...frame, side: "dialler" }));
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#incoming.close();
  }
}

class Callers implements Listener {
  readonly local = at;
  readonly #waiting: Caller[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  async call(count = 1): Promise<Caller[]> {
    const callers = Array.from({ length: count }, () => new Caller());
    this.#waiting.push(...callers);
    this.#wake?.();
    await flush();
    return callers;
  }

  async *accept(): AsyncGenerator<Connection> {
    while (!this.#closed) {
      const next = this.#waiting.shift();
      if (next !== undefined) yield next;
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }
}

const noDatagrams: Datagrams = {
  local: at,
  send: () => Promise.resolve(),
  async *receive() {},
  close() {},
};

Deno.test("Transport: silent diallers occupy all streams, and a member replaces the oldest after a second", async () => {
  const clock = new TestClock();
  const callers = new Callers();
  const transport = await openTransport({
    bind: at,
    label,
    keyring: undefined,
    compress: false,
    bindDatagrams: () => Promise.resolve(noDatagrams),
    connections: { dial: () => Promise.reject(new Error("nobody dials")), listen: () => Promise.resolve(callers) },
    clock,
    random: { float: () => 0, bytes: (count) => new Uint8Array(count) },
    log: new TestLog(),
    handlers: { pushPull: () => state, pushPullAnswered() {} } as unknown as TransportHandlers,
  });
  transport.start();
  const first = await callers.call(32);
  const [early] = await callers.call();
  // Those that are new are served: many members that come at once must not push each other out.
  assert(early!.closed && first.every(({ closed }) => !closed));
  await clock.advance(1_000);
  const [member] = await callers.call();
  assertEquals(first.map(({ closed }) => closed), [true, ...new Array(31).fill(false)]);
  member!.asks();
  await flush();
  assert(member!.answered && member!.closed);
  assertEquals(transport.metrics.streamsRefused, 2);
  // Ten thousand callers at once hold no more than the places there are.
  const crowd = await callers.call(10_000);
  assertEquals([...first, ...crowd].filter(({ closed }) => !closed).length, 32);
  const closing = transport.close();
  await clock.advance(1_000);
  await closing;
});
