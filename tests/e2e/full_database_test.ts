/** A database that exceeds its quota on three real nodes: e2d reclaims space automatically, and no key is lost. */
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { raiseAlarm } from "../support/spoil_etcd.ts";
import { Cluster, loseDisk } from "./cluster.ts";
import { e2d } from "./node_process.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const names = ["a", "b", "c"];
const quotaBytes = 16 * 1_048_576;

Deno.test("the leader's manager compacts and defragments a full etcd and disarms its alarm", sanitize, async () => {
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
  await node.eventually("reported by the leader's node", () => {
    const told = names.flatMap((name) => cluster.node(name).log).filter(({ reason }) => reason === "nospace_resolved");
    assert(told.length > 0 && JSON.stringify(told).includes("/jobs/current"), JSON.stringify(told));
    return Promise.resolve();
  });
});

Deno.test("nodes that start on a full etcd serve, and reclaim space when a pause ends", sanitize, async () => {
  await using cluster = await Cluster.start({ size: 3 });
  await cluster.healthy();
  const { id } = (await cluster.members(names))[0]!;
  await cluster.put("a", "kept", "yes");
  // Paused, so that the alarm is still there when they start.
  assertEquals((await e2d(["pause", "--data-dir", cluster.dataDir("a")])).code, 0);
  await raiseAlarm(cluster.node("a").clientUrl, "NOSPACE", id);
  await Promise.all(names.map((name) => cluster.node(name).stop()));
  for (const name of names) cluster.startNode(name);
  await Promise.all(names.map((name) => cluster.node(name).logged(({ phase }) => phase === "serving")));
  await cluster.node("a").eventually("resumed", async () => {
    const { code, stderr } = await e2d(["resume", "--data-dir", cluster.dataDir("a")]);
    assertEquals(code, 0, stderr);
  });
  await cluster.put("b", "kept", "still");
});

Deno.test("a snapshot of a full etcd is restored, and space is reclaimed", sanitize, async () => {
  await using dir = await temporaryDirectory();
  const args = [`--snapshot-backup-url=file://${dir.path}/db`, "--snapshot-interval=1s"];
  await using cluster = await Cluster.start({ size: 3, args });
  await cluster.healthy();
  const { id } = (await cluster.members(names))[0]!;
  await cluster.put("a", "kept", "yes");
  await cluster.put("a", "gone", "yes");
  assertEquals((await e2d(["pause", "--data-dir", cluster.dataDir("a")])).code, 0);
  const client = await cluster.node("a").client();
  await raiseAlarm(cluster.node("a").clientUrl, "NOSPACE", id);
  // A request that etcd still accepts, so that a snapshot is due.
  const { revision } = await cluster.node("a").eventually("deleted from", async () => {
    await client.delete("gone");
    return await client.status(cluster.node("a").clientUrl);
  });
  await Promise.any(
    names.map((name) =>
      cluster.node(name).logged((entry) => entry.message === "saved a snapshot" && Number(entry.revision) >= revision)
    ),
  );
  for (const name of names) await cluster.kill(name);
  for (const name of names) await loseDisk(cluster, name);
  for (const name of names) cluster.startNode(name);
  // The pause is stored beside the data-dir and blocks the restore until an operator ends it.
  const paused = await cluster.node("a").logged(({ outcome, reason }) => outcome === "wait" && reason === "paused");
  assert(String(paused.hint).startsWith("e2d resume"), String(paused.hint));
  const { code, stderr } = await e2d(["resume", "--data-dir", cluster.dataDir("a")]);
  assertEquals(code, 0, stderr);
  await cluster.members(names);
  assertEquals(await cluster.get("b", "kept"), "yes");
  await cluster.put("b", "kept", "still");
});
