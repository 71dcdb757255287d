import fc from "fast-check";
import { graceMs, planRetention } from "../../lib/snapshot/retention.ts";
import { assert, assertEquals } from "../support/assert.ts";

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
const policy = { hourly: 24, daily: 7 };

Deno.test("planRetention() keeps the newest, the last of each hour and day that is asked for, and all within the grace", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 40 * dayMs }), { maxLength: 120 }),
      fc.record({ hourly: fc.integer({ min: 0, max: 30 }), daily: fc.integer({ min: 0, max: 10 }) }),
      (times, policy) => {
        const nowMs = 40 * dayMs;
        const entries = times.map((takenAtMs, at) => ({ key: `${at}`, takenAtMs }));
        const removed = new Set(planRetention(entries, policy, nowMs));
        const kept = entries.filter((entry) => !removed.has(entry));
        const newestMs = Math.max(...times);
        if (times.length > 0) assert(kept.some(({ takenAtMs }) => takenAtMs === newestMs), "the newest is gone");
        for (const { takenAtMs } of removed) assert(nowMs - takenAtMs > graceMs, "one within the grace is gone");
        for (const [count, unitMs] of [[policy.hourly, hourMs], [policy.daily, dayMs]] as const) {
          const units = [...new Set(times.map((time) => Math.floor(time / unitMs)))].sort((a, b) => b - a);
          for (const unit of units.slice(0, count)) {
            const lastMs = Math.max(...times.filter((time) => Math.floor(time / unitMs) === unit));
            assert(kept.some(({ takenAtMs }) => takenAtMs === lastMs), "the last of a unit is gone");
          }
        }
        // No more than is asked for, beside what is young.
        const old = kept.filter(({ takenAtMs }) => nowMs - takenAtMs > graceMs);
        assert(old.length <= policy.hourly + policy.daily + 1, `${old.length} are kept`);
      },
    ),
    { seed: 6, numRuns: 500 },
  );
});

Deno.test("planRetention() of a snapshot each minute for ten days leaves 24 hours, 7 days and the grace", () => {
  const nowMs = 10 * dayMs;
  const entries = Array.from({ length: 14_400 }, (_, at) => ({ key: `${at}`, takenAtMs: nowMs - at * 60_000 }));
  const removed = planRetention(entries, policy, nowMs);
  // The youngest eleven minutes, the last of 22 more hours, and of five more days.
  assertEquals(entries.length - removed.length, 11 + 22 + 5);
  assertEquals(planRetention([], policy, nowMs), []);
});
