/** Processes that hang: the etcd of a node, and the manager beside the leader. */
import { assert, assertEquals } from "../support/assert.ts";
import { Cluster } from "./cluster.ts";
import { runs } from "./node_process.ts";

Deno.test("a node restarts its etcd that hangs, and the member keeps its id and data", async () => {
  await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "10s" });
  await cluster.healthy();
  const before = await cluster.members(["a", "b", "c"]);
  const leader = await cluster.leader();
  const name = ["a", "b", "c"].find((each) => each !== leader)!;
  const node = cluster.node(name);
  await node.logged(({ outcome }) => String(outcome).endsWith("→ serving"));
  const etcd = await node.etcdPid();
  Deno.kill(etcd, "SIGSTOP");
  await cluster.put(leader, "while-hung", "1");
  await node.logged(({ reason, level }) => reason === "etcd_hung" && level === "warn");
  await node.healthy();
  assert(!await runs(etcd));
  assertEquals(await cluster.get(name, "while-hung"), "1");
  const after = await cluster.members(["a", "b", "c"]);
  assertEquals(after.map(({ id }) => id).sort(), before.map(({ id }) => id).sort());
});

Deno.test("another node takes the leadership from an etcd whose manager hangs", async () => {
  await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "10s" });
  await cluster.healthy();
  await cluster.members(["a", "b", "c"]);
  const first = await cluster.leader();
  const node = cluster.node(first);
  node.kill("SIGSTOP");
  try {
    const other = ["a", "b", "c"].find((each) => each !== first)!;
    await cluster.node(other).eventually("led by another member", async () => {
      const client = await cluster.node(other).client();
      const { leaderId } = await client.status(cluster.node(other).clientUrl, { timeoutMs: 1_000 });
      const members = await client.memberList(cluster.node(other).clientUrl, { timeoutMs: 1_000 });
      assert(leaderId !== undefined && members.find(({ id }) => id === leaderId)?.name !== first);
      // Its etcd answers: it stays a member.
      assertEquals(members.length, 3);
    });
    const takers = ["a", "b", "c"].filter((each) =>
      cluster.node(each).log.some(({ reason, outcome }) => reason === "manager_silent" && outcome === "moveLeader")
    );
    assertEquals(takers.length, 1);
  } finally {
    node.kill("SIGCONT");
  }
  await cluster.healthy();
});
