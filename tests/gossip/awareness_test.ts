import { Awareness } from "../../lib/gossip/swim/awareness.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("Awareness stays from 0 to one below its maximum, and stretches time by its score plus one", () => {
  const awareness = new Awareness(8);
  const scores = [-1, 3, 10, -1, -9].map((by) => {
    awareness.change(by);
    return awareness.score;
  });
  assertEquals(scores, [0, 3, 7, 6, 0]);
  awareness.change(2);
  assertEquals(awareness.scaleMs(500), 1500);
});
