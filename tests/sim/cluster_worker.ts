/** Runs the seeds it is told in a thread of its own. */
import { runSeed } from "./cluster.ts";
import { serveSeeds } from "./seeds.ts";

serveSeeds((seed) => runSeed(seed));
