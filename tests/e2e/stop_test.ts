/** A stop by Ctrl-C, by SIGTERM, and of all nodes at once logs no warning or error. */
import { assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { etcdVersions } from "../support/parts.ts";
import { Cluster } from "./cluster.ts";
import { NodeProcess } from "./node_process.ts";

/** As a terminal sends Ctrl-C: to every process of the foreground group. */
async function interruptGroup(leader: number): Promise<void> {
  await new Deno.Command("kill", { args: ["-INT", "--", `-${leader}`] }).output();
}

/** Errors and warnings in the log; those of etcd only if no other cause than the own stop is possible. */
const alarms = (node: NodeProcess, since: number, { ofEtcd = true } = {}) =>
  node.log.slice(since)
    .filter(({ level, part }) => level === "error" || level === "warn" && (ofEtcd || part !== "etcd"))
    .map(({ level, message, ...fields }) => `${level} ${message} ${JSON.stringify(fields)}`.slice(0, 300));

for (const version of etcdVersions) {
  Deno.test(`Ctrl-C stops e2d and etcd ${version} with exit status 0 and without a warning in the log`, async () => {
    await using dir = await temporaryDirectory();
    // In its own process group, as a shell starts it.
    await using node = new NodeProcess({ dataDir: `${dir.path}/data`, etcd: version, inside: ["setsid"] });
    await node.healthy();
    // After the warnings of etcd's start, which a pipe may bring later than its first answer.
    await node.logged(({ message }) => message.includes("→ serving"));
    const since = node.log.length;
    await interruptGroup(node.pid);
    assertEquals(await node.exit(), 0);
    assertEquals(alarms(node, since), []);
  });
}

Deno.test("SIGTERM to three nodes at once: each exits with 0 and logs no warning", async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  await cluster.members(["a", "b", "c"]);
  const nodes = [...cluster.nodes.values()];
  await Promise.all(nodes.map((node) => node.logged(({ message }) => message.includes("→ serving"))));
  const since = nodes.map((node) => node.log.length);
  assertEquals(await Promise.all(nodes.map((node) => node.stop())), [0, 0, 0]);
  // An etcd that is stopped a moment later than the others sees their connections end.
  assertEquals(nodes.map((node, at) => alarms(node, since[at]!, { ofEtcd: false })), [[], [], []]);
});
