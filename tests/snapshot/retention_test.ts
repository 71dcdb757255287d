import fc from "fast-check";
import { graceMs, planHistory, planRetention } from "../../lib/snapshot/retention.ts";
import { assert, assertEquals } from "../support/assert.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;
const policy = { hourly: 24, daily: 7 };

Deno.test("planRetention() keeps the newest, the newest of each configured hour and day, and all within the grace", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 40 * dayMs }), { maxLength: 120 }),
      fc.record({ hourly: fc.integer({ min: 0, max: 30 }), daily: fc.integer({ min: 0, max: 10 }) }),
      (times, policy) => {
        const nowMs = 40 * dayMs;
        const entries = times.sort((a, b) => b - a).map((takenAtMs, at) => ({ key: `${at}`, takenAtMs }));
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
    (_, at) => ({ key: `${at}`, takenAtMs: nowMs - at * minuteMs }),
  );
  const removed = planRetention(entries, policy, nowMs);
  // The youngest eleven minutes, the last of 22 more hours, and of five more days.
  assertEquals(entries.length - removed.length, 11 + 22 + 5);
  assertEquals(planRetention([], policy, nowMs), []);
});

/** "1@9d23:30": of life 1, taken on day 9 at 23:30. */
function parse(text: string): { key: string; takenAtMs: number; life: number } {
  const [, life, day, hour, minute] = /^(\d+)@(\d+)d(\d+):(\d+)$/.exec(text)!.map(Number);
  return { key: text, takenAtMs: day! * dayMs + hour! * hourMs + minute! * minuteMs, life: life! };
}

type Parsed = ReturnType<typeof parse>;

/** Each life separately; a life is succeeded by those with higher numbers. */
function plan(history: readonly Parsed[], policy: { hourly: number; daily: number }, nowMs: number): Parsed[] {
  return [...new Set(history.map(({ life }) => life))].flatMap((life) =>
    planHistory(
      history.filter((entry) => entry.life === life),
      history.filter((entry) => entry.life > life),
      policy,
      nowMs,
    )
  );
}

const eachDay = (life: number, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, at) => `${life}@${to - at}d12:00`);

const table: { what: string; policy?: typeof policy; history: string[]; goes: string[] }[] = [
  {
    what: "of two lives in one hour each keeps its newest of that hour",
    history: ["2@9d10:40", "2@9d10:30", "1@9d10:20", "1@9d10:10"],
    goes: ["2@9d10:30", "1@9d10:10"],
  },
  {
    what: "the newest of each life stays when one restore follows another",
    policy: { hourly: 0, daily: 0 },
    history: ["4@9d10:50", "3@9d10:40", "2@9d10:30", "1@9d10:20"],
    goes: [],
  },
  {
    what: "a life that was succeeded keeps its days for the days asked for from the restore on",
    history: [...eachDay(2, 94, 100), ...eachDay(1, 8, 10)],
    goes: [],
  },
  {
    what: "and its newest alone, and for ever, once the lives after it have snapshots of more days",
    policy: { hourly: 0, daily: 7 },
    history: [...eachDay(2, 93, 100), "1@93d11:00", "1@92d11:00", "1@91d11:00"],
    goes: ["2@93d12:00", "1@92d11:00", "1@91d11:00"],
  },
  {
    what: "days of all lives after it count",
    policy: { hourly: 0, daily: 7 },
    history: [...eachDay(3, 98, 100), ...eachDay(2, 93, 97), "1@93d11:00", "1@92d11:00"],
    goes: ["1@92d11:00"],
  },
  {
    what: "days without a snapshot do not count",
    history: ["2@100d12:00", "2@50d12:00", "1@50d11:00", "1@49d11:00"],
    goes: [],
  },
  {
    what: "a life that saves often takes nothing from another one",
    policy: { hourly: 2, daily: 0 },
    history: ["2@9d12:00", "2@9d11:00", "2@9d10:00", "1@9d09:00", "1@9d08:00", "1@9d07:00"],
    goes: ["2@9d10:00", "1@9d07:00"],
  },
  {
    what: "a leader whose clock is behind takes nothing from what is newest by revision",
    policy: { hourly: 0, daily: 0 },
    history: ["1@9d10:00", "1@9d12:00"],
    goes: ["1@9d12:00"],
  },
];

for (const { what, history, goes, ...given } of table) {
  Deno.test(`planHistory(): ${what}`, () => {
    const removed = plan(history.map(parse), given.policy ?? policy, 200 * dayMs);
    assertEquals(removed.map(({ key }) => key), goes);
  });
}

Deno.test("planHistory() after each save never removes the newest of a life, and keeps only that of ended lives", () => {
  const step = fc.record({ gapMs: fc.integer({ min: minuteMs, max: 20 * hourMs }), restored: fc.boolean() });
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 150 }),
      fc.record({ hourly: fc.integer({ min: 0, max: 30 }), daily: fc.integer({ min: 0, max: 8 }) }),
      (steps, policy) => {
        const newest = new Map<number, string>();
        let history: Parsed[] = [];
        let [nowMs, life] = [0, 1];
        const save = (key: string) => {
          history.unshift({ key, takenAtMs: nowMs, life });
          newest.set(life, key);
          const removed = new Set(plan(history, policy, nowMs));
          history = history.filter((entry) => !removed.has(entry));
          for (const [life, key] of newest) {
            assert(history.some((entry) => entry.key === key), `the newest of life ${life} is gone`);
          }
        };
        for (const [at, { gapMs, restored }] of steps.entries()) {
          nowMs += gapMs;
          if (restored && history.length > 0) life++;
          save(`${at}`);
        }
        // Nothing piles up: of each life that ended long ago one stays.
        for (let day = 1; day <= 40; day++) {
          nowMs += dayMs;
          save(`later ${day}`);
        }
        const last = history.filter((entry) => entry.life === life);
        assert(last.length <= policy.hourly + policy.daily + 1, `${last.length} are kept`);
        assertEquals(history.length - last.length, newest.size - 1);
      },
    ),
    { seed: 6, numRuns: 300 },
  );
});
