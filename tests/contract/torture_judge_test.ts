/** The judge of `deno task torture` can say no: hand-made histories, good and bad. */
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

Deno.test("judge() finds nothing wrong with what one register can do", async () => {
  const history = [
    operation("get", "", 0, 1),
    operation("put", "1", 2, 6),
    // Beside the write either value may be read.
    operation("get", "", 3, 4, { client: 2 }),
    operation("get", "1", 4, 5, { client: 2 }),
    operation("swap", "2", 7, 8, { expect: "1", swapped: true }),
    operation("swap", "3", 9, 10, { expect: "1", swapped: false }),
    operation("get", "2", 11, 12),
  ];
  assertEquals(await judge(history), { operations: 7, keys: 1, broken: [], undecided: [] });
});

Deno.test("judge() finds a lost write", async () => {
  assertEquals(await broken(operation("put", "1", 0, 1), operation("get", "", 2, 3)), ["k"]);
});

Deno.test("judge() finds a stale read", async () => {
  const [first, second] = [operation("put", "1", 0, 1), operation("put", "2", 2, 3)];
  assertEquals(await broken(first, second, operation("get", "1", 4, 5, { client: 2 })), ["k"]);
  assertEquals(await broken(first, second, operation("get", "2", 4, 5, { client: 2 })), []);
});

Deno.test("judge() finds a read that goes back in time beside a write", async () => {
  const write = operation("put", "2", 2, 9);
  const reads = [operation("get", "2", 3, 4, { client: 2 }), operation("get", "1", 5, 6, { client: 3 })];
  assertEquals(await broken(operation("put", "1", 0, 1), write, ...reads), ["k"]);
});

Deno.test("judge() finds two swaps of one value that both succeeded", async () => {
  const swap = (value: string, client: number) =>
    operation("swap", value, 2, 4, { client, expect: "1", swapped: true });
  assertEquals(await broken(operation("put", "1", 0, 1), swap("2", 1), swap("3", 2)), ["k"]);
});

Deno.test("judge() takes a write of unknown outcome for done, at any later time, or for never done", async () => {
  const unknown = operation("put", "1", 0, 1, { unknown: true });
  assertEquals(await broken(unknown, operation("get", "1", 100, 101)), []);
  assertEquals(await broken(unknown, operation("get", "", 100, 101)), []);
  const back = [operation("get", "1", 100, 101), operation("get", "", 102, 103)];
  assertEquals(await broken(unknown, ...back), ["k"]);
});

Deno.test("judge() names the broken registers among many, and no others", async () => {
  const history = ["a", "b", "c"].flatMap((key) => [
    operation("put", "1", 0, 1, { key }),
    operation("get", key === "b" ? "" : "1", 2, 3, { key }),
  ]);
  assertEquals(await judge(history), { operations: 6, keys: 3, broken: ["b"], undecided: [] });
});
