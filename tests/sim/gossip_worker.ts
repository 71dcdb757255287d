/** Runs the seeds it is told in a thread of its own. */
import { runSeed } from "./gossip.ts";
import { serveSeeds } from "./seeds.ts";

serveSeeds((seed) => runSeed(seed));
