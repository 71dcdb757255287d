import { type DataDirLock, lockDataDir } from "../../lib/manager/data_dir/lock.ts";
import type { Locks, Processes, ProcessIdentity } from "../../lib/ports.ts";
import { assert, assertE2dError, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

const dataDir = "/var/lib/etcd";
const etcd: ProcessIdentity = { pid: 71, started: "boot-5", args: ["/opt/etcd", `--data-dir=${dataDir}`] };
/** Its memory is given back, its sockets are not yet closed. */
const ending: ProcessIdentity = { ...etcd, args: [] };

class World implements Processes {
  readonly clock = new TestClock();
  readonly log = new TestLog();
  readonly signals: string[] = [];
  written: string[] = [];
  released = 0;
  note = JSON.stringify({ pid: etcd.pid, started: etcd.started });
  running: ProcessIdentity | undefined = etcd;
  onSignal = (_signal: string) => {};

  start = () => Promise.reject(new Error("nothing is started here"));
  identify = (pid: number) => Promise.resolve(pid === this.running?.pid ? this.running : undefined);
  kill = (pid: number, signal: string) => {
    assertEquals(pid, etcd.pid);
    this.signals.push(signal);
    this.onSignal(signal);
  };

  readonly locks: Locks = {
    take: () =>
      Promise.resolve({
        found: this.note,
        write: (text) => {
          this.written.push(text);
          return Promise.resolve();
        },
        release: () => void this.released++,
      }),
  };

  async hold(): Promise<DataDirLock> {
    const { locks, clock, log } = this;
    const outcome = await clock.settle(lockDataDir(dataDir, { locks, processes: this, clock, log }));
    if (outcome.status === "rejected") throw outcome.reason;
    return outcome.value;
  }
}

Deno.test("lockDataDir() waits until an orphaned etcd has exited, not only until it has no arguments", async () => {
  const world = new World();
  let endedAtMs = Infinity;
  world.onSignal = () => {
    world.running = ending;
    void world.clock.sleep(700).then(() => {
      world.running = undefined;
      endedAtMs = world.clock.monotonicMs();
    });
  };
  await world.hold();
  assert(world.clock.monotonicMs() >= endedAtMs);
  assertEquals(world.signals, ["SIGTERM"]);
  assertEquals(world.written, [""]);
});

Deno.test("lockDataDir() waits for an orphaned etcd that was already exiting", async () => {
  const world = new World();
  world.running = ending;
  void world.clock.sleep(300).then(() => world.running = undefined);
  await world.hold();
  assertEquals(world.running, undefined);
});

Deno.test("lockDataDir() ignores a process that reuses the pid", async () => {
  for (
    const other of [
      { ...etcd, started: "boot-6" },
      { ...ending, started: "boot-6" },
      { ...etcd, args: ["/opt/etcd", "--data-dir=/var/lib/other"] },
    ]
  ) {
    const world = new World();
    world.running = other;
    await world.hold();
    assertEquals(world.signals, []);
  }
});

Deno.test("lockDataDir() ignores an empty, incomplete or invalid lock file", async () => {
  for (
    const note of ["", '{"pid":71,"sta', '{"pid":"71","started":"boot-5"}', '{"pid":1,"started":"boot-5"}', "null"]
  ) {
    const world = new World();
    world.note = note;
    await world.hold();
    assertEquals(world.signals, []);
  }
});

Deno.test("lockDataDir() kills an etcd that ignores SIGTERM, and releases the lock when it does not exit", async () => {
  const stubborn = new World();
  stubborn.onSignal = (signal) => {
    if (signal === "SIGKILL") stubborn.running = undefined;
  };
  await stubborn.hold();
  assertEquals(stubborn.signals, ["SIGTERM", "SIGKILL"]);

  const hanging = new World();
  await assertE2dError("orphan_stays", () => hanging.hold());
  assertEquals(hanging.released, 1);
  assertEquals(hanging.written, []);
});

Deno.test("lockDataDir() refuses a data-dir that another e2d has locked", async () => {
  const world = new World();
  world.locks.take = () => Promise.resolve(undefined);
  await assertE2dError("data_dir_in_use", () => world.hold());
});

Deno.test("DataDirLock.noteEtcd() writes pid and start time, and clears the file after an exit", async () => {
  const world = new World();
  world.note = "";
  const hold = await world.hold();
  await hold.noteEtcd(etcd.pid);
  await hold.noteEtcd(undefined);
  hold.release();
  assertEquals(world.written, ["", '{"pid":71,"started":"boot-5"}', ""]);
  assertEquals(world.released, 1);
});
