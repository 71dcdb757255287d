/** Links that are long, or that carry one way alone: whole clusters of cores on virtual time. */
import { assertEquals } from "../support/assert.ts";
import { GossipWorld } from "../sim/gossip_world.ts";
import { calmConditions } from "../sim/network.ts";

function clusterOf(size: number, rttMs = 1): GossipWorld {
  const delay = { delayMinMs: rttMs / 2, delayMaxMs: rttMs * 0.55 };
  const world = new GossipWorld({ seed: size, conditions: { ...calmConditions, ...delay } });
  for (let number = 1; number <= size; number++) world.addMachine(`n${number}`);
  world.seeds = world.live().concat([...world.machines.values()]).map((machine) => world.hostPort(machine));
  for (const machine of world.machines.values()) world.start(machine);
  world.clock.runFor(30_000);
  return world;
}

/** Doubts and deaths of all nodes together, and how many members each sees alive. */
function verdicts(world: GossipWorld): { suspicions: number; failures: number; alive: number[] } {
  const swims = world.live().map(({ process }) => process!.swim);
  const sum = (key: "suspicions" | "failures") => swims.reduce((all, { metrics }) => all + metrics[key], 0);
  const alive = swims.map((swim) => swim.members().filter(({ state }) => state === "alive").length);
  return { suspicions: sum("suspicions"), failures: sum("failures"), alive };
}

Deno.test("gossip with a round trip of 300 to 800 ms suspects no node", () => {
  for (const rttMs of [300, 500, 800]) {
    for (const size of [3, 5]) {
      const world = clusterOf(size, rttMs);
      world.clock.runFor(300_000);
      assertEquals(verdicts(world), { suspicions: 0, failures: 0, alive: Array(size).fill(size) }, `${rttMs} ms`);
    }
  }
});

Deno.test("gossip with a one-way link declares no node dead while others reach both ends", () => {
  for (const size of [3, 5]) {
    const world = clusterOf(size);
    const [first, second] = world.live();
    world.partition([first!], [second!], { oneWay: true });
    world.clock.runFor(600_000);
    const { failures, alive } = verdicts(world);
    assertEquals({ failures, alive }, { failures: 0, alive: Array(size).fill(size) });
  }
});
