import { servedMs, untilServed } from "../../lib/snapshot/offer.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";

Deno.test("untilServed() waits for a minute in which the own etcd serves each read", async () => {
  const clock = new TestClock();
  let serving = false;
  let over = false;
  const served = untilServed(() => Promise.resolve(serving), clock, new AbortController().signal);
  void served.then(() => over = true);
  await clock.advance(10 * servedMs, 1_000);
  assert(!over, "nothing served");
  serving = true;
  await clock.advance(servedMs - 5_000, 1_000);
  serving = false;
  await clock.advance(5_000, 1_000);
  serving = true;
  await clock.advance(servedMs - 5_000, 1_000);
  assert(!over, "it was interrupted");
  await clock.advance(10_000, 1_000);
  assert(over, "it has served for a minute");
});

Deno.test("untilServed() rejects with the reason of the signal", async () => {
  const clock = new TestClock();
  const over = new AbortController();
  const served = untilServed(() => Promise.resolve(false), clock, over.signal).catch((error) => error);
  await clock.advance(7_000);
  over.abort("withdrawn");
  assertEquals(await served, "withdrawn");
});
