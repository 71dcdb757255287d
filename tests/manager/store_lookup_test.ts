/** One look into the store at a time, on virtual time. */
import { E2dError } from "../../lib/errors.ts";
import { StoreLookup } from "../../lib/manager/adapters/store_lookup.ts";
import type { SnapshotPlace } from "../../lib/snapshot/lookup.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { MemoryStore } from "../support/memory_store.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

const never = new AbortController().signal;

function looks() {
  const [clock, log, store] = [new TestClock(), new TestLog(), new MemoryStore()];
  return { clock, log, looks: new StoreLookup<string>({ store, key: "db" }, { clock, log }) };
}

Deno.test("StoreLookup: a request during a lookup gets its answer; there is no second lookup", async () => {
  const { looks: each } = looks();
  const { promise, resolve } = Promise.withResolvers<string>();
  let begun = 0;
  const look = () => (begun++, promise);
  const answers = [each.run(look, never), each.run(look, never)];
  resolve("it");
  assertEquals([await Promise.all(answers), begun], [["it", "it"], 1]);
  assertEquals([await each.run(look, never), begun], ["it", 2]);
});

Deno.test("StoreLookup aborts a lookup without progress after 60 s, and starts none until that one has ended", async () => {
  const { looks: each, clock, log } = looks();
  const { promise, resolve } = Promise.withResolvers<string>();
  const failure = async (answer: Promise<string>) => {
    const outcome = await clock.settle(answer);
    assert(outcome.status === "rejected" && outcome.reason instanceof E2dError, outcome.status);
    return { message: outcome.reason.message, hint: outcome.reason.hint, tookMs: outcome.tookMs };
  };
  const first = await failure(each.run(() => promise, never));
  assertEquals(first.tookMs, 60_000);
  assert(first.message.includes("no progress for 60 s") && first.hint?.includes("e2d snapshot list"), first.message);
  assertEquals(log.lines.map(({ level }) => level), ["warn"]);
  const second = await failure(each.run(() => Promise.resolve("too early"), never));
  assertEquals(second.tookMs, 0);
  assert(second.message.includes("a lookup that began 60 s ago was aborted and has not ended"), second.message);
  resolve("late");
  await promise;
  assertEquals(await each.run(() => Promise.resolve("again"), never), "again");
});

Deno.test("StoreLookup never aborts a lookup that makes progress, and gives all lookups one store object", async () => {
  const { looks: each, clock } = looks();
  const stores = new Set<unknown>();
  const slow = async ({ store }: SnapshotPlace) => {
    stores.add(store);
    for (let times = 0; times < 5; times++) {
      await clock.sleep(50_000);
      await store.list("db");
    }
    return "done";
  };
  for (let times = 0; times < 2; times++) {
    const outcome = await clock.settle(each.run(slow, never));
    assertEquals([outcome.status, outcome.tookMs], ["fulfilled", 250_000]);
  }
  assertEquals(stores.size, 1);
});
