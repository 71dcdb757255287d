import { withDeadline } from "../../lib/cloud/with_deadline.ts";
import { assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";

const late = () => new Error("late");
const messageOf = (outcome: PromiseSettledResult<unknown>) =>
  outcome.status === "rejected" ? (outcome.reason as Error).message : outcome.value;

/** Work that fails in its own words when it is stopped. */
const stopped = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener("abort", () => reject(new Error("connection closed"))));

Deno.test("withDeadline() gives the value, and the work's own error when nobody stopped it", async () => {
  const clock = new TestClock();
  const { signal } = new AbortController();
  const options = { ms: 100, clock, signal, late };
  assertEquals(messageOf(await clock.settle(withDeadline(options, () => Promise.resolve("done")))), "done");
  const failing = withDeadline(options, () => Promise.reject(new Error("broken")));
  assertEquals(messageOf(await clock.settle(failing)), "broken");
});

Deno.test("withDeadline() says that it was late, in whatever words the work ends, or though it never does", async () => {
  for (const work of [stopped, () => new Promise<never>(() => {})]) {
    const clock = new TestClock();
    const { signal } = new AbortController();
    const outcome = await clock.settle(withDeadline({ ms: 100, clock, signal, late }, work));
    assertEquals([messageOf(outcome), outcome.tookMs], ["late", 100]);
  }
});

Deno.test("withDeadline() gives the reason of the outer signal, before and while it works", async () => {
  const clock = new TestClock();
  const outer = new AbortController();
  const working = withDeadline({ ms: 100, clock, signal: outer.signal, late }, stopped);
  outer.abort(new Error("enough"));
  assertEquals(messageOf(await clock.settle(working)), "enough");
  let began = false;
  const begin = () => Promise.resolve(began = true);
  const outcome = await clock.settle(withDeadline({ ms: 100, clock, signal: outer.signal, late }, begin));
  assertEquals([messageOf(outcome), began], ["enough", false]);
});
