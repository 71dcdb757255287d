/**
 * `second_look.ts REPORT`: the files of a JUnit report whose failures deserve to be looked at once more, alone on the
 * machine, one per line.
 *
 * Tests on real processes live in real time, and a machine that is full of other work can make any of them fail. What no
 * machine can do is to lose a write that was acknowledged, or to read wrong data: a report in which one failure says so
 * (`lost`, below) gets no second look, and neither does one with more failing files than chance would have.
 */
import { XMLParser } from "fast-xml-parser";

/** How an assertion begins that nothing but a fault of the product can break. */
export const lost = "LOST: ";
const mostFiles = 4;

interface Report {
  testsuites?: { testsuite?: { name: string; testcase?: { failure?: unknown }[] }[] };
}

export function filesForSecondLook(report: string): string[] {
  const isArray = (name: string) => ["testsuite", "testcase"].includes(name);
  const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: "", isArray });
  const { testsuites }: Report = parser.parse(report);
  const failing = (testsuites?.testsuite ?? []).filter(({ testcase }) => testcase?.some(({ failure }) => failure));
  return JSON.stringify(failing).includes(lost) || failing.length > mostFiles ? [] : failing.map(({ name }) => name);
}

if (import.meta.main) {
  const files = filesForSecondLook(await Deno.readTextFile(Deno.args[0]!));
  if (files.length > 0) console.log(files.join("\n"));
}
