/** Defragmentation of real etcd members, by command and automatically above the threshold, while clients write. */
import { assert, assertEquals } from "../support/assert.ts";
import { Cluster } from "./cluster.ts";
import { e2d } from "./node_process.ts";
import { Writers } from "./writers.ts";

const cancelled = { sanitizeResources: false };
const names = ["a", "b", "c"];
const mebibyte = 1_048_576;

/** Fills every database with more than 16 MiB, and frees nearly all of it inside the files. */
async function makeHoles(cluster: Cluster): Promise<void> {
  const node = cluster.node("a");
  const client = await node.client();
  const value = "x".repeat(512 * 1_024);
  for (let at = 0; at < 40; at++) await client.put("filler", `${at} ${value}`, { timeoutMs: 20_000 });
  const { revision } = await client.delete("filler", { timeoutMs: 20_000 });
  await client.compact(revision, { timeoutMs: 20_000 });
}

async function sizes(cluster: Cluster): Promise<{ dbSizeBytes: number; dbInUseBytes: number }[]> {
  return await Promise.all(names.map(async (name) => {
    const node = cluster.node(name);
    return await (await node.client()).status(node.clientUrl, { timeoutMs: 2_000 });
  }));
}

const isSmall = ({ dbSizeBytes }: { dbSizeBytes: number }) => dbSizeBytes < 4 * mebibyte;

Deno.test("e2d defrag shrinks every file, and the leader's last after a leadership transfer", cancelled, async () => {
  await using cluster = await Cluster.start({ size: 3, args: ["--defrag-ratio=never"] });
  await cluster.healthy();
  await cluster.members(names);
  const at = ["--data-dir", cluster.dataDir("b")];
  const node = cluster.node("b");
  await node.eventually("nothing to defragment yet", async () => {
    const early = await e2d(["defrag", ...at]);
    assert(early.code === 1 && early.stderr.includes("no member has 1 MiB"), early.stderr + early.stdout);
  });
  await makeHoles(cluster);
  const writers = new Writers(cluster, names);
  await node.eventually("holes seen at all members", async () => {
    const plan = await e2d(["defrag", "--dry-run", ...at]);
    assert(plan.code === 0 && plan.stdout.includes("would be done: defragment"), plan.stderr + plan.stdout);
    const operations = [...plan.stdout.matchAll(/^ {2}(\w+)/gm)].map(([, kind]) => kind);
    assertEquals(operations, ["defragment", "defragment", "moveLeaderFrom", "defragment"]);
  });
  assert(!(await sizes(cluster)).some(isSmall), "a dry run has changed something");
  const planned = await node.eventually("defrag on its way", async () => {
    const asked = await e2d(["defrag", ...at]);
    assertEquals(asked.code, 0, asked.stderr);
    return [...asked.stdout.matchAll(/defragment memberId=([0-9a-f]+)/g)].map(([, id]) => id);
  });
  // The writers fill the files again, so the test reads the decisions instead of the sizes.
  await node.eventually("a finished plan", () => {
    assert(names.some((name) => cluster.node(name).log.some(({ reason }) => reason === "plan_done")));
    return Promise.resolve();
  });
  await writers.check(cluster, "c");
  const done = names.flatMap((name) => cluster.node(name).log.filter(({ outcome }) => outcome === "defragment"));
  done.sort((a, b) => String(a.time) < String(b.time) ? -1 : 1);
  const inOrder = [...new Set(done.map(({ member }) => member))];
  // The leader's is last, and is skipped if its file was filled again meanwhile.
  assert(inOrder.length >= 2, `only ${inOrder} of ${planned}`);
  assertEquals(inOrder, planned.slice(0, inOrder.length));
  assertEquals((await cluster.members(names)).length, 3);
});

Deno.test("automatic defragmentation runs above the threshold, and not during a pause", cancelled, async () => {
  await using cluster = await Cluster.start({
    size: 3,
    args: ["--defrag-ratio=50", `--defrag-min-size=${8 * mebibyte}`],
  });
  await cluster.healthy();
  await cluster.members(names);
  const at = ["--data-dir", cluster.dataDir("a")];
  assertEquals((await e2d(["pause", ...at])).code, 0);
  await Promise.all(
    names.map((name) => cluster.node(name).logged(({ message }) => message === "automatic action is paused")),
  );
  await makeHoles(cluster);
  await new Promise((resolve) => setTimeout(resolve, 5_000));
  assert(!(await sizes(cluster)).some(isSmall), "a member was defragmented during the pause");
  assertEquals((await e2d(["resume", ...at])).code, 0);
  await cluster.node("a").eventually("all small", async () => {
    const now = await sizes(cluster);
    assert(now.every(isSmall), JSON.stringify(now.map(({ dbSizeBytes }) => dbSizeBytes)));
  });
  assert(names.some((name) => cluster.node(name).log.some(({ reason }) => reason === "space_is_free")));
});
