/** A share of the seeds of the gossip simulation, and each seed that ever found a mistake. */
import { assert, assertEquals } from "../support/assert.ts";
import { kindOf, runSeed } from "./gossip.ts";
import { replayOf } from "./seeds.ts";

/**
 * News of a leave that outlives its process (33, 41), metadata changed while paused (273, 958), a machine that is dead at
 * its old address and alive at its new one (530).
 */
const regressions = [33, 41, 273, 530, 958];

for (const seed of regressions) {
  Deno.test(`simulated gossip ${seed} stays correct and becomes whole`, () => {
    assertEquals(runSeed(seed).failure, undefined, `replay: ${replayOf("sim", seed)}`);
  });
}

for (let from = 1000; from < 1050; from += 10) {
  Deno.test(`simulated gossip ${from} to ${from + 9} stays correct and becomes whole`, () => {
    for (let seed = from; seed < from + 10; seed++) {
      assertEquals(runSeed(seed).failure, undefined, `replay: ${replayOf("sim", seed)}`);
    }
  });
}

Deno.test("the seeds of the gossip simulation include every kind of history", () => {
  const kinds = new Set(Array.from({ length: 10 }, (_, at) => kindOf(1000 + at)));
  assertEquals([...kinds].sort(), ["long", "strict", "wild"]);
});

Deno.test("simulated gossip has the same history each time its seed is run", () => {
  const lines = () => {
    const said: string[] = [];
    runSeed(7, (line) => said.push(line));
    return said;
  };
  const first = lines();
  assert(first.length > 50, `only ${first.length} lines`);
  assertEquals(lines(), first);
});
