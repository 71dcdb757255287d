/** Executes the transcripts of docs pages in order on real nodes. */
import { temporaryDirectory } from "../support/fixtures.ts";
import { Stage } from "../walks/stage.ts";
import { settingsIn, stepsOf, walk } from "../walks/walk.ts";

const sanitize = { sanitizeResources: false, sanitizeOps: false };

Deno.test(
  "the transcripts of docs/first-cluster.md and docs/lost-all.md match the output of real nodes",
  sanitize,
  async (t) => {
    await using dir = await temporaryDirectory();
    await using stage = await Stage.open(dir.path, ["one", "two", "three"], await settingsIn("first-cluster"));
    for (const page of ["first-cluster", "lost-all"]) {
      if (!await t.step(page, async () => walk(stage, await stepsOf(page)))) return;
    }
  },
);
