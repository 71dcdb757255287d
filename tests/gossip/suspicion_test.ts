import { Suspicion, suspicionTimes, suspicionTotalMs } from "../../lib/gossip/swim/suspicion.ts";
import { lanConfig } from "../../lib/gossip/swim/config.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("suspicionTimes() are memberlist's for clusters of its defaults", () => {
  const cases: [members: number, minMs: number, expected: number][] = [
    [1, 4000, 0],
    [3, 4000, 0],
    [4, 4000, 2],
    [5, 4000, 2],
    [10, 4000, 2],
    [50, 6792, 2],
    [200, 9204, 2],
  ];
  for (const [members, minMs, expected] of cases) {
    assertEquals(suspicionTimes(lanConfig, members), { minMs, maxMs: minMs * 6, expected }, `${members} members`);
  }
});

/** The table of memberlist's own test of remainingSuspicionTime: 2 s to 30 s, three confirmations. */
Deno.test("suspicionTotalMs() falls with the logarithm of the confirmations", () => {
  const times = { minMs: 2_000, maxMs: 30_000, expected: 3 };
  assertEquals([0, 1, 2, 3, 4].map((count) => suspicionTotalMs(times, count)), [30_000, 16_000, 7_810, 2_000, 2_000]);
  assertEquals(suspicionTotalMs({ ...times, expected: 0 }, 0), 2_000, "nobody to wait for");
});

Deno.test("Suspicion counts each accuser once, the first one never, and no more than it waits for", () => {
  const suspicion = new Suspicion({ minMs: 1000, maxMs: 6000, expected: 2 }, "a", 100);
  assertEquals(suspicion.endsMs, 6100);
  assertEquals(suspicion.confirm("a"), false);
  assertEquals(suspicion.confirm("b"), true);
  assertEquals(suspicion.confirm("b"), false);
  assertEquals(suspicion.confirm("c"), true);
  assertEquals(suspicion.endsMs, 1100);
  assertEquals(suspicion.confirm("d"), false);
});

Deno.test("Suspicion.postpone() extends the suspicion by the lost time, and by the time to read waiting packets", () => {
  const suspicion = new Suspicion({ minMs: 1000, maxMs: 1000, expected: 0 }, "a", 0);
  suspicion.postpone(500, 1200);
  assertEquals(suspicion.endsMs, 1500);
  suspicion.postpone(10, 5000);
  assertEquals(suspicion.endsMs, 5000);
});
