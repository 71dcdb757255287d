/** Plays every story beside this file. `deno run -A tests/scenarios/stories_test.ts --update` rewrites them. */
import { assertEquals } from "../support/assert.ts";
import { parseStory, playStory, renderStory } from "./story.ts";

const folder = new URL("./", import.meta.url);
const stories = [...Deno.readDirSync(folder)].map((entry) => entry.name).filter((name) => name.endsWith(".txt")).sort();

if (Deno.args.includes("--update")) {
  for (const name of stories) {
    const blocks = parseStory(Deno.readTextFileSync(new URL(name, folder)));
    Deno.writeTextFileSync(new URL(name, folder), renderStory(blocks, playStory(blocks)));
  }
} else {
  for (const name of stories) {
    Deno.test(`story ${name.replace(".txt", "")}: the nodes decide and report as in the golden file`, () => {
      const blocks = parseStory(Deno.readTextFileSync(new URL(name, folder)));
      const outputs = playStory(blocks);
      blocks.forEach((block, index) => assertEquals(outputs[index], block.expected, block.commands.join("; ")));
    });
  }
}
