/**
 * `second_look.ts REPORT` prints the files of a JUnit report whose failures are repeated, alone on the machine, one per
 * line.
 *
 * Tests on real processes depend on real time, and a loaded machine can make any of them fail. Load can neither lose an
 * acknowledged write nor return wrong data: a report with such a failure (`lost`, below) is not repeated; neither is one
 * with more failing files than chance explains.
 */
import { XMLParser } from "fast-xml-parser";

/** Prefix of the message of an assertion that only a fault of the product can violate. */
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
