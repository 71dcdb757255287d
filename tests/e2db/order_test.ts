import fc from "fast-check";
import { compareBytes, complement, concat } from "../../lib/e2db/schema/bytes.ts";
import { decodeOrdered, encodeOrdered, type Orderable } from "../../lib/e2db/schema/order.ts";
import { assert, assertEquals } from "../support/assert.ts";

const seed = 20_261_123;
const text = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom("\0", "\x01", "a", "\uffff", "😀") }),
);
const bytes = fc.uint8Array({ maxLength: 8 }).map((array) => new Uint8Array(array));
const value: fc.Arbitrary<Orderable> = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double({ noNaN: true }),
  fc.constantFrom(-0, 0, Infinity, -Infinity, Number.MIN_VALUE, -Number.MIN_VALUE),
  fc.date({ noInvalidDate: true }),
  text,
  bytes,
);

const rank = (a: Orderable) =>
  a === null
    ? 0
    : ["boolean", "number"].indexOf(typeof a) + 1 || (a instanceof Date ? 3 : typeof a === "string" ? 4 : 5);

/** The order that encodings must have, without the bytes of numbers or UTF-8. */
function compare(a: Orderable, b: Orderable): number {
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  if (typeof a === "string") return compareLists([...a].map(codePoint), [...b as string].map(codePoint));
  if (a instanceof Uint8Array) return compareLists([...a], [...b as Uint8Array]);
  const [x, y] = [Number(a), Number(b)];
  return x < y ? -1 : x > y ? 1 : 0;
}
const codePoint = (character: string) => character.codePointAt(0)!;
function compareLists(a: number[], b: number[]): number {
  for (let i = 0; i < Math.min(a.length, b.length); i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

Deno.test(`encodeOrdered() sorts any two values as a sort in memory does (seed ${seed})`, () => {
  const check = (a: Orderable, b: Orderable) =>
    assertEquals(Math.sign(compareBytes(encodeOrdered(a), encodeOrdered(b))), Math.sign(compare(a, b)));
  fc.assert(fc.property(value, value, check), { seed, numRuns: 3_000 });
  fc.assert(fc.property(text, text, check), { seed, numRuns: 2_000 });
  fc.assert(fc.property(fc.double({ noNaN: true }), fc.double({ noNaN: true }), check), { seed, numRuns: 2_000 });
});

Deno.test(`encodeOrdered() returns no encoding that is a prefix of another, so complements sort in reverse (seed ${seed})`, () => {
  fc.assert(
    fc.property(value, value, value, value, (a, b, c, d) => {
      const [x, y] = [concat(encodeOrdered(a), encodeOrdered(b)), concat(encodeOrdered(c), encodeOrdered(d))];
      const forward = compareBytes(x, y);
      assertEquals(Math.sign(compareBytes(complement(x), complement(y))), 0 - Math.sign(forward));
      if (forward !== 0) assert(compareBytes(x.subarray(0, y.length), y) !== 0, "one begins the other");
    }),
    { seed, numRuns: 3_000 },
  );
});

Deno.test(`decodeOrdered() reads what encodeOrdered() wrote, at every offset (seed ${seed})`, () => {
  fc.assert(
    fc.property(value, bytes, bytes, (original, before, after) => {
      const encoded = encodeOrdered(original);
      const decoded = decodeOrdered(concat(before, encoded, after), before.length);
      assertEquals(decoded?.end, before.length + encoded.length);
      assertEquals(decoded?.value, Object.is(original, -0) ? 0 : original);
    }),
    { seed, numRuns: 3_000 },
  );
});

Deno.test("decodeOrdered() returns undefined for truncated or invalid bytes", () => {
  for (const original of [1, new Date(1), "text", new Uint8Array([1, 0, 2])]) {
    const encoded = encodeOrdered(original);
    for (let length = 0; length < encoded.length; length++) {
      assertEquals(decodeOrdered(encoded.subarray(0, length)), undefined);
    }
  }
  assertEquals(decodeOrdered(new Uint8Array([0xff])), undefined);
  assertEquals(decodeOrdered(new Uint8Array([0x30, 0xc0, 0x00, 0x01])), undefined);
});
