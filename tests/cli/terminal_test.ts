import { assertEquals } from "../support/assert.ts";

/** e2d in a process of its own, whose stdout is closed from the start. */
async function unread(...args: string[]): Promise<{ code: number; stderr: string }> {
  const main = new URL("../../main.ts", import.meta.url).pathname;
  const command = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", "--quiet", main, ...args],
    stdout: "piped",
    stderr: "piped",
  });
  await using child = command.spawn();
  await child.stdout.cancel();
  const stderr = await new Response(child.stderr).text();
  return { code: (await child.status).code, stderr };
}

Deno.test("e2d exits silently with the status of a broken pipe when the reader closes it", async () => {
  assertEquals(await unread("completion", "bash"), { code: 141, stderr: "" });
  assertEquals(await unread("--help"), { code: 141, stderr: "" });
  // The runtime's own console looks away.
  assertEquals(await unread("version"), { code: 0, stderr: "" });
});
