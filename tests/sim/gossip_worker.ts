/** Runs the seeds that it receives in a separate thread. */
import { runSeed } from "./gossip.ts";
import { serveSeeds } from "./seeds.ts";

serveSeeds((seed) => runSeed(seed));
