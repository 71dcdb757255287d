/** Commands of operators on a running cluster: scale, upgrade, pause, hold, cancel, restore approve. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { etcdDir } from "../support/parts.ts";
import { Cluster, names } from "./cluster.ts";
import { e2d, freshHost, NodeProcess } from "./node_process.ts";
import { Writers } from "./writers.ts";

const cancelled = { sanitizeResources: false };

Deno.test(
  "e2d scale adds waiting standby nodes and removes members again, while clients write",
  cancelled,
  async () => {
    await using cluster = await Cluster.start({ size: 3, healthCheckTimeout: "60s" });
    await cluster.healthy();
    await cluster.members(["a", "b", "c"]);
    await cluster.startStandbys(["d", "e"]);
    const writers = new Writers(cluster, ["a", "b", "c"]);
    const at = ["--data-dir", cluster.dataDir("a")];
    const plan = await e2d(["scale", "5", "--dry-run", ...at]);
    assert(plan.code === 0 && plan.stdout.includes("would be done"), plan.stderr + plan.stdout);
    assertEquals((await cluster.members(["a", "b", "c"])).length, 3);
    const up = await e2d(["scale", "5", ...at]);
    assertEquals(up.code, 0, up.stderr);
    await cluster.members(names.slice(0, 5));
    await cluster.node("a").eventually("ready to shrink", async () => {
      const down = await e2d(["scale", "3", ...at]);
      assertEquals(down.code, 0, down.stderr);
    });
    await cluster.node("a").eventually("three members again", async () => {
      const client = await cluster.node("a").client();
      const members = await client.memberList(cluster.node("a").clientUrl, { timeoutMs: 1_000 });
      assertEquals(members.length, 3);
    });
    await writers.check(cluster, "a");
    assertEquals((await e2d(["scale", "3", ...at])).code, 1);
  },
);

const ways = [
  { what: "rolls the members from 3.5 to 3.6, the leader last", from: "3.5.33", to: "3.6", then: "3.6.14" },
  { what: "downgrades the members from 3.7 to 3.6", from: "3.7.3", to: "3.6", then: "3.6.14" },
] as const;

for (const { what, from, to, then } of ways) {
  Deno.test(`e2d upgrade ${what}, while clients write`, cancelled, async () => {
    await using dir = await temporaryDirectory();
    // A cache with the releases that an operator installed.
    await Deno.mkdir(`${dir.path}/e2d/etcd`, { recursive: true });
    for (const version of [from, then]) {
      await Deno.symlink(etcdDir(version), `${dir.path}/e2d/etcd/${version}`);
    }
    const hosts = [freshHost(), freshHost(), freshHost()];
    const nodes = new Map(hosts.map((host, at) => [
      names[at]!,
      new NodeProcess({
        host,
        dataDir: `${dir.path}/${names[at]}`,
        etcd: null,
        args: [`--name=${names[at]}`, "-n=3", `--bootstrap-addrs=${hosts.join(",")}`, `--etcd-version=${from}`],
        environment: { XDG_CACHE_HOME: dir.path },
      }),
    ]));
    const node = (name: string) => nodes.get(name)!;
    try {
      await Promise.all(names.slice(0, 3).map((name) => node(name).healthy()));
      const writers = new Writers({ node }, ["a", "b", "c"]);
      const versions = async () =>
        await Promise.all(["a", "b", "c"].map(async (name) => {
          const { version } = await (await node(name).client()).status(node(name).clientUrl, { timeoutMs: 2_000 });
          return version;
        }));
      await node("a").eventually("refused", async () => {
        const tooFar = from === "3.5.33" ? "3.7" : "3.5";
        const early = await e2d(["upgrade", `--to=${tooFar}`, "--data-dir", `${dir.path}/a`]);
        assert(early.code === 1 && early.stderr.includes("go to 3.6 first"), early.stderr);
      });
      await node("a").eventually("an upgrade on its way", async () => {
        const upgrade = await e2d(["upgrade", `--to=${to}`, "--data-dir", `${dir.path}/a`]);
        assertEquals(upgrade.code, 0, upgrade.stderr);
      });
      await node("a").eventually(
        `on ${to}`,
        async () => assertEquals(await versions(), [then, then, then]),
        120_000,
      );
      await writers.check({ node }, "b");
    } finally {
      for (const each of nodes.values()) await each[Symbol.asyncDispose]();
    }
  });
}

Deno.test("e2d pause prevents the removal of a dead member until resume", cancelled, async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  const at = ["--data-dir", cluster.dataDir("a")];
  assertEquals((await e2d(["pause", ...at])).code, 0);
  await Promise.all(
    ["a", "b", "c"].map((name) => cluster.node(name).logged(({ message }) => message === "automatic action is paused")),
  );
  await cluster.kill("b");
  await new Promise((resolve) => setTimeout(resolve, 15_000));
  const client = await cluster.node("a").client();
  assertEquals((await client.memberList(cluster.node("a").clientUrl)).length, 3);
  assertEquals((await e2d(["resume", ...at])).code, 0);
  await cluster.members(["a", "c"]);
});

Deno.test(
  "a pause survives the quorum loss and a restart, a hold needs no quorum, and both are shown and ended",
  cancelled,
  async () => {
    await using cluster = await Cluster.start({ size: 3, args: ["--quorum-loss-timeout=10s"] });
    await cluster.healthy();
    await cluster.put("a", "kept", "yes");
    const at = ["--data-dir", cluster.dataDir("a")];
    assertEquals((await e2d(["pause", ...at])).code, 0);
    await cluster.node("a").logged(({ message }) => message === "automatic action is paused");
    await cluster.kill("b");
    await cluster.kill("c");
    for (const name of ["b", "c"]) await Deno.remove(cluster.dataDir(name), { recursive: true });
    await cluster.kill("a");
    const a = cluster.startNode("a");
    for (const name of ["b", "c"]) cluster.startNode(name);
    await cluster.node("b").logged(({ reason }) => reason === "paused");
    const refused = await e2d(["pause", ...at]);
    assert(refused.code === 1 && refused.stderr.includes("e2d hold"), refused.stderr);
    // Before the pause ends, so that one of the two stops holds at any time.
    const held = await e2d(["hold", "--reason=looking first", ...at]);
    assert(held.code === 0 && held.stdout.startsWith("done: "), held.stdout + held.stderr);
    assertEquals((await e2d(["resume", ...at])).code, 0);
    await a.logged(({ message }) => message === "automatic action is resumed");
    await cluster.node("b").logged(({ reason, level }) => reason === "held" && level === "warn");
    await new Promise((resolve) => setTimeout(resolve, 15_000));
    assert(!a.log.some(({ reason }) => reason === "views_agree"), "it recovered while it was held");
    assertEquals((await e2d(["hold", "--release", ...at])).code, 0);
    await cluster.healthy();
    assertEquals(await cluster.get("b", "kept"), "yes");
  },
);

Deno.test("an upgrade without an available etcd reports the failure and can be cancelled", cancelled, async () => {
  await using dir = await temporaryDirectory();
  // One folder with one version, and no mirror.
  await using node = new NodeProcess({
    dataDir: `${dir.path}/data`,
    args: ["--status-addr=off"],
    environment: { E2D_ETCD_MIRROR: "http://127.0.0.1:9", PATH: "/nowhere" },
  });
  await node.healthy();
  await node.logged(({ outcome }) => String(outcome).endsWith("→ serving"));
  const at = ["--data-dir", `${dir.path}/data`];
  const none = await e2d(["cancel", ...at]);
  assert(none.code === 1 && none.stderr.includes("no plan is running"), none.stderr);
  assertEquals((await e2d(["upgrade", "--to=3.7", ...at])).code, 0);
  await node.logged(({ outcome }) => outcome === "upgradeEtcd failed");
  const busy = await e2d(["upgrade", "--to=3.7", ...at]);
  assert(busy.code === 1 && busy.stderr.includes("is not done yet"), busy.stderr);
  assert((await e2d(["plan", "cancel", ...at])).stdout.startsWith("would be done: "));
  const given = await e2d(["cancel", ...at]);
  assertEquals([given.code, given.stderr], [0, ""]);
  // Another one may begin.
  await node.eventually("free for a plan", async () => {
    const again = await e2d(["upgrade", "--to=3.7", "--dry-run", ...at]);
    assertEquals(again.code, 0, again.stderr);
  });
});

Deno.test("--restore ask waits for e2d restore approve and names the plan", cancelled, async () => {
  await using dir = await temporaryDirectory();
  await Deno.mkdir(`${dir.path}/backups`);
  const host = freshHost();
  const args = [`--snapshot-backup-url=file://${dir.path}/backups/db`, "--snapshot-interval=1s", "--restore=ask"];
  {
    await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args: args.slice(0, 2) });
    await node.healthy();
    await (await node.client()).put("kept", "yes");
    const { revision } = await (await node.client()).status(node.clientUrl);
    await node.logged((entry) => entry.message === "saved a snapshot" && Number(entry.revision) >= revision);
  }
  await Deno.rename(`${dir.path}/data`, `${dir.path}/lost`);
  await using node = new NodeProcess({ dataDir: `${dir.path}/data`, host, args });
  const { message } = await node.logged(({ reason }) => reason === "restore_asks");
  const plan = /restore plan ([0-9a-f]{16})/.exec(String(message))![1]!;
  assertEquals((await e2d(["restore", "approve", "0".repeat(16), "--data-dir", `${dir.path}/data`])).code, 1);
  assert(!node.log.some(({ message }) => message === "starting etcd"));
  const approved = await e2d(["restore", "approve", plan, "--data-dir", `${dir.path}/data`]);
  assertEquals(approved.code, 0, approved.stderr);
  await node.healthy();
  assert((await (await node.client()).get("kept")) !== undefined);
});
