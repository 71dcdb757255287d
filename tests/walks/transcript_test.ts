import { differenceOf, transcriptOf } from "./transcript.ts";
import { assert, assertEquals } from "../support/assert.ts";

const root = new URL("../../", import.meta.url).pathname;

Deno.test("differenceOf finds a wrong line, a missing line and a line too many; … stands for anything on one line", () => {
  const [step] = transcriptOf("text\n```console\n$ e2d x\nwrote …/ca.crt (1)\nend\n```\n");
  assert(step !== undefined);
  assertEquals(step.line, 3);
  assertEquals(differenceOf(step, "wrote a/ca.crt (1)\nend\n"), undefined);
  for (const wrong of ["wrote a/ca.key (1)\nend\n", "wrote a/ca.crt (1)\n", "wrote a/ca.crt (1)\nend\nmore\n", ""]) {
    assert(differenceOf(step, wrong) !== undefined);
  }
});

Deno.test("transcriptOf refuses output without a command and a block without an end", () => {
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

Deno.test("docs/first-cluster.md: its transcripts are what the commands print", async () => {
  const steps = transcriptOf(await Deno.readTextFile(`${root}docs/first-cluster.md`));
  assert(steps.length > 0);
  const folder = await Deno.makeTempDir({ prefix: "e2d-walk-" });
  try {
    const call = `e2d() { "${Deno.execPath()}" run --quiet --no-check -A "${root}main.ts" "$@"; }`;
    for (const step of steps) {
      // The machines' /etc is a folder of the test's own.
      const command = step.command.replaceAll("/etc/e2d", `${folder}/etc/e2d`);
      const { stdout, stderr, code } = await new Deno.Command("sh", {
        args: ["-c", `${call}\n${command} 2>&1`],
        cwd: folder,
        stdin: "null",
      }).output();
      const printed = new TextDecoder().decode(stdout).replaceAll(`${folder}/etc/e2d`, "/etc/e2d");
      assertEquals(differenceOf(step, printed), undefined);
      assertEquals(code, 0, new TextDecoder().decode(stderr));
    }
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
