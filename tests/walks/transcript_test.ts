import { differenceOf, settingsOf, transcriptOf } from "./transcript.ts";
import { assert, assertEquals } from "../support/assert.ts";

Deno.test("differenceOf() finds a wrong, a missing and an additional line, and … matches any text on one line", () => {
  const [step] = transcriptOf("text\n```console\n$ e2d x\nwrote …/ca.crt (1)\nend\n```\n");
  assert(step !== undefined);
  assertEquals(step.line, 3);
  assertEquals(differenceOf(step, "wrote a/ca.crt (1)\nend\n"), undefined);
  for (const wrong of ["wrote a/ca.key (1)\nend\n", "wrote a/ca.crt (1)\n", "wrote a/ca.crt (1)\nend\nmore\n", ""]) {
    assert(differenceOf(step, wrong) !== undefined);
  }
});

Deno.test("transcriptOf() refuses output without a command and a block without an end", () => {
  for (const page of ["```console\nwrote\n```\n", "```console\n$ e2d\n"]) {
    let refused = false;
    try {
      transcriptOf(page);
    } catch {
      refused = true;
    }
    assert(refused);
  }
});

Deno.test("transcriptOf() reads a machine and a command of several lines, and a line of only … matches any lines", () => {
  const [list, status] = transcriptOf("```console\nall$ e2d list \\\n  --x\none\n…\nlast\n$ e2d status\n…\n```\n");
  assert(list !== undefined && status !== undefined);
  assertEquals([list.machine, list.command, list.output], ["all", "e2d list \\\n  --x", ["one", "…", "last"]]);
  assertEquals([status.machine, status.output], ["", ["…"]]);
  for (const printed of ["one\nlast\n", "one\ntwo\nthree\nlast\n"]) {
    assertEquals(differenceOf(list, printed), undefined);
  }
  for (const printed of ["one\n", "one\ntwo\n", "two\nlast\n", "one\nlast\nmore\n"]) {
    assert(differenceOf(list, printed) !== undefined, printed);
  }
  assertEquals(differenceOf(status, ""), undefined);
});

Deno.test("differenceOf() ignores ids, times, sizes, ages and the leader, and compares revisions and counts", () => {
  const [step] = transcriptOf("```console\n$ x\nb083  b084699c53980493  voter  20 KiB  revision 3  3 s\n```\n");
  assert(step !== undefined);
  assertEquals(differenceOf(step, "b083  aaaaaaaaaaaaaaaa    leader  1.5 MiB  revision 3  61 min\n"), undefined);
  for (
    const printed of [
      "b083  b084699c53980493  voter  20 KiB  revision 4  3 s",
      "b083  x  voter  20 KiB  revision 3  3 s",
    ]
  ) {
    assert(differenceOf(step, printed) !== undefined, printed);
  }
});

Deno.test("settingsOf() returns the first block that contains only variables of e2d", () => {
  const page = "```sh\nchown x\n```\n```sh\nE2D_A=1\nE2D_B=\n```\n```sh\nE2D_C=2\n```\n";
  assertEquals(settingsOf(page), { E2D_A: "1", E2D_B: "" });
});
