import { withDeadline } from "../../lib/cloud/with_deadline.ts";
import { assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";

const late = () => new Error("late");
const messageOf = (outcome: PromiseSettledResult<unknown>) =>
  outcome.status === "rejected" ? (outcome.reason as Error).message : outcome.value;

/** Work that fails in its own words when it is stopped. */
const stopped = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(new Error("connection closed"))));

Deno.test("withDeadline() returns the value, and throws the work's own error before the deadline", async () => {
  const clock = new TestClock();
  const { signal } = new AbortController();
  const options = { ms: 100, clock, signal, timeoutError: late };
  assertEquals(messageOf(await clock.settle(withDeadline(options, () => Promise.resolve("done")))), "done");
  const failing = withDeadline(options, () => Promise.reject(new Error("broken")));
  assertEquals(messageOf(await clock.settle(failing)), "broken");
});

Deno.test("withDeadline() throws the timeout error however the work ends, or when it never ends", async () => {
  for (const work of [stopped, () => new Promise<never>(() => {})]) {
    const clock = new TestClock();
    const { signal } = new AbortController();
    const outcome = await clock.settle(withDeadline({ ms: 100, clock, signal, timeoutError: late }, work));
    assertEquals([messageOf(outcome), outcome.tookMs], ["late", 100]);
  }
});

Deno.test("withDeadline() throws the reason of the outer signal, before and during the work", async () => {
  const clock = new TestClock();
  const outer = new AbortController();
  const working = withDeadline({ ms: 100, clock, signal: outer.signal, timeoutError: late }, stopped);
  outer.abort(new Error("enough"));
  assertEquals(messageOf(await clock.settle(working)), "enough");
  let began = false;
  const begin = () => Promise.resolve(began = true);
  const outcome = await clock.settle(withDeadline({ ms: 100, clock, signal: outer.signal, timeoutError: late }, begin));
  assertEquals([messageOf(outcome), began], ["enough", false]);
});
