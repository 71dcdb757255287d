import fc from "fast-check";
import { graceMs, planRetention } from "../../lib/snapshot/retention.ts";
import { assert, assertEquals } from "../support/assert.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const policy = { hourly: 24, daily: 7 };

Deno.test("planRetention() keeps the newest, the newest of each hour and day that is asked for, and all within the grace", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 40 * dayMs }), { maxLength: 120 }),
      fc.record({ hourly: fc.integer({ min: 0, max: 30 }), daily: fc.integer({ min: 0, max: 10 }) }),
      (times, policy) => {
        const nowMs = 40 * dayMs;
        const entries = times.sort((a, b) => b - a).map((takenAtMs, at) => ({ key: `${at}`, takenAtMs, epoch: 1 }));
        const removed = new Set(planRetention(entries, policy, nowMs));
        const kept = entries.filter((entry) => !removed.has(entry));
        assertEquals(kept[0], entries[0]);
        for (const { takenAtMs } of removed) assert(nowMs - takenAtMs > graceMs, "one within the grace is gone");
        for (const [count, unitMs] of [[policy.hourly, hourMs], [policy.daily, dayMs]] as const) {
          const units = [...new Set(times.map((time) => Math.floor(time / unitMs)))].sort((a, b) => b - a);
          for (const unit of units.slice(0, count)) {
            const newest = entries.find(({ takenAtMs }) => Math.floor(takenAtMs / unitMs) === unit)!;
            assert(!removed.has(newest), "the newest of a unit is gone");
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
  const entries = Array.from(
    { length: 14_400 },
    (_, at) => ({ key: `${at}`, takenAtMs: nowMs - at * minuteMs, epoch: 1 }),
  );
  const removed = planRetention(entries, policy, nowMs);
  // The youngest eleven minutes, the last of 22 more hours, and of five more days.
  assertEquals(entries.length - removed.length, 11 + 22 + 5);
  assertEquals(planRetention([], policy, nowMs), []);
});

/** "1@9d23:30": of epoch 1, taken on day 9 at 23:30. */
function parse(text: string): { key: string; takenAtMs: number; epoch: number } {
  const [, epoch, day, hour, minute] = /^(\d+)@(\d+)d(\d+):(\d+)$/.exec(text)!.map(Number);
  return { key: text, takenAtMs: day! * dayMs + hour! * hourMs + minute! * minuteMs, epoch: epoch! };
}

const eachDay = (epoch: number, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => `${epoch}@${to - at}d12:00`);

const table: { what: string; policy?: typeof policy; history: string[]; goes: string[] }[] = [
  {
    what: "the newest before a restore in the same hour stays, and no more of that hour",
    history: ["2@9d10:40", "2@9d10:30", "1@9d10:20", "1@9d10:10"],
    goes: ["2@9d10:30", "1@9d10:10"],
  },
  {
    what: "that of each life stays when one restore follows another",
    history: ["4@9d10:50", "3@9d10:40", "2@9d10:30", "1@9d10:20"],
    goes: [],
  },
  {
    what: "it stays for the days asked for from the restore on, however old it was by then",
    history: [...eachDay(2, 94, 100), "1@10d12:00"],
    goes: [],
  },
  {
    what: "when the lives after it have more days than that it goes, as a daily one of the restore's day does",
    policy: { hourly: 0, daily: 7 },
    history: [...eachDay(2, 93, 100), "1@93d11:00"],
    goes: ["2@93d12:00", "1@93d11:00"],
  },
  {
    what: "days of all lives after it count",
    policy: { hourly: 0, daily: 7 },
    history: [...eachDay(3, 98, 100), ...eachDay(2, 93, 97), "1@93d11:00"],
    goes: ["2@93d12:00", "1@93d11:00"],
  },
  {
    what: "days without a snapshot do not count",
    history: ["2@100d12:00", "2@50d12:00", "1@50d11:00"],
    goes: [],
  },
  {
    what: "where nothing is asked for it stays until the day after",
    policy: { hourly: 0, daily: 0 },
    history: ["2@9d23:00", "2@9d22:00", "1@9d10:00"],
    goes: ["2@9d22:00"],
  },
  {
    what: "and no longer",
    policy: { hourly: 0, daily: 0 },
    history: ["2@10d00:10", "2@9d23:00", "1@9d10:00"],
    goes: ["2@9d23:00", "1@9d10:00"],
  },
  {
    what: "a clock that was ahead before the restore takes nothing from the life after it",
    policy: { hourly: 0, daily: 2 },
    history: ["2@9d12:00", "2@8d12:00", "2@7d12:00", "1@30d12:00", "1@29d12:00"],
    goes: ["2@7d12:00", "1@30d12:00", "1@29d12:00"],
  },
  {
    what: "a leader whose clock is behind takes nothing from what is newest by revision",
    policy: { hourly: 0, daily: 0 },
    history: ["1@9d10:00", "1@9d12:00"],
    goes: ["1@9d12:00"],
  },
];

for (const { what, history, goes, ...given } of table) {
  Deno.test(`planRetention(): ${what}`, () => {
    const removed = planRetention(history.map(parse), given.policy ?? policy, 200 * dayMs);
    assertEquals(removed.map(({ key }) => key), goes);
  });
}

Deno.test("planRetention() after each save never takes the newest of a life before its days are over, and takes it then", () => {
  const step = fc.record({ gapMs: fc.integer({ min: minuteMs, max: 20 * hourMs }), restored: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 150 }),
      fc.record({ hourly: fc.integer({ min: 0, max: 30 }), daily: fc.integer({ min: 0, max: 8 }) }),
      (steps, policy) => {
        const ended = new Map<number, { newest: string; dayOfEnd: number }>();
        let history: ReturnType<typeof parse>[] = [];
        let [nowMs, epoch] = [0, 1];
        for (const [at, { gapMs, restored }] of steps.entries()) {
          nowMs += gapMs;
          const today = Math.floor(nowMs / dayMs);
          if (restored && history.length > 0) {
            ended.set(epoch, { newest: history[0]!.key, dayOfEnd: today });
            epoch++;
          }
          history.unshift({ key: `${at}`, takenAtMs: nowMs, epoch });
          const removed = new Set(planRetention(history, policy, nowMs));
          history = history.filter((entry) => !removed.has(entry));
          assertEquals(history[0]!.key, `${at}`);
          for (const [epoch, { newest, dayOfEnd }] of ended) {
            if (today - dayOfEnd >= Math.max(1, policy.daily)) continue;
            assert(history.some(({ key }) => key === newest), `the newest of epoch ${epoch} is gone on day ${today}`);
          }
        }
        // Nothing piles up: of lives that ended long ago no more stays than of any other day.
        for (let day = 1; day <= 40; day++) {
          nowMs += dayMs;
          history.unshift({ key: `later ${day}`, takenAtMs: nowMs, epoch });
          const removed = new Set(planRetention(history, policy, nowMs));
          history = history.filter((entry) => !removed.has(entry));
        }
        assert(history.length <= policy.hourly + policy.daily + 1, `${history.length} are kept`);
        assert(history.every((entry) => entry.epoch === epoch), "one of an earlier life is kept for ever");
      },
    ),
    { seed: 6, numRuns: 300 },
  );
});
