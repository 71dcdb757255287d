import { assertEquals } from "../support/assert.ts";
import { ProgressBar, progressLine } from "../../lib/cli/progress.ts";

Deno.test("progressLine() fits its columns and shows percentage and size", () => {
  const half = { receivedBytes: 11_429_478, totalBytes: 22_858_956 };
  assertEquals(progressLine("etcd 3.6.14", half, 60), "etcd 3.6.14 [========>        ]  50 %  10.9 MiB of 21.8 MiB");
  for (const columns of [1, 20, 40, 60, 79, 200]) {
    for (const receivedBytes of [0, 1, 22_899_999, 22_900_000]) {
      const line = progressLine("etcd 3.6.14", { receivedBytes, totalBytes: 22_900_000 }, columns);
      assertEquals(line.length <= columns, true, `${columns}: ${line}`);
    }
  }
  assertEquals(progressLine("etcd", { receivedBytes: 1_048_576, totalBytes: undefined }, 60), "etcd  1 MiB");
});

Deno.test("ProgressBar draws on a terminal at most ten times a second, and always the last state", () => {
  const written: string[] = [];
  let nowMs = 0;
  const bar = new ProgressBar("etcd", { columns: 40, write: (text) => written.push(text) }, () => nowMs);
  for (let receivedBytes = 0; receivedBytes <= 1000; receivedBytes++) {
    bar.update({ receivedBytes, totalBytes: 1000 });
    nowMs += 1;
  }
  bar.end();
  bar.end();
  assertEquals(written.length, 12);
  assertEquals(written.at(-2)!.includes("100 %"), true);
  assertEquals(written.at(-1), "\n");
});

Deno.test("ProgressBar writes one line per tenth without a terminal", () => {
  const written: string[] = [];
  const bar = new ProgressBar("etcd", { columns: undefined, write: (text) => written.push(text) }, () => 0);
  for (let receivedBytes = 0; receivedBytes <= 1000; receivedBytes++) bar.update({ receivedBytes, totalBytes: 1000 });
  bar.end();
  assertEquals(written.length, 11);
  assertEquals(written.every((line) => line.endsWith(" of 1000 B\n")), true);
});
