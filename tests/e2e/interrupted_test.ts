/** A plan whose node is killed at each step is finished by the node of the next leader, while clients write. */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir } from "../support/parts.ts";
import { Cluster, names } from "./cluster.ts";
import { e2d, type LogEntry } from "./node_process.ts";
import { Writers } from "./writers.ts";

const cancelled = { sanitizeResources: false };

/**
 * Requests a plan at "a", again if it is refused for another reason than `underWay` (this plan), and kills the node that
 * first decides each kind of step immediately, until the plan is done. The nodes are restarted as a service manager
 * restarts them. Resolves with the steps in their order.
 */
async function carriedOut(
  cluster: Cluster,
  command: readonly string[],
  underWay: RegExp,
  done: (steps: readonly string[]) => Promise<boolean>,
): Promise<string[]> {
  const steps: string[] = [];
  // Entries from before this plan.
  const read = new Map([...cluster.nodes.values()].map((node) => [node, node.log.length]));
  const ask = async () => {
    const { code, stderr } = await e2d([...command, "--data-dir", cluster.dataDir("a")]);
    assert(code === 0 || underWay.test(stderr), stderr);
  };
  const accepted = () => eventually(`"${command.join(" ")}" on its way`, () => ask().then(() => true));
  await accepted();
  let again: Promise<unknown> = Promise.resolve();
  await eventually(`"${command.join(" ")}" done`, async () => {
    let quiet = true;
    for (const [name, node] of cluster.nodes) {
      const from = read.get(node) ?? 0;
      read.set(node, node.log.length);
      if (newSteps(node.log.slice(from), steps).length === 0) continue;
      quiet = false;
      await cluster.kill(name);
      // Includes the entries from before it ended.
      const taken = newSteps(node.log.slice(from), steps);
      steps.push(...taken);
      cluster.startNode(name);
      // A plan that is lost before it is stored was never accepted: the request is repeated while the steps are watched.
      if (taken.includes("plan")) again = accepted();
    }
    // All logs were read after the last kill.
    return quiet && await done(steps);
  }, { everyMs: 10 });
  await again;
  return steps;
}

const kinds = ["plan", "resize", "add", "promoted", "remove", "moveLeader", "upgrade", "plan done"];
/** The steps of these entries that are not among `known`. */
function newSteps(entries: readonly LogEntry[], known: readonly string[]): string[] {
  const logged = new Set(entries.map(({ outcome }) => outcome));
  return kinds.filter((kind) => !known.includes(kind) && logged.has(kind));
}

Deno.test(
  "e2d scale: the next leader finishes the plan when the acting node is killed at each step, while clients write",
  cancelled,
  async () => {
    await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "60s" });
    await cluster.healthy();
    await cluster.members(["a", "b", "c"]);
    await cluster.startStandbys(["d", "e"]);
    const writers = new Writers(cluster, ["a", "b", "c"]);
    const members = async () => {
      const node = cluster.node("b");
      const list = await (await node.client()).memberList(node.clientUrl, { timeoutMs: 1_000 });
      return list.map(({ name, isLearner }) => isLearner ? `${name} (learner)` : name).sort();
    };
    const stepsUp = await carriedOut(
      cluster,
      ["scale", "5"],
      /to 5" is not done yet|5 members already/,
      async () => (await members()).join() === "a,b,c,d,e",
    );
    for (const step of ["plan", "resize", "add", "promoted"]) assert(stepsUp.includes(step), stepsUp.join());
    await cluster.healthy();
    const stepsDown = await carriedOut(
      cluster,
      ["scale", "3"],
      /to 3" is not done yet|3 members already/,
      async () => (await members()).length === 3,
    );
    for (const step of ["plan", "resize", "remove"]) assert(stepsDown.includes(step), stepsDown.join());
    await writers.check(cluster, "b");
  },
);

Deno.test(
  "e2d upgrade: the next leader finishes the plan when the acting node is killed at each step, while clients write",
  cancelled,
  async () => {
    await using dir = await temporaryDirectory();
    await Deno.mkdir(`${dir.path}/e2d/etcd`, { recursive: true });
    for (const version of ["3.6.14", "3.7.3"] as const) {
      await Deno.symlink(etcdDir(version), `${dir.path}/e2d/etcd/${version}`);
    }
    // A node that starts again has the version before the upgrade in its command line.
    await using cluster = await Cluster.start({
      size: 3,
      healthCheckTimeout: "60s",
      etcd: null,
      args: ["--etcd-version=3.6.14"],
      environment: { XDG_CACHE_HOME: dir.path },
    });
    await cluster.healthy();
    const writers = new Writers(cluster, names.slice(0, 3));
    const versions = () =>
      Promise.all(
        names.slice(0, 3).map(async (name) => {
          const node = cluster.node(name);
          return (await (await node.client()).status(node.clientUrl, { timeoutMs: 1_000 })).version;
        }),
      );
    const steps = await carriedOut(
      cluster,
      ["upgrade", "--to=3.7"],
      /etcd 3\.7" is not done yet|runs 3\.7 already/,
      async (steps) => steps.includes("plan done") && (await versions()).every((version) => version === "3.7.3"),
    );
    for (const step of ["plan", "upgrade", "moveLeader", "plan done"]) assert(steps.includes(step), steps.join());
    await writers.check(cluster, "b");
    await eventually("a cluster of 3.7", async () => {
      const response = await fetch(`${cluster.node("a").clientUrl}/version`);
      return (await response.json() as { etcdcluster: string }).etcdcluster.startsWith("3.7.");
    });
    // All of them at once, with the old version in their command lines still.
    await Promise.all(names.slice(0, 3).map((name) => cluster.kill(name)));
    for (const name of names.slice(0, 3)) cluster.startNode(name);
    await cluster.healthy();
    assertEquals(await versions(), ["3.7.3", "3.7.3", "3.7.3"]);
  },
);
