import { lostWrites, type Operation } from "../torture/history.ts";
import { assertEquals } from "../support/assert.ts";

const put = (value: string, call: number, end: number, more: Partial<Operation> = {}): Operation => ({
  client: 1,
  key: "k",
  kind: "put",
  value,
  call,
  return: end,
  ...more,
});
const lost = (history: readonly Operation[], value?: string) =>
  lostWrites(history, new Map(value === undefined ? [] : [["k", value]]));

Deno.test("lostWrites() names a register without its last acknowledged write", () => {
  assertEquals(lost([put("1", 0, 1), put("2", 2, 3)], "2"), []);
  assertEquals(lost([put("1", 0, 1), put("2", 2, 3)], "1"), ["k"]);
  assertEquals(lost([put("1", 0, 1)]), ["k"]);
});

Deno.test("lostWrites() names a register with a value that was never written", () => {
  assertEquals(lost([put("1", 0, 1)], "9"), ["k"]);
});

Deno.test("lostWrites() accepts any write that overlaps the last one, and any with an unknown outcome", () => {
  assertEquals(lost([put("1", 0, 5), put("2", 2, 3)], "1"), []);
  assertEquals(lost([put("1", 0, 1, { unknown: true }), put("2", 2, 3)], "1"), []);
  assertEquals(lost([put("1", 0, 1, { unknown: true })]), []);
});

Deno.test("lostWrites() counts a swap as a write only when it swapped", () => {
  assertEquals(lost([put("1", 0, 1), put("2", 2, 3, { kind: "swap", expect: "1", swapped: true })], "1"), ["k"]);
  assertEquals(lost([put("1", 0, 1), put("2", 2, 3, { kind: "swap", expect: "0", swapped: false })], "1"), []);
});
