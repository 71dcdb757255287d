import fc from "fast-check";
import { BroadcastQueue } from "../../lib/gossip/swim/broadcast_queue.ts";
import { assert, assertEquals } from "../support/assert.ts";

const bytes = (length: number, fill = 0) => new Uint8Array(length).fill(fill);
const fills = (taken: readonly Uint8Array[]) => taken.map((each) => each[0]);
const all = { overheadBytes: 2, transmitsMax: 2, count: 100 };

Deno.test("BroadcastQueue.take() orders by fewest transmissions, then size, then age", () => {
  const queue = new BroadcastQueue();
  queue.add("small", bytes(10, 1));
  queue.add("large", bytes(20, 2));
  queue.add("newer", bytes(10, 3));
  assertEquals(fills(queue.take(100, all)), [2, 3, 1]);
  queue.add("fresh", bytes(5, 4));
  assertEquals(fills(queue.take(12 + 7, all)), [4, 3], "what was sent before comes after what was not");
});

Deno.test("BroadcastQueue sends each message transmitsMax times", () => {
  const queue = new BroadcastQueue();
  queue.add("a", bytes(10, 1));
  assertEquals([queue.take(100, all), queue.take(100, all), queue.take(100, all)].map(fills), [[1], [1], []]);
  assertEquals([queue.length, queue.has("a")], [0, false]);
});

Deno.test("BroadcastQueue.add() replaces a message with the same key, and restarts its count", () => {
  const queue = new BroadcastQueue();
  queue.add("a", bytes(10, 1));
  queue.take(100, all);
  queue.add("a", bytes(10, 2));
  assertEquals([queue.take(100, all), queue.take(100, all), queue.take(100, all)].map(fills), [[2], [2], []]);
});

Deno.test("BroadcastQueue.take() never exceeds the bytes, loses no message, and skips too large ones", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(8), fc.integer({ min: 1, max: 400 })), { maxLength: 40 }),
      fc.integer({ min: 0, max: 1400 }),
      fc.integer({ min: 1, max: 5 }),
      (items, room, transmitsMax) => {
        const queue = new BroadcastQueue();
        for (const [key, length] of items) queue.add(`${key}`, bytes(length));
        const wanted = [...new Map(items).values()].filter((length) => length + 2 <= room);
        let sent = 0;
        for (let round = 0; round < 500; round++) {
          const taken = queue.take(room, { overheadBytes: 2, transmitsMax, count: 7 });
          if (taken.length === 0) break;
          assert(taken.length <= 7);
          assert(taken.reduce((sum, { length }) => sum + length + 2, 0) <= room);
          sent += taken.length;
        }
        assertEquals(sent, wanted.length * transmitsMax);
        assertEquals(queue.length, new Set(items.map(([key]) => key)).size - wanted.length);
      },
    ),
    { seed: 4, numRuns: 300 },
  );
});
