/** Clusters with network partitions: one cluster before and after, with every acknowledged write. */
import { assert, assertEquals } from "../support/assert.ts";
import { asideOf, Cluster, names } from "./cluster.ts";
import { Machines } from "./namespaces.ts";
import { Writers } from "./writers.ts";

/** node:http2 of Deno 2.6 frees the body of a call that was cancelled in the middle only some time after. */
const cancelled = { sanitizeResources: false };

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

Deno.test("a follower that is cut off for less than the time-out stays a member", cancelled, async () => {
  await using machines = await Machines.make(3);
  await using cluster = await Cluster.start({ size: 3, machines, healthCheckTimeout: "60s" });
  await cluster.healthy();
  const before = await cluster.members(["a", "b", "c"]);
  const writers = new Writers(cluster, ["a", "b", "c"]);
  const leader = await cluster.leader();
  const follower = names.slice(0, 3).find((name) => name !== leader)!;
  await machines.isolate(names.indexOf(follower));
  await pause(12_000);
  await machines.heal();
  await cluster.healthy();
  assertEquals(await cluster.members(["a", "b", "c"]), before);
  await writers.check(cluster, follower);
});

Deno.test(
  "a leader that is cut off for longer than the time-out is replaced, and joins again as a new member",
  cancelled,
  async () => {
    await using machines = await Machines.make(3);
    await using cluster = await Cluster.start({ size: 3, machines });
    await cluster.healthy();
    const id = await cluster.clusterId("a");
    const leader = await cluster.leader();
    const others = names.slice(0, 3).filter((name) => name !== leader);
    const writers = new Writers(cluster, ["a", "b", "c"]);
    await machines.isolate(names.indexOf(leader));
    await cluster.members(others);
    await machines.heal();
    await cluster.members(["a", "b", "c"].sort((x) => x === leader ? 1 : -1));
    await cluster.healthy();
    assertEquals((await asideOf(cluster, leader)).map((name) => name.replace(/-.*/, "")), [`${leader}.removed`]);
    assertEquals(new Set(await Promise.all(["a", "b", "c"].map((name) => cluster.clusterId(name)))), new Set([id]));
    await writers.check(cluster, leader);
  },
);

Deno.test(
  "with all connections cut no node changes the members, and the cluster continues when the network heals",
  cancelled,
  async () => {
    await using machines = await Machines.make(3);
    await using cluster = await Cluster.start({ size: 3, machines });
    await cluster.healthy();
    const before = await cluster.members(["a", "b", "c"]);
    const writers = new Writers(cluster, ["a", "b", "c"]);
    for (const at of [0, 1, 2]) await machines.isolate(at);
    await pause(15_000);
    await machines.heal();
    await cluster.healthy();
    assertEquals(await cluster.members(["a", "b", "c"]), before);
    for (const name of ["a", "b", "c"]) assertEquals(await asideOf(cluster, name), []);
    await writers.check(cluster, "a");
  },
);

Deno.test(
  "a leader that receives packets but cannot send any loses the leadership",
  cancelled,
  async () => {
    await using machines = await Machines.make(3);
    await using cluster = await Cluster.start({ size: 3, machines, healthCheckTimeout: "60s" });
    await cluster.healthy();
    const before = await cluster.members(["a", "b", "c"]);
    const leader = await cluster.leader();
    const at = names.indexOf(leader);
    const others = [0, 1, 2].filter((each) => each !== at);
    const writers = new Writers(cluster, others.map((each) => names[each]!));
    for (const other of others) await machines.drop(at, other);
    const acknowledged = writers.acknowledged;
    await cluster.node(names[others[0]!]!).eventually("led by another", async () => {
      const status = await (await cluster.node(names[others[0]!]!).client()).status(
        cluster.node(names[others[0]!]!).clientUrl,
      );
      const was = before.find(({ name }) => name === leader)!.id;
      assert(status.leaderId !== undefined && status.leaderId !== was, `the leader is ${status.leaderId}`);
    });
    await cluster.put(names[others[0]!]!, "written-meanwhile", "1");
    assert(writers.acknowledged >= acknowledged);
    await machines.heal();
    await cluster.healthy();
    assertEquals(await cluster.members(["a", "b", "c"]), before);
    assertEquals(await cluster.get(leader, "written-meanwhile"), "1");
    await writers.check(cluster, leader);
  },
);
