import { bytesText, durationText } from "../lib/units.ts";
import { assertEquals } from "./support/assert.ts";

Deno.test("bytesText() and durationText() change their unit at its size; a clock that runs behind makes nothing older", () => {
  assertEquals([0, 1_023, 1_024, 1_572_864].map(bytesText), ["0 B", "1023 B", "1 KiB", "1.5 MiB"]);
  assertEquals([-5_000, 999, 119_999, 120_000, 7_200_000, 172_799_999, 172_800_000].map(durationText), [
    "0 s",
    "0 s",
    "119 s",
    "2 min",
    "2 h",
    "47 h",
    "2 days",
  ]);
});
