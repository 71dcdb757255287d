/**
 * The gossip core in the simulation: rates of false suspicions and deaths under loss, with and without Lifeguard, and the
 * speed of 200 simulated nodes relative to real time.
 *
 *   deno run -A bench/gossip_sim.ts [--nodes 30] [--minutes 20] [--loss 0.2]
 *
 * Both use the same seeds and the same network. Loss affects every packet and every segment of a stream, in each direction.
 */
import { parseArgs } from "node:util";
import { type SwimConfig, withoutLifeguard } from "../lib/gossip/swim/config.ts";
import { reportRow } from "./report.ts";
import { calmConditions } from "../tests/sim/network.ts";
import { GossipWorld } from "../tests/sim/gossip_world.ts";

const { values: options } = parseArgs({
  options: {
    nodes: { type: "string", default: "30" },
    minutes: { type: "string", default: "20" },
    loss: { type: "string", default: "0.2" },
  },
});
const lossRate = Number(options.loss), minutes = Number(options.minutes), nodes = Number(options.nodes);

function world(seed: number, count: number, config: Partial<SwimConfig> = {}): GossipWorld {
  const world = new GossipWorld({ seed, config });
  for (let number = 1; number <= count; number++) world.addMachine(`n${number}`);
  world.seeds = [...world.machines.values()].slice(0, 3).map((machine) => world.hostPort(machine));
  for (const machine of world.machines.values()) world.start(machine);
  const limitMs = 120_000;
  while (world.referee.divided() !== undefined && world.clock.nowMs < limitMs) world.clock.runFor(1000);
  return world;
}

/** False suspicions and deaths per node-hour (by any observer, of any subject). */
function wrongPerNodeHour(config: Partial<SwimConfig>): { suspicions: number; deaths: number } {
  let suspicions = 0, deaths = 0;
  const seeds = [1, 2, 3];
  for (const seed of seeds) {
    const it = world(seed, nodes, config);
    it.network.conditions = { ...calmConditions, lossRate };
    const before = it.live().reduce((sum, { process }) => sum + process!.swim.metrics.suspicions, 0);
    it.clock.runFor(minutes * 60_000);
    suspicions += it.live().reduce((sum, { process }) => sum + process!.swim.metrics.suspicions, 0) - before;
    deaths += it.referee.falseDeaths;
  }
  const nodeHours = seeds.length * nodes * minutes / 60;
  return { suspicions: suspicions / nodeHours, deaths: deaths / nodeHours };
}

const [lifeguard, plain] = [wrongPerNodeHour({}), wrongPerNodeHour(withoutLifeguard)];
for (const what of ["suspicions", "deaths"] as const) {
  console.log(
    `${`false ${what} per node-hour, ${nodes} nodes, ${lossRate * 100} % loss`.padEnd(56)} with Lifeguard ${
      lifeguard[what].toFixed(2).padStart(8)
    }   without ${plain[what].toFixed(2).padStart(8)}   ratio ${(lifeguard[what] / plain[what]).toFixed(3)}`,
  );
  reportRow({
    what: `false ${what}, ${nodes} nodes, ${lossRate * 100} % loss`,
    unit: "per node-hour",
    ours: [lifeguard[what]],
    peer: [plain[what]],
    peerName: "without Lifeguard",
    aim: "",
  });
}

const large = world(4, 200);
// The news of two hundred joins spreads for a while after every node knows them.
large.clock.runFor(60_000);
const simulatedMs = 60_000;
const startMs = performance.now();
large.clock.runFor(simulatedMs);
const tookMs = performance.now() - startMs;
console.log(
  `${"200 nodes simulated, at rest, times faster than real time".padEnd(56)} ${(simulatedMs / tookMs).toFixed(0)}`,
);
reportRow({
  what: "200 nodes simulated, at rest",
  unit: "times real time",
  ours: [simulatedMs / tookMs],
  peer: [],
  peerName: "",
  aim: "≥ 50",
  limit: { of: "ours", atLeast: 50 },
});
