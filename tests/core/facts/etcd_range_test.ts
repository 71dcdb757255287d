import { isWithin, rangeText } from "../../../lib/core/facts/etcd_range.ts";
import { assertEquals } from "../../support/assert.ts";

Deno.test("isWithin() includes both minor versions of the range, with all their patches; a missing bound permits all", () => {
  const within = (atLeast?: string, atMost?: string) =>
    ["3.4.45", "3.5.0", "3.6.14", "3.7.3"].filter((version) => isWithin(version, { atLeast, atMost })).join(" ");
  assertEquals(within("3.5", "3.6"), "3.5.0 3.6.14");
  assertEquals(within("3.6"), "3.6.14 3.7.3");
  assertEquals(within(undefined, "3.5"), "3.4.45 3.5.0");
  assertEquals(within(), "3.4.45 3.5.0 3.6.14 3.7.3");
});

Deno.test("rangeText() names the bounds that there are", () => {
  assertEquals(rangeText({ atLeast: "3.4", atMost: "3.5" }), "3.4 to 3.5");
  assertEquals(rangeText({ atLeast: "3.5", atMost: "3.5" }), "3.5");
  assertEquals(rangeText({ atLeast: "3.5" }), "3.5 or newer");
  assertEquals(rangeText({ atMost: "3.5" }), "3.5 or older");
  assertEquals(rangeText({}), "any version");
});
