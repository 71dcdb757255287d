/** The Snapshot call over a fake stream: parts become chunks, and every failure closes the call and has its code. */
import { concat } from "../../lib/bytes.ts";
import { isE2dError } from "../../lib/errors.ts";
import { bytes, integer, message } from "../../lib/etcd/client/protobuf.ts";
import { callSnapshot } from "../../lib/etcd/client/snapshot_call.ts";
import type { OpenGrpcStream } from "../../lib/ports.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { flush, TestClock } from "../support/test_clock.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const part = message({ remainingBytes: integer(2), blob: bytes(3) });
const sumBytes = 32;

function framed(blob: Uint8Array, remainingBytes: number): Bytes {
  const body = part.encode({ remainingBytes, blob });
  const prefix = new Uint8Array(5);
  new DataView(prefix.buffer).setUint32(1, body.length);
  return concat(prefix, body);
}

/** Delivers these parts, then ends, fails or is silent. */
function call(parts: readonly Bytes[], end: "ends" | "fails" | "is silent") {
  const state = { closed: 0, opened: 0 };
  const open: OpenGrpcStream = ({ url }) => {
    assertEquals(url, "http://127.0.0.1:2379/etcdserverpb.Maintenance/Snapshot");
    state.opened++;
    let at = 0;
    const body: ReadableStream<Bytes> = new ReadableStream({
      type: "bytes",
      pull(controller) {
        const next = parts[at++];
        if (next !== undefined) return controller.enqueue(next.slice());
        if (end === "fails") return controller.error(new Error("connection reset"));
        if (end === "is silent") return new Promise<void>(() => {});
        controller.close();
        controller.byobRequest?.respond(0);
      },
    });
    return Promise.resolve({ kind: "messages", body, close: () => void state.closed++ });
  };
  const clock = new TestClock();
  const signal = new AbortController();
  const opened = callSnapshot(
    { endpoint: "http://127.0.0.1:2379", tls: undefined, open, clock },
    { timeoutMs: 1_000, signal: signal.signal },
  );
  return { opened, clock, state, abort: () => signal.abort(new Error("stopped")) };
}

const database = Uint8Array.from({ length: 2_500_000 }, (_, at) => at * 7 % 251);
/** 32 KiB parts of the database with its checksum, as etcd sends them. */
const parts = Array.from({ length: Math.ceil(database.length / 32_768) }, (_, at) => {
  const end = Math.min((at + 1) * 32_768, database.length);
  return framed(database.subarray(at * 32_768, end), database.length - end);
});
const whole = [...parts, framed(new Uint8Array(sumBytes).fill(9), 0)];

async function read(stream: ReadableStream<Bytes>): Promise<Bytes> {
  const chunks: Bytes[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return concat(...chunks);
}

const codeOf = (outcome: PromiseSettledResult<unknown>) =>
  outcome.status === "fulfilled"
    ? "fulfilled"
    : isE2dError(outcome.reason)
    ? outcome.reason.code
    : String(outcome.reason.message);

Deno.test("callSnapshot() returns the database and its checksum, and closes the call at the end", async () => {
  const { opened, state } = call(whole, "ends");
  const { totalBytes, stream } = await opened;
  assertEquals(totalBytes, database.length + sumBytes);
  const received = await read(stream);
  assertEquals([received.length, received.at(-1)], [totalBytes, 9]);
  assert(received.subarray(0, database.length).every((byte, at) => byte === database[at]));
  await flush();
  assertEquals(state, { opened: 1, closed: 1 });
});

Deno.test("callSnapshot() reports a snapshot that ends early, and a lost connection", async () => {
  for (
    const [given, end, code] of [
      [parts, "ends", "etcd_snapshot_cut"],
      [parts, "fails", "etcd_connection_lost"],
    ] as const
  ) {
    const { opened, state } = call(given, end);
    const [outcome] = await Promise.allSettled([opened.then(({ stream }) => read(stream))]);
    await flush();
    assertEquals([codeOf(outcome), state.closed], [code, 1]);
  }
  const { opened } = call([], "ends");
  assertEquals(codeOf((await Promise.allSettled([opened]))[0]), "etcd_snapshot_cut");
});

Deno.test("callSnapshot() times out on silence, but not while its reader pauses", async () => {
  const { opened, clock, state } = call(parts, "is silent");
  const { stream } = await opened;
  await clock.advance(10_000);
  const outcome = await clock.settle(read(stream));
  assertEquals(codeOf(outcome), "etcd_timeout");
  await flush();
  assertEquals(state.closed, 1);
});

Deno.test("callSnapshot() throws the signal's reason when it is aborted, and closes the call", async () => {
  const { opened, clock, state, abort } = call(parts, "is silent");
  const { stream } = await opened;
  const reading = Promise.allSettled([read(stream)]);
  await clock.advance(100);
  abort();
  assertEquals(codeOf((await reading)[0]), "stopped");
  await flush();
  assertEquals(state.closed, 1);
});
