/**
 * The migration of docs/migrate-from-go-e2d.md while clients write: the nodes of the Go original are replaced one at a
 * time on the same disks and addresses, then etcd is upgraded from 3.4 over 3.5 and 3.6 to 3.7.
 */
import { assert, assertEquals } from "../support/assert.ts";
import { eventually, temporaryDirectory } from "../support/fixtures.ts";
import { Stage } from "../walks/stage.ts";
import { settingsIn, stepsOf, walk } from "../walks/walk.ts";
import { Writers } from "./writers.ts";

const sanitize = { sanitizeResources: false, sanitizeOps: false };

Deno.test(
  "a cluster of the Go original migrates to this e2d node by node and upgrades to etcd 3.7, while clients write",
  sanitize,
  async () => {
    await using dir = await temporaryDirectory();
    const names = ["one", "two", "three"];
    await using stage = await Stage.open(dir.path, names, await settingsIn("first-cluster"));
    // The original's operator had made certificates, too.
    const firstSteps = await stepsOf("first-cluster");
    await walk(stage, firstSteps.slice(0, firstSteps.findIndex(({ command }) => command.startsWith("systemctl"))));
    await stage.startOriginal();
    const { clientUrl } = stage.node("one");
    const { clusterId } = await (await stage.node("one").client()).status(clientUrl);
    const writers = new Writers(stage, names);

    await walk(stage, await stepsOf("migrate-from-go-e2d"));

    assert(writers.acknowledged > 100, `${writers.acknowledged} writes`);
    const client = await stage.node("one").client();
    // Its connection may still rest after the restart of etcd.
    await eventually("a read", () => client.ready(clientUrl, { timeoutMs: 1_000 }).then(() => true));
    await writers.check(stage, "one");
    const status = await client.status(clientUrl);
    assertEquals(status.clusterId, clusterId);
    assert(status.version.startsWith("3.7."), status.version);
    assertEquals((await client.memberList(clientUrl)).map(({ name }) => name).sort(), [...names].sort());
  },
);
