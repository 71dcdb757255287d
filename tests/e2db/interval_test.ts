import fc from "fast-check";
import { compareBytes } from "../../lib/e2db/schema/bytes.ts";
import { intersect, type Interval, type Intervals, invert, union } from "../../lib/e2db/query/interval.ts";
import { assert, assertEquals } from "../support/assert.ts";

const seed = 20_261_123;
const short = fc.array(fc.constantFrom(0, 1, 254, 255), { maxLength: 3 }).map((bytes) => new Uint8Array(bytes));
const interval = fc.record({ low: short, high: fc.option(short, { nil: undefined }), point: fc.constant(false) });
const set = fc.array(interval, { maxLength: 5 }).map((intervals) => union([intervals]));
/** Every byte string of a small alphabet. */
const all: Uint8Array[] = [[]].flatMap(() => {
  const letters = [0, 1, 254, 255];
  const words: number[][] = [[]];
  for (const one of letters) {
    words.push([one]);
    for (const two of letters) {
      words.push([one, two]);
      for (const three of letters) words.push([one, two, three], [one, two, three, 0]);
    }
  }
  return words.map((word) => new Uint8Array(word));
});

const holds = (set: Intervals, word: Uint8Array) =>
  set.some(({ low, high }) => compareBytes(low, word) <= 0 && (high === undefined || compareBytes(word, high) < 0));

function assertTidy(set: Intervals): void {
  for (const [index, { low, high }] of set.entries()) {
    assert(high === undefined || compareBytes(low, high) < 0, "empty interval");
    const next: Interval | undefined = set[index + 1];
    if (next !== undefined) assert(high !== undefined && compareBytes(high, next.low) <= 0, "overlap or wrong order");
  }
}

Deno.test(`union(), intersect() and invert() are those of sets, and stay sorted and disjoint (seed ${seed})`, () => {
  fc.assert(
    fc.property(set, set, (a, b) => {
      const [either, both, not] = [union([a, b]), intersect(a, b), invert(a)];
      for (const result of [a, either, both, not]) assertTidy(result);
      for (const word of all) {
        assertEquals(holds(either, word), holds(a, word) || holds(b, word));
        assertEquals(holds(both, word), holds(a, word) && holds(b, word));
        assertEquals(holds(not, word), !holds(a, word));
      }
    }),
    { seed, numRuns: 500 },
  );
});
