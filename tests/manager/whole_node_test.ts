/** A whole node, from its configuration to its exit status, on a machine in memory. */
import { isE2dError } from "../../lib/errors.ts";
import { encodeClusterRecord } from "../../lib/manager/cluster_record.ts";
import { dataDir, FakeMachine, type Run } from "./fake_machine.ts";
import { assert, assertEquals } from "../support/assert.ts";

/** The E2dError that a run ends with. */
async function refusal(machine: FakeMachine, run: Run) {
  const { error } = await machine.end(run);
  assert(isE2dError(error), String(error));
  return error;
}

async function stop(machine: FakeMachine, run: Run): Promise<void> {
  run.stop();
  assertEquals(await machine.end(run), { code: 0 });
}

Deno.test("a single node starts etcd, serves, and exits with status 0 after a stop request", async () => {
  const machine = new FakeMachine();
  const run = await machine.serve();
  assertEquals(machine.etcd.starts, 1);
  await stop(machine, run);
  assertEquals(machine.etcd.signals, ["SIGTERM"]);
  assert(!machine.etcd.runs && !machine.servesStatus);
  // The lock is free again, and the data are served by the next run.
  await stop(machine, await machine.serve());
  assertEquals(machine.etcd.starts, 2);
});

Deno.test("a discovery answer during the construction of the node reaches gossip", async () => {
  const machine = new FakeMachine();
  const thrown: unknown[] = [];
  machine.whileBuilding = () => {
    try {
      machine.discovery.answer([{ host: "10.0.0.2" }]);
    } catch (error) {
      // Discovery logs what its listeners throw as a failure of its own.
      thrown.push(error);
    }
  };
  const run = machine.start({ requiredSize: 3, peerDiscovery: "fake" });
  await machine.until(() => machine.servesStatus && machine.dialled.has("10.0.0.2"), "gossip dials the seed");
  assertEquals(thrown, []);
  machine.discovery.answer([{ host: "10.0.0.2" }, { host: "10.0.0.3" }]);
  await machine.until(() => machine.dialled.has("10.0.0.3"), "gossip dials the seed that comes later");
  await stop(machine, run);
});

Deno.test("a node whose client port is in use exits before it creates a data-dir, and names the port", async () => {
  const machine = new FakeMachine();
  machine.taken.add("10.0.0.1:2379");
  const error = await refusal(machine, machine.start());
  assertEquals(error.code, "address_unusable");
  assert(error.message.includes("10.0.0.1:2379") && error.hint?.includes("--client-addr"), error.message);
  assertEquals([machine.etcd.starts, machine.disk.nodes.has(dataDir)], [0, false]);
  // The lock was released.
  machine.taken.clear();
  await stop(machine, await machine.serve());
});

Deno.test("a node exits when another process has locked its data-dir", async () => {
  const machine = new FakeMachine();
  machine.lockedByOthers.add(`${dataDir}.e2d.lock`);
  assertEquals((await refusal(machine, machine.start())).code, "data_dir_in_use");
  assertEquals(machine.etcd.starts, 0);
});

Deno.test("a node that cannot create its control socket exits and closes its adapters", async () => {
  const machine = new FakeMachine();
  machine.refusesControl = true;
  assertEquals((await refusal(machine, machine.start())).code, "control_listen");
  assert(!machine.servesStatus);
  assertEquals(machine.etcd.starts, 0);
});

Deno.test("a node with an unreadable data-dir exits with status 1, and changes nothing", async () => {
  const machine = new FakeMachine();
  await stop(machine, await machine.serve());
  machine.etcd.unreadable = "the disk reports an error";
  const paths = machine.disk.paths();
  assertEquals(await machine.end(machine.start()), { code: 1 });
  assertEquals([machine.etcd.starts, machine.disk.paths()], [1, paths]);
  const error = machine.log.lines.find(({ level }) => level === "error");
  assert(error !== undefined && error.message.includes("the disk reports an error"), machine.text);
});

Deno.test("the first SIGTERM waits for etcd, and the second one kills it", async () => {
  const machine = new FakeMachine();
  machine.etcd.behaviour = { ignoresTerm: true };
  const run = await machine.serve();
  run.stop();
  await machine.clock.advance(5_000);
  assertEquals([machine.etcd.runs, machine.etcd.signals], [true, ["SIGTERM"]]);
  run.hurry();
  assertEquals(await machine.end(run), { code: 0 });
  assertEquals([machine.etcd.runs, machine.etcd.signals], [false, ["SIGTERM", "SIGKILL"]]);
});

Deno.test("a stop request during the construction of the node starts no etcd", async () => {
  const machine = new FakeMachine();
  const run = machine.start();
  run.stop();
  assertEquals(await machine.end(run), { code: 0 });
  assertEquals(machine.etcd.starts, 0);
});

Deno.test("a plan is refused before the node serves, with the reason", async () => {
  const machine = new FakeMachine();
  machine.etcd.behaviour = { hasNoLeader: true };
  const run = machine.start();
  await machine.until(() => machine.etcd.runs, "etcd runs");
  assertEquals(await machine.control({ command: "scale", to: 3 }), {
    kind: "refused",
    why: "this node does not serve",
  });
  await stop(machine, run);
});

Deno.test("a plan and its dry run are refused without a standby node", async () => {
  const machine = new FakeMachine();
  const run = await machine.serve();
  for (const dryRun of [true, false]) {
    assertEquals(await machine.control({ command: "scale", to: 3, dryRun }), {
      kind: "refused",
      why: "2 more nodes are needed; standby nodes now: 0",
    });
    assertEquals(await machine.control({ command: "scale", to: 2, dryRun }), {
      kind: "refused",
      why: "2 is not a valid cluster size: use 1, 3, 5, 7",
    });
  }
  await stop(machine, run);
});

Deno.test("unknown requests are refused", async () => {
  const machine = new FakeMachine();
  const run = await machine.serve();
  assertEquals(await machine.control({ command: "dance" }), {
    kind: "refused",
    why: 'unknown command "dance"',
  });
  assertEquals((await machine.control({ command: "cancel" }))?.kind, "refused");
  assertEquals((await machine.control({ command: "approve", plan: "abc" }))?.kind, "refused");
  await stop(machine, run);
});

Deno.test("a pause is kept in etcd, lasts over a restart, and ends with a resume", async () => {
  const machine = new FakeMachine();
  const first = await machine.serve();
  assertEquals((await machine.control({ command: "pause", dryRun: true }))?.kind, "done");
  assertEquals(machine.etcd.key("/_e2d/paused"), undefined);
  assertEquals(await machine.control({ command: "pause" }), {
    kind: "done",
    text: "automatic action of the cluster is paused",
  });
  assertEquals(JSON.parse(machine.etcd.key("/_e2d/paused")!).paused, true);
  await machine.until(async () => (await machine.status("/status")).paused === true, "the status shows it");
  await stop(machine, first);

  const second = await machine.serve();
  await machine.until(
    async () => (await machine.status("/status")).paused === true,
    "it is paused after a restart",
  );
  assertEquals(await machine.control({ command: "resume" }), { kind: "done", text: "automatic action is resumed" });
  await machine.until(async () => (await machine.status("/status")).paused === false, "it goes on");
  await stop(machine, second);
});

Deno.test("a pause is refused while the cluster has no quorum", async () => {
  const machine = new FakeMachine();
  machine.etcd.behaviour = { hasNoLeader: true };
  const run = machine.start();
  await machine.until(() => machine.etcd.runs, "etcd runs");
  const answer = await machine.control({ command: "pause" });
  assert(answer?.kind === "refused" && answer.why.includes("e2d hold"), JSON.stringify(answer));
  await stop(machine, run);
});

Deno.test("a hold is on disk when it is answered, lasts over a restart, and ends with a release", async () => {
  const machine = new FakeMachine();
  const run = await machine.serve();
  const answer = await machine.control({ command: "hold", reason: "the disk is read" });
  assertEquals([answer?.kind, answer?.kind === "done" && answer.immediate], ["done", true]);
  assert((await machine.disk.readText(`${dataDir}.e2d.stops.json`))?.includes("the disk is read"));
  await machine.until(
    async () => JSON.stringify(await machine.status("/status")).includes("the disk is read"),
    "shown",
  );
  await stop(machine, run);

  const second = await machine.serve();
  assert(JSON.stringify(await machine.status("/status")).includes("the disk is read"));
  assertEquals((await machine.control({ command: "hold", release: true }))?.kind, "done");
  assertEquals(await machine.control({ command: "hold", release: true }), {
    kind: "refused",
    why: "this node has no hold",
  });
  await stop(machine, second);
});

Deno.test("a node whose -n contradicts the cluster's record exits with status 1", async () => {
  const machine = new FakeMachine();
  await stop(machine, await machine.serve());
  const record = encodeClusterRecord({ id: 1, createdMs: 0, requiredSize: 3 });
  await machine.etcd.put("/_e2d/Cluster/1", record, dataDir);
  const run = machine.start();
  assertEquals(await machine.end(run), { code: 1 });
  assert(machine.text.includes("size_contradicts_record"), machine.text);
  assert(!machine.etcd.runs);
});

Deno.test("an etcd that exits at once is started again, its last lines are logged, and it serves when it can", async () => {
  const machine = new FakeMachine();
  await stop(machine, await machine.serve());
  machine.etcd.behaviour = { exitsAtOnce: { code: 1, lines: ['{"level":"fatal","msg":"no space left on device"}'] } };
  const run = machine.start();
  await machine.until(() => machine.etcd.starts >= 4, "it is tried again");
  assert(machine.clock.monotonicMs() > 2_000, "the retries have pauses");
  assert(
    machine.log.lines.some(({ level, fields }) => level === "error" && `${fields.lastLines}`.includes("no space")),
  );
  machine.etcd.behaviour = {};
  await machine.until(() => machine.announced().ready, "the node serves");
  await stop(machine, run);
});

Deno.test("an etcd that exits unexpectedly is started again", async () => {
  const machine = new FakeMachine();
  const run = await machine.serve();
  machine.etcd.crash();
  await machine.until(() => machine.etcd.starts === 2 && machine.announced().ready, "it serves again");
  await stop(machine, run);
});

Deno.test("a node keeps the name that its data-dir has", async () => {
  const machine = new FakeMachine();
  await stop(machine, await machine.serve({ name: "n1" }));
  const run = await machine.serve({ name: "n9" });
  assertEquals((await machine.status("/status")).name, "n1");
  assert(machine.log.lines.some(({ level, fields }) => level === "warn" && fields.kept === "n1"));
  await stop(machine, run);
});
