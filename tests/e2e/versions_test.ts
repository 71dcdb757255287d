/** Nodes whose etcd version does not fit the cluster: they run one that fits, or none. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir } from "../support/parts.ts";
import { Cluster, loseDisk } from "./cluster.ts";

Deno.test("a node without --etcd-version starts no etcd 3.6 beside members of 3.4, which would panic", async () => {
  await using dir = await temporaryDirectory();
  const cache = `${dir.path}/e2d/etcd`;
  await Deno.mkdir(cache, { recursive: true });
  await Deno.symlink(etcdDir("3.4.23"), `${cache}/3.4.23`);
  await using cluster = await Cluster.start({ size: 3, etcd: null, environment: { XDG_CACHE_HOME: dir.path } });
  await cluster.healthy();
  await cluster.put("a", "kept", "1");
  const version = async (name: string) => {
    const node = cluster.node(name);
    return (await (await node.client()).status(node.clientUrl, { timeoutMs: 1_000 })).version;
  };
  assertEquals(await version("a"), "3.4.23");
  const pid = await cluster.node("a").etcdPid();

  // From here on the default version is installed, which a node without --etcd-version selects.
  await Deno.symlink(etcdDir("3.6.14"), `${cache}/3.6.14`);
  await cluster.kill("b");
  await cluster.startNode("b").logged(({ message }) => message.includes("too new for the cluster"));
  await cluster.healthy();
  assertEquals(await version("b"), "3.4.23");

  await cluster.kill("c");
  await loseDisk(cluster, "c");
  cluster.startNode("c");
  await cluster.healthy();
  await cluster.members(["a", "b", "c"]);
  assertEquals(await version("c"), "3.4.23");

  // If no version fits, the node runs none and reports the command that installs one.
  await cluster.kill("c");
  await Deno.remove(`${cache}/3.4.23`);
  const refused = await cluster.startNode("c").logged(({ outcome }) => outcome === "startEtcd failed");
  assert(JSON.stringify(refused).includes("e2d etcd install --version 3.4."), JSON.stringify(refused));
  await Deno.symlink(etcdDir("3.4.23"), `${cache}/3.4.23`);
  await cluster.healthy();
  assertEquals(await version("c"), "3.4.23");
  assertEquals(await cluster.get("c", "kept"), "1");
  assertEquals(await cluster.node("a").etcdPid(), pid);
});
