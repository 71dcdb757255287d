/**
 * A member whose data differs, on three real nodes: e2d replaces it after etcd's alarm, no acknowledged write is lost,
 * and the different data is quarantined.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { alterValue, raiseAlarm } from "../support/spoil_etcd.ts";
import { asideOf, Cluster } from "./cluster.ts";

// grpc-js closes its HTTP/2 sessions some time after the client.
const sanitize = { sanitizeResources: false, sanitizeOps: false };
const names = ["a", "b", "c"];

const ways = [
  { how: "in etcd's name", etcd: "3.6.14" },
  // Up to a minute after a compaction.
  { how: "by etcd itself", etcd: "3.7.3" },
] as const;

for (const { how, etcd } of ways) {
  Deno.test(
    `a voter with different data that is accused ${how} is removed, quarantines its data and joins again`,
    sanitize,
    async () => {
      await using cluster = await Cluster.start({ size: 3, etcd, healthCheckTimeout: "60s" });
      await cluster.healthy();
      const before = await cluster.members(names);
      for (let at = 0; at < 20; at++) await cluster.put("a", `/kept/${at}`, `right-${at}-value`);

      // All at once: a member that starts beside others that serve would be compared before it serves.
      await Promise.all(names.map((name) => cluster.node(name).stop()));
      await alterValue(`${cluster.dataDir("c")}/member/snap/db`, "right-7-value", "wrong-7-value");
      for (const name of names) cluster.startNode(name);
      await cluster.healthy();
      const node = cluster.node("a");
      const wrong = before.find(({ name }) => name === "c")!;
      const client = await node.client();
      if (how === "by etcd itself") await client.compact((await client.status(node.clientUrl)).revision);
      else await raiseAlarm(node.clientUrl, "CORRUPT", wrong.id);

      const now = await node.eventually("with a new member c", async () => {
        const members = await cluster.members(names);
        assert(members.every(({ id }) => id !== wrong.id), "the accused member was not removed");
        return members;
      });
      assertEquals(before.filter(({ id }) => now.some((each) => each.id === id)).map(({ name }) => name).sort(), [
        "a",
        "b",
      ]);
      await node.eventually(
        "without an alarm",
        async () => assertEquals(await client.alarms({ timeoutMs: 10_000 }), []),
      );
      // A read first: it detects that the previous etcd has ended, and opens a new connection.
      await cluster.healthy(["c"]);
      await cluster.put("c", "/after", "written");
      for (let at = 0; at < 20; at++) assertEquals(await cluster.get("c", `/kept/${at}`), `right-${at}-value`);
      const told = names.flatMap((name) => cluster.node(name).log).filter(({ reason }) => reason === "member_corrupt");
      assert(told.length > 0, "no node reports it");
      const aside = await asideOf(cluster, "c");
      assertEquals(aside.length, 1, aside.join());
      const kept = new TextDecoder("latin1").decode(await Deno.readFile(`${cluster.path}/${aside[0]}/member/snap/db`));
      assert(kept.includes("wrong-7-value"), "the quarantined data is not the different data");
    },
  );
}
