import { describeError, E2dError } from "../lib/errors.ts";
import { assertEquals } from "./support/assert.ts";

Deno.test("describeError() says each cause once, then the hint, and leaves bare objects out", () => {
  const cause = new TypeError("no route");
  assertEquals(
    describeError(new E2dError("x", "Cannot dial", { cause, hint: "look" })),
    "Cannot dial: no route (hint: look)",
  );
  assertEquals(describeError(new E2dError("x", "Cannot dial: no route", { cause })), "Cannot dial: no route");
  assertEquals(
    describeError(new E2dError("x", "Cannot dial: broken pipe", { cause: { code: 14 } })),
    "Cannot dial: broken pipe",
  );
  assertEquals([describeError("a text"), describeError(new RangeError())], ["a text", "RangeError"]);
});
