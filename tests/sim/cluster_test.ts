/** A share of the seeds in every run of the tests, and each seed that ever failed while the rules were written. */
import { assert, assertEquals } from "../support/assert.ts";
import { runSeed } from "./cluster.ts";

/**
 * Each of these found a mistake once: a nonce that did not outlive its process (40), identities spent before etcd ran
 * (1108), a learner evicted before it had a log (187), a founder that moved after its pledge (362), a member at an
 * unknown address (25, 615), joins taken for renunciations (503), recoveries with a removed survivor (6419) or a
 * half-made pledge (3575), a dead voter that blocked its successor (9728), namesakes at new addresses (1007, 2107).
 */
const regressions = [11, 21, 25, 40, 181, 187, 356, 362, 363, 503, 615, 1007, 1108, 1271, 1735, 2107, 3575, 4743]
  .concat([5943, 6419, 9728])
  // Plans that were out of date or filled by others, a learner as the last survivor.
  .concat([557, 745, 1325, 2943, 5593])
  // Second clusters: peers that were merely suspect, and a small cluster that only its spares remembered.
  .concat([766, 2510, 6222, 6262, 6326, 7993]);

for (const seed of regressions) {
  Deno.test(`simulated cluster ${seed} stays safe and becomes whole`, () => {
    const outcome = runSeed(seed);
    assertEquals(outcome.failure, undefined, `replay: deno run -A tests/sim/cluster.ts --seed ${seed}`);
  });
}

Deno.test("simulated clusters 20000 to 20149 stay safe and become whole", () => {
  let writes = 0;
  for (let seed = 20_000; seed < 20_150; seed++) {
    const outcome = runSeed(seed);
    assertEquals(outcome.failure, undefined, `replay: deno run -A tests/sim/cluster.ts --seed ${seed}`);
    writes += outcome.writes;
  }
  assert(writes > 1_000, `only ${writes} writes were acknowledged: the clusters hardly ran`);
});

Deno.test("a simulated cluster is the same each time its seed is run", () => {
  const lines = () => {
    const said: string[] = [];
    runSeed(7, (line) => said.push(line));
    return said;
  };
  assertEquals(lines(), lines());
});
