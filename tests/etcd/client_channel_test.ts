/** Connections of the etcd client, with a fake gRPC and virtual time. */
import { EtcdChannels } from "../../lib/etcd/client/channel.ts";
import type { Method } from "../../lib/etcd/client/messages.ts";
import { isE2dError } from "../../lib/errors.ts";
import { assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";

type Answered = (error: null, data: Uint8Array) => void;

/** Counts connections; each answers `answerAfterMs` after it was opened, or never. */
function channels(clock: TestClock, answerAfterMs: number): { channels: EtcdChannels; opened: () => number } {
  let opened = 0;
  class Client {
    readonly #openedMs = clock.monotonicMs();
    constructor() {
      opened++;
    }
    close() {}
    makeUnaryRequest(...args: unknown[]) {
      const stopped = new AbortController();
      const waitMs = Math.max(0, this.#openedMs + answerAfterMs - clock.monotonicMs());
      if (waitMs < Infinity) {
        clock.sleep(waitMs, stopped.signal).then(() => (args.at(-1) as Answered)(null, new Uint8Array(0)), () => {});
      }
      return { cancel: () => stopped.abort() };
    }
  }
  const grpc = { Client, Metadata: class {}, credentials: { createInsecure: () => ({}) } };
  return { channels: new EtcdChannels(grpc as never, { clock, callTimeoutMs: 1_000 }), opened: () => opened };
}

const method = {
  path: "/x",
  request: { encode: () => new Uint8Array(0) },
  answer: { decode: () => "answer" },
} as unknown as Method<undefined, string>;

async function ask(clock: TestClock, from: EtcdChannels): Promise<string> {
  const asked = from.unary("http://a:2379", method, undefined, { action: "ask" });
  const outcome = await clock.settle(asked);
  if (outcome.status === "fulfilled") return outcome.value;
  return isE2dError(outcome.reason) ? outcome.reason.code : String(outcome.reason);
}

Deno.test("a connection that takes longer than one call is established across calls", async () => {
  const clock = new TestClock();
  const { channels: from, opened } = channels(clock, 2_100);
  assertEquals([await ask(clock, from), await ask(clock, from)], ["etcd_timeout", "etcd_timeout"]);
  assertEquals([await ask(clock, from), opened()], ["answer", 1]);
});

Deno.test("a connection without any answer is replaced after five seconds", async () => {
  const clock = new TestClock();
  const { channels: from, opened } = channels(clock, Infinity);
  for (let call = 0; call < 5; call++) assertEquals(await ask(clock, from), "etcd_timeout");
  assertEquals(opened(), 1);
  await ask(clock, from);
  assertEquals(opened(), 2);
});
