/** The procedure of docs/lost-all.md for a cluster whose members all return at new addresses. */
import { assert, assertEquals } from "../support/assert.ts";
import { asideOf, Cluster } from "./cluster.ts";
import { freshHost } from "./node_process.ts";

Deno.test(
  "all members at new addresses: the cluster recovers from one copy of the data, and no data-dir is removed",
  { sanitizeResources: false, sanitizeOps: false },
  async () => {
    await using cluster = await Cluster.start({ size: 3, args: ["--quorum-loss-timeout=8s"] });
    await cluster.healthy();
    await cluster.put("a", "greeting", "hello");
    const before = await cluster.clusterId("a");
    const keeps = await cluster.leader();
    await Promise.all(["a", "b", "c"].map((name) => cluster.node(name).stop()));

    const others = ["a", "b", "c"].filter((name) => name !== keeps);
    for (const name of others) await Deno.rename(cluster.dataDir(name), `${cluster.dataDir(name)}.kept`);
    const hosts = ["a", "b", "c"].map(() => freshHost());
    ["a", "b", "c"].forEach((name, at) => {
      // The last of two is the one that counts.
      cluster.startNode(name, { host: hosts[at]!, args: [`--bootstrap-addrs=${hosts.join(",")}`] });
    });
    await cluster.healthy(["a", "b", "c"]);
    for (const name of ["a", "b", "c"]) assertEquals(await cluster.get(name, "greeting"), "hello");
    assert(await cluster.clusterId("a") !== before);
    assert((await asideOf(cluster, keeps)).some((name) => name.startsWith(`${keeps}.superseded-`)));
  },
);
