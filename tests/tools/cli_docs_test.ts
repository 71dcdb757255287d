import { assertEquals } from "../support/assert.ts";
import { commands } from "../../lib/cli/flags/commands.ts";
import { generated } from "../../tools/cli_docs.ts";

for (const [path, make] of generated) {
  Deno.test(`${path} is what tools/cli_docs.ts makes of the table of commands`, async () => {
    const committed = await Deno.readTextFile(new URL(`../../${path}`, import.meta.url));
    assertEquals(committed, make(commands), "if the commands are right: deno run -A tools/cli_docs.ts");
  });
}
