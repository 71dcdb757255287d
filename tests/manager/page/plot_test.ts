import { bytesScale, countScale, memberSeries, plotOf } from "../../../lib/manager/status/page/plot.ts";
import { assertEquals } from "../../support/assert.ts";

const box = { widthPx: 110, heightPx: 120, leftPx: 10, bottomPx: 20 };
const minuteMs = 60_000;

Deno.test("plotOf() draws the present at the right edge, zero at the bottom, and no line across a gap", () => {
  const nowMs = 10 * minuteMs;
  const points = [0, 10_000, 20_000, 60_000].map((afterMs) => ({ atMs: nowMs - minuteMs + afterMs, value: 0 }));
  const { spanMs, lines } = plotOf([{ name: "a", points }], nowMs, box, countScale);
  assertEquals(spanMs, 5 * minuteMs);
  assertEquals(lines, [{ name: "a", path: "M90 100h0.01L93.3 100L96.7 100M110 100h0.01", last: 0 }]);
});

Deno.test("plotOf() spans an hour at most, and leaves out what is older", () => {
  const nowMs = 100 * minuteMs;
  const points = [{ atMs: 0, value: 3 }, { atMs: nowMs - 30 * minuteMs, value: 4 }];
  const { spanMs, lines, grid } = plotOf([{ name: "a", points }], nowMs, box, countScale);
  assertEquals([spanMs, lines[0]!.path], [60 * minuteMs, "M60 4h0.01"]);
  assertEquals(grid.map(({ value, yPx }) => [value, yPx]), [[0, 100], [2, 52], [4, 4]]);
});

Deno.test("plotOf() of nothing has a scale and no line", () => {
  const { lines, grid } = plotOf([{ name: "a", points: [] }], 0, box, bytesScale);
  assertEquals([lines, grid.at(-1)!.value], [[{ name: "a", path: "", last: undefined }], 1_024]);
});

Deno.test("countScale() and bytesScale() include the highest value", () => {
  assertEquals([0, 2, 3, 5, 11, 21, 1_000, 1_001].map(countScale), [2, 2, 4, 10, 20, 40, 1_000, 2_000]);
  assertEquals([0, 1_025, 1_048_576].map(bytesScale), [1_024, 2_048, 1_048_576]);
});

Deno.test("memberSeries() has one series per member, without missing values", () => {
  const samples = [
    { atWallMs: 1, members: [{ id: "2", raftLag: 5 }, { id: "1" }] },
    { atWallMs: 2, members: [{ id: "1", raftLag: 0 }] },
  ];
  assertEquals(memberSeries(samples, "raftLag", (id) => `n${id}`), [
    { name: "n1", points: [{ atMs: 2, value: 0 }] },
    { name: "n2", points: [{ atMs: 1, value: 5 }] },
  ]);
});
