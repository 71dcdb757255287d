/** Runs the seeds that it receives in a separate thread. */
import { runSeed } from "./cluster.ts";
import { serveSeeds } from "./seeds.ts";

serveSeeds((seed) => runSeed(seed));
