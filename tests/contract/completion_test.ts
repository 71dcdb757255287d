/** The bash completion in a real bash. */
import { assert, assertEquals } from "../support/assert.ts";
import { commands } from "../../lib/cli/flags/commands.ts";
import { completionScript } from "../../lib/cli/flags/completion.ts";

/** The completions that bash offers for the last word. */
async function completed(...words: string[]): Promise<string[]> {
  const script = `${completionScript("bash", commands)}
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _e2d; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { success, stdout, stderr } = await new Deno.Command("bash", {
    args: ["--norc", "--noprofile", "-c", script, "bash", ...words],
    signal: AbortSignal.timeout(60_000),
  }).output();
  assert(success, new TextDecoder().decode(stderr));
  return new TextDecoder().decode(stdout).split("\n").filter((word) => word !== "");
}

Deno.test("completionScript() for bash offers commands, their parts, flags and the values of flags", async () => {
  assertEquals(await completed("e2d", "sta"), ["status"]);
  assertEquals((await completed("e2d", "etcd", "")).sort(), ["install", "list"]);
  assertEquals(await completed("e2d", "completion", "z"), ["zsh"]);
  assertEquals(await completed("e2d", "run", "--data"), ["--data-dir"]);
  assertEquals(await completed("e2d", "run", "--restore", "n"), ["never"]);
});

Deno.test("completionScript() for bash does not treat the value of a flag as a word of the command", async () => {
  assertEquals(await completed("e2d", "run", "--name", "a", "--data"), ["--data-dir"]);
  assertEquals(await completed("e2d", "run", "--name", "=", "a", "--data"), ["--data-dir"]);
  assertEquals(await completed("e2d", "run", "-n", "3", "--data"), ["--data-dir"]);
  assertEquals(await completed("e2d", "run", "-v", "--data"), ["--data-dir"]);
});
