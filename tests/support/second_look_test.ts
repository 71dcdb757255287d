import { assertEquals } from "./assert.ts";
import { filesForSecondLook, lost } from "./second_look.ts";

const report = (...files: string[]) =>
  `<?xml version="1.0" encoding="UTF-8"?><testsuites name="deno test" tests="2" failures="1" errors="0">${
    files.map((failure, at) =>
      `<testsuite name="./tests/e2e/${at}_test.ts" tests="2"><testcase name="fine &amp; good" time="0.000"></testcase>` +
      `<testcase name="other" time="0.1">${failure}</testcase></testsuite>`
    ).join("")
  }</testsuites>`;
const failed = (text: string) => `<failure message="Uncaught Error: ${text}">Error: ${text}\n  at x</failure>`;

Deno.test("filesForSecondLook() returns exactly the files with failures", () => {
  assertEquals(filesForSecondLook(report(failed("waited in vain"), "")), ["./tests/e2e/0_test.ts"]);
  assertEquals(filesForSecondLook(report("", failed("a"), failed("b"))), [
    "./tests/e2e/1_test.ts",
    "./tests/e2e/2_test.ts",
  ]);
  assertEquals(filesForSecondLook(report("", "")), []);
});

Deno.test("filesForSecondLook() returns nothing if data was lost or many files failed", () => {
  assertEquals(filesForSecondLook(report(failed("waited in vain"), failed(`${lost}3 writes`))), []);
  assertEquals(filesForSecondLook(report(...Array.from("12345", () => failed("waited in vain")))), []);
});
