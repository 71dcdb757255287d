/** Clusters of real processes: they bootstrap, lose nodes and disks, and recover without an operator. */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually } from "../support/fixtures.ts";
import { asideOf, Cluster, names } from "./cluster.ts";

for (const size of [3, 5]) {
  Deno.test(`${size} nodes bootstrap one cluster`, async () => {
    await using cluster = await Cluster.start({ size });
    await cluster.healthy();
    await cluster.members(names.slice(0, size));
    const ids = await Promise.all(names.slice(0, size).map((name) => cluster.clusterId(name)));
    assertEquals(new Set(ids).size, 1);
  });
}

Deno.test("a member that is killed and started again restarts from its data with the same member id", async () => {
  await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "60s" });
  await cluster.healthy();
  const before = await cluster.members(["a", "b", "c"]);
  for (const name of ["a", "b", "c"]) {
    await cluster.put(name, `before-${name}`, "1");
    await cluster.kill(name);
    cluster.startNode(name);
    await cluster.healthy([name]);
    assertEquals(await cluster.get(name, `before-${name}`), "1");
  }
  assertEquals(await cluster.members(["a", "b", "c"]), before);
});

Deno.test("members whose disks are not mounted after a power failure bootstrap no empty cluster, and restart once mounted", async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  await cluster.put("a", "kept", "1");
  const before = await cluster.members(["a", "b", "c"]);
  const id = await cluster.clusterId("a");
  const all = names.slice(0, 3);
  const record = async (name: string) => JSON.parse(await Deno.readTextFile(`${cluster.dataDir(name)}.e2d.json`));
  await eventually(
    "written down",
    async () => (await Promise.all(all.map(record))).every(({ seen }) => seen?.voters.length === 3),
  );
  await Promise.all(all.map((name) => cluster.kill(name)));
  for (const name of all) await Deno.rename(cluster.dataDir(name), `${cluster.path}/disk-${name}`);
  const blind = all.map((name) => cluster.startNode(name));
  await Promise.all(blind.map((node) => node.logged(({ reason }) => reason === "cluster_seen")));
  await Promise.all(all.map((name) => cluster.kill(name)));
  for (const name of all) await Deno.rename(`${cluster.path}/disk-${name}`, cluster.dataDir(name));
  for (const name of all) cluster.startNode(name);
  await cluster.healthy();
  assertEquals(await cluster.members(["a", "b", "c"]), before);
  assertEquals(await cluster.clusterId("a"), id);
  assertEquals(await cluster.get("b", "kept"), "1");
  for (const name of all) {
    const { started, lost } = await record(name);
    assertEquals((started ?? lost).how, "founded");
  }
});

Deno.test("a dead member is replaced by a node at another address", async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  await cluster.put("a", "kept", "1");
  await cluster.kill("b");
  cluster.startNode("d");
  await cluster.members(["a", "c", "d"]);
  await cluster.healthy(["a", "c", "d"]);
  assertEquals(await cluster.get("d", "kept"), "1");
});

Deno.test("a node that was removed while it was stopped quarantines its data and joins as a new member", async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  await cluster.kill("b");
  await cluster.members(["a", "c"]);
  cluster.startNode("b");
  await cluster.members(["a", "b", "c"]);
  await cluster.healthy();
  assertEquals((await asideOf(cluster, "b")).map((name) => name.replace(/-.*/, "")), ["b.removed"]);
});

Deno.test("a node at the same address with an empty disk replaces its stale member without waiting", async () => {
  await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "10m" });
  await cluster.healthy();
  const before = await cluster.members(["a", "b", "c"]);
  await cluster.kill("b");
  await Deno.rename(cluster.dataDir("b"), `${cluster.path}/lost-disk`);
  await Deno.rename(`${cluster.dataDir("b")}.e2d.json`, `${cluster.path}/lost-disk.e2d.json`);
  const node = cluster.startNode("b");
  await node.logged(({ reason }) => reason === "stale_member");
  await cluster.healthy(["b"]);
  const after = await cluster.members(["a", "b", "c"]);
  const idOf = (members: typeof before) => members.find(({ name }) => name === "b")!.id;
  assert(idOf(before) !== idOf(after), "the new member has the id of the old one");
  await cluster.healthy();
});

Deno.test("all nodes that are killed at once restart from their data", async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  const id = await cluster.clusterId("a");
  await cluster.put("a", "kept", "1");
  await Promise.all(["a", "b", "c"].map((name) => cluster.kill(name)));
  for (const name of ["a", "b", "c"]) cluster.startNode(name);
  await cluster.healthy();
  assertEquals(await cluster.clusterId("c"), id);
  assertEquals(await cluster.get("c", "kept"), "1");
});

Deno.test("two of three nodes restart from their data when the third has lost its disk, and the third joins again", async () => {
  await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "10m" });
  await cluster.healthy();
  const id = await cluster.clusterId("a");
  await cluster.put("a", "kept", "1");
  await Promise.all(["a", "b", "c"].map((name) => cluster.kill(name)));
  await Deno.rename(cluster.dataDir("c"), `${cluster.path}/lost-disk`);
  await Deno.rename(`${cluster.dataDir("c")}.e2d.json`, `${cluster.path}/lost-disk.e2d.json`);
  for (const name of ["c", "a", "b"]) cluster.startNode(name);
  await cluster.members(["a", "b", "c"]);
  await cluster.healthy();
  assertEquals(await cluster.clusterId("c"), id);
  assertEquals(await cluster.get("c", "kept"), "1");
});

Deno.test("a paused leader loses the leadership, and is a voting member again when it resumes", async () => {
  await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "60s" });
  await cluster.healthy();
  const leader = await cluster.leader();
  const etcd = await cluster.node(leader).etcdPid();
  cluster.node(leader).kill("SIGSTOP");
  Deno.kill(etcd, "SIGSTOP");
  const others = names.slice(0, 3).filter((name) => name !== leader);
  try {
    await cluster.node(others[0]!).eventually("without the paused leader", async () => {
      const client = await cluster.node(others[0]!).client();
      await client.put("while-paused", "1", { timeoutMs: 2_000 });
    });
  } finally {
    Deno.kill(etcd, "SIGCONT");
    cluster.node(leader).kill("SIGCONT");
  }
  await cluster.members(["a", "b", "c"]);
  await cluster.healthy();
  assertEquals(await cluster.get(leader, "while-paused"), "1");
});

Deno.test("of two simultaneous joiners one takes the free place and the other waits as a standby node", async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  await cluster.kill("b");
  const joiners = ["d", "e"];
  for (const name of joiners) cluster.startNode(name);
  const client = await cluster.node("a").client();
  const joined = await cluster.node("a").eventually("with one joiner", async () => {
    const members = await client.memberList(cluster.node("a").clientUrl, { timeoutMs: 1_000 });
    const found = members.find(({ name, isLearner }) => joiners.includes(name) && !isLearner);
    assert(found !== undefined, "no joiner votes yet");
    return found.name;
  });
  const standby = joiners.find((name) => name !== joined)!;
  await cluster.node(standby).logged(({ reason }) => reason === "standby");
  await cluster.healthy(["a", "c", joined]);
  assertEquals((await cluster.members(["a", "c", joined])).length, 3);
});

Deno.test("a changed -n that contradicts the cluster's record is refused", async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  await cluster.kill("b");
  const node = cluster.startNode("b", { args: ["-n=5"] });
  assertEquals(await node.exit(), 1);
  await node.logged(({ reason }) => reason === "size_contradicts_record");
  await cluster.healthy(["a", "c"]);
});
