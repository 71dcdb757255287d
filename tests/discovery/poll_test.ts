import { ThrottledError } from "../../lib/cloud/throttled_error.ts";
import { pollDiscovery, pollTimes } from "../../lib/discovery/poll.ts";
import type { DiscoveryMethod, PeerAddress } from "../../lib/discovery/method.ts";
import { E2dError } from "../../lib/errors.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { flush, TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

type Answer = readonly PeerAddress[] | Error | "silence";

/** A method that answers as it is told, and the asking of it. */
function world(answer: Answer, options: { float?: number; changes?: DiscoveryMethod["changes"] } = {}) {
  const clock = new TestClock();
  const log = new TestLog();
  const stop = new AbortController();
  const askedAtMs: number[] = [];
  const state = { answer };
  const method: DiscoveryMethod = {
    name: "test",
    async peers(signal) {
      askedAtMs.push(clock.monotonicMs());
      const now = state.answer;
      if (now === "silence") {
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
        throw new Error("not reached");
      }
      if (now instanceof Error) throw now;
      return now;
    },
    ...options.changes === undefined ? {} : { changes: options.changes },
  };
  const random = { float: () => options.float ?? 0.5, bytes: (length: number) => new Uint8Array(length) };
  const asking = pollDiscovery(method, { clock, random, log }, stop.signal);
  const changes: string[] = [];
  asking.onChange((peers) => changes.push(peers.map(({ host, port }) => port ? `${host}:${port}` : host).join()));
  return { clock, log, stop, askedAtMs, state, asking, changes };
}

const a = { host: "10.0.0.1" };
const b = { host: "10.0.0.2", port: 7981 };
const failure = (code = "cloud_failed") => new E2dError(code, "Cannot ask: it fails");
const pauses = (times: readonly number[]) => times.slice(1).map((at, index) => at - times[index]!);

Deno.test("pollDiscovery() polls at once, then with doubled pauses up to a minute, without end", async () => {
  const { clock, askedAtMs, asking } = world([a]);
  assertEquals(asking.latest(), undefined);
  await clock.advance(600_000, 1000);
  assertEquals(pauses(askedAtMs).slice(0, 8), [2000, 2000 * 2, 8000, 16000, 32000, 60000, 60000, 60000]);
  assertEquals(asking.latest(), [a]);
});

Deno.test("pollDiscovery() spreads each pause by a quarter either way, and no more", async () => {
  for (const [float, factor] of [[0, 0.75], [0.999999, 1.25]] as const) {
    const { clock, askedAtMs } = world([a], { float });
    await clock.advance(8_000, 10);
    const [first, second] = pauses(askedAtMs);
    assert(Math.abs(first! - 2000 * factor) <= 10 && Math.abs(second! - 4000 * factor) <= 10, `${first} ${second}`);
  }
});

Deno.test("pollDiscovery() shortens the pause after a change, and reports each change once", async () => {
  const { clock, askedAtMs, state, changes, log } = world([a]);
  await clock.advance(300_000, 1000);
  state.answer = [b, a, a];
  await clock.advance(60_000, 1000);
  const asked = askedAtMs.length;
  await clock.advance(2_000, 1000);
  assertEquals(askedAtMs.length > asked - 1, true);
  assertEquals(pauses(askedAtMs).includes(2000), true);
  state.answer = [a, b];
  await clock.advance(300_000, 1000);
  assertEquals(changes, ["10.0.0.1", "10.0.0.1,10.0.0.2:7981"]);
  assertEquals(log.lines.map(({ level, fields }) => [level, fields["added"], fields["gone"]]), [
    ["info", ["10.0.0.1"], []],
    ["info", ["10.0.0.2:7981"], []],
  ]);
});

Deno.test("pollDiscovery() reports a changed port as a change", async () => {
  const { clock, state, changes } = world([{ host: "10.0.0.1", port: 1 }]);
  await clock.advance(1);
  state.answer = [{ host: "10.0.0.1", port: 2 }];
  await clock.advance(60_000);
  assertEquals(changes, ["10.0.0.1:1", "10.0.0.1:2"]);
});

Deno.test("pollDiscovery() keeps the last good answer whatever fails, and logs each kind of failure once", async () => {
  const { clock, state, asking, log, changes, askedAtMs } = world([a]);
  await clock.advance(100);
  state.answer = failure();
  await clock.advance(600_000, 1000);
  assertEquals(asking.latest(), [a]);
  state.answer = failure("cloud_forbidden");
  await clock.advance(600_000, 1000);
  state.answer = [a];
  await clock.advance(120_000, 1000);
  assertEquals(asking.latest(), [a]);
  assertEquals(changes.length, 1);
  assert(askedAtMs.length > 20);
  assertEquals(log.lines.map(({ level, fields }) => [level, fields["code"], fields["kept"]]), [
    ["info", undefined, undefined],
    ["warn", "cloud_failed", 1],
    ["warn", "cloud_forbidden", 1],
    ["info", undefined, undefined],
  ]);
});

Deno.test("pollDiscovery() accepts an empty list, and warns", async () => {
  const { clock, state, asking, changes, log } = world([a]);
  await clock.advance(100);
  state.answer = [];
  await clock.advance(60_000);
  assertEquals(asking.latest(), []);
  assertEquals(changes, ["10.0.0.1", ""]);
  assertEquals(log.lines.at(-1)!.level, "warn");
});

Deno.test("pollDiscovery() begins a failure with short pauses and comes back with short ones", async () => {
  const { clock, state, askedAtMs } = world([a]);
  await clock.advance(300_000, 1000);
  state.answer = failure();
  const before = askedAtMs.length;
  await clock.advance(90_000, 1000);
  assertEquals(pauses(askedAtMs).slice(before, before + 3), [2000, 4000, 8000]);
  await clock.advance(300_000, 1000);
  state.answer = [a];
  const back = askedAtMs.length;
  await clock.advance(90_000, 1000);
  assertEquals(pauses(askedAtMs).slice(back, back + 3), [2000, 4000, 8000]);
});

Deno.test("pollDiscovery() pauses as long as a throttling cloud requests", async () => {
  for (const [retryAfterMs, pauseMs] of [[undefined, 15_000], [40_000, 40_000 / 0.75], [3_600_000, 300_000]] as const) {
    const { clock, askedAtMs } = world(new ThrottledError("Cannot ask: too often", retryAfterMs));
    await clock.advance(310_000, 250);
    const [first] = pauses(askedAtMs);
    assert(first! >= pauseMs && first! < pauseMs + 250, `${first} instead of ${pauseMs}`);
  }
});

Deno.test("pollDiscovery() aborts a poll that never ends, and polls again", async () => {
  const { clock, state, asking, log } = world("silence");
  await clock.advance(pollTimes.answerMaxMs + 100);
  assertEquals(log.lines[0]!.fields["code"], "discovery_timeout");
  state.answer = [a];
  await clock.advance(10_000);
  assertEquals(asking.latest(), [a]);
});

Deno.test("pollDiscovery() refuses an answer with more addresses than any cluster has", async () => {
  const many = Array.from({ length: 5001 }, (_, at) => ({ host: `n${at}.test` }));
  const { clock, asking, log } = world(many);
  await clock.advance(100);
  assertEquals(asking.latest(), undefined);
  assertEquals(log.lines[0]!.fields["code"], "discovery_too_many");
});

Deno.test("pollDiscovery() ends with its signal, at any moment", async () => {
  for (const answer of [[a], failure(), "silence"] as Answer[]) {
    const { clock, stop, asking, askedAtMs } = world(answer);
    await clock.advance(5_000);
    stop.abort();
    await asking.ended;
    const asked = askedAtMs.length;
    await clock.advance(300_000, 1000);
    assertEquals(askedAtMs.length, asked);
  }
});

Deno.test("pollDiscovery() applies the changes of a method, and watches again when they end", async () => {
  let tell: ((answer: readonly PeerAddress[] | Error) => void) | undefined;
  let listened = 0;
  async function* changes() {
    listened++;
    while (true) {
      const answer = await new Promise<readonly PeerAddress[] | Error>((resolve) => tell = resolve);
      if (answer instanceof Error) throw answer;
      yield answer;
    }
  }
  const { clock, asking, state, stop, log } = world([a], { changes });
  await clock.advance(100);
  state.answer = [a, b];
  tell!([a, b]);
  await flush();
  assertEquals(asking.latest(), [a, b]);
  tell!(failure("watch_broken"));
  await clock.advance(5_000);
  assertEquals(listened, 2);
  tell!([b]);
  await flush();
  assertEquals(asking.latest(), [b]);
  const codes = log.lines.map(({ fields }) => fields["code"]).filter((code) => code !== undefined);
  assertEquals(codes, ["watch_broken"]);
  stop.abort();
});

Deno.test("pollDiscovery() never replaces a newer change with an older poll", async () => {
  const slow = Promise.withResolvers<readonly PeerAddress[]>();
  const clock = new TestClock();
  const stop = new AbortController();
  async function* changes() {
    yield [b];
    await new Promise(() => {});
  }
  const asking = pollDiscovery(
    { name: "test", peers: () => slow.promise, changes },
    { clock, log: new TestLog(), random: { float: () => 0.5, bytes: (length) => new Uint8Array(length) } },
    stop.signal,
  );
  await flush();
  assertEquals(asking.latest(), [b]);
  slow.resolve([a]);
  await flush();
  assertEquals(asking.latest(), [b]);
  stop.abort();
});
