/** A database that grows over its quota, on three real nodes: it has room again without a hand, and nothing is gone. */
import { assert, assertEquals } from "../support/assert.ts";
import { Cluster } from "./cluster.ts";

const cancelled = { sanitizeResources: false };
const names = ["a", "b", "c"];
const quotaBytes = 16 * 1_048_576;

Deno.test("a full etcd is compacted, defragmented and disarmed by the leader's e2d", cancelled, async () => {
  await using cluster = await Cluster.start({ size: 3, args: [`--quota-backend-bytes=${quotaBytes}`] });
  await cluster.healthy();
  await cluster.members(names);
  const node = cluster.node("a");
  const client = await node.client();
  await client.put("kept", "yes", { timeoutMs: 20_000 });
  const value = "x".repeat(512 * 1_024);
  let refused = "";
  for (let at = 0; at < 200 && refused === ""; at++) {
    await client.put("/jobs/current", `${at} ${value}`, { timeoutMs: 20_000 }).catch((error) =>
      refused = String(error)
    );
  }
  assert(refused.includes("etcd_nospace") || refused.includes("database space exceeded"), refused);
  await node.eventually(
    "writable again",
    () => client.put("/jobs/current", value, { timeoutMs: 5_000 }),
    120_000,
  );
  await node.eventually("without an alarm", async () => assertEquals(await client.alarms({ timeoutMs: 5_000 }), []));
  assertEquals(await cluster.get("a", "kept"), "yes");
  for (const name of names) {
    const each = cluster.node(name);
    const { dbSizeBytes } = await (await each.client()).status(each.clientUrl, { timeoutMs: 5_000 });
    assert(dbSizeBytes < quotaBytes / 2, `${name} has ${dbSizeBytes} bytes`);
  }
  await node.eventually("told by the node that did it", () => {
    const told = names.flatMap((name) => cluster.node(name).log).filter(({ reason }) => reason === "room_made");
    assert(told.length > 0 && JSON.stringify(told).includes("/jobs/current"), JSON.stringify(told));
    return Promise.resolve();
  });
});
