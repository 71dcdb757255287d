import { NewestQueue } from "../../lib/sys/newest_queue.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("NewestQueue keeps the newest items for a busy reader, in order, and counts dropped ones", async () => {
  const queue = new NewestQueue<number>(512);
  for (let number = 0; number < 512; number++) queue.push(number);
  assertEquals(queue.dropped, 0);
  for (let number = 512; number < 1_000; number++) queue.push(number);
  queue.close();
  const kept = await Array.fromAsync(queue.read());
  assertEquals([kept.length, kept[0], kept.at(-1), queue.dropped], [512, 488, 999, 488]);
  assertEquals(kept.toSorted((a, b) => a - b), kept);
});

Deno.test("NewestQueue wakes a waiting reader for an item and for the end", async () => {
  const queue = new NewestQueue<string>(2);
  const reader = queue.read();
  for (const item of ["a", "b"]) {
    const next = reader.next();
    queue.push(item);
    assertEquals(await next, { done: false, value: item });
  }
  const end = reader.next();
  queue.close();
  assertEquals((await end).done, true);
});
