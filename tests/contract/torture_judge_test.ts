/** The judge of `deno task torture` on hand-made histories, valid and invalid. */
import { judge, type Operation } from "../torture/history.ts";
import { assertEquals } from "../support/assert.ts";

const operation = (
  kind: Operation["kind"],
  value: string,
  call: number,
  end: number,
  more: Partial<Operation> = {},
): Operation => ({ client: 1, key: "k", kind, value, call, return: end, ...more });
const broken = async (...history: Operation[]) => (await judge(history)).broken;

Deno.test("judge() accepts a history of one register", async () => {
  const history = [
    operation("get", "", 0, 1),
    operation("put", "1", 2, 6),
    // During the write either value may be read.
    operation("get", "", 3, 4, { client: 2 }),
    operation("get", "1", 4, 5, { client: 2 }),
    operation("swap", "2", 7, 8, { expect: "1", swapped: true }),
    operation("swap", "3", 9, 10, { expect: "1", swapped: false }),
    operation("get", "2", 11, 12),
  ];
  assertEquals(await judge(history), { operations: 7, keys: 1, broken: [], undecided: [] });
});

Deno.test("judge() rejects a lost write", async () => {
  assertEquals(await broken(operation("put", "1", 0, 1), operation("get", "", 2, 3)), ["k"]);
});

Deno.test("judge() rejects a stale read", async () => {
  const [first, second] = [operation("put", "1", 0, 1), operation("put", "2", 2, 3)];
  assertEquals(await broken(first, second, operation("get", "1", 4, 5, { client: 2 })), ["k"]);
  assertEquals(await broken(first, second, operation("get", "2", 4, 5, { client: 2 })), []);
});

Deno.test("judge() rejects a read of an older value after a newer one during a write", async () => {
  const write = operation("put", "2", 2, 9);
  const reads = [operation("get", "2", 3, 4, { client: 2 }), operation("get", "1", 5, 6, { client: 3 })];
  assertEquals(await broken(operation("put", "1", 0, 1), write, ...reads), ["k"]);
});

Deno.test("judge() rejects two successful swaps of one value", async () => {
  const swap = (value: string, client: number) =>
    operation("swap", value, 2, 4, { client, expect: "1", swapped: true });
  assertEquals(await broken(operation("put", "1", 0, 1), swap("2", 1), swap("3", 2)), ["k"]);
});

Deno.test("judge() accepts a write of unknown outcome as done at any later time, or never done", async () => {
  const unknown = operation("put", "1", 0, 1, { unknown: true });
  assertEquals(await broken(unknown, operation("get", "1", 100, 101)), []);
  assertEquals(await broken(unknown, operation("get", "", 100, 101)), []);
  const back = [operation("get", "1", 100, 101), operation("get", "", 102, 103)];
  assertEquals(await broken(unknown, ...back), ["k"]);
});

Deno.test("judge() names exactly the broken registers among many", async () => {
  const history = ["a", "b", "c"].flatMap((key) => [
    operation("put", "1", 0, 1, { key }),
    operation("get", key === "b" ? "" : "1", 2, 3, { key }),
  ]);
  assertEquals(await judge(history), { operations: 6, keys: 3, broken: ["b"], undecided: [] });
});
