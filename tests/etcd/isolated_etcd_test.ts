import { withIsolatedEtcd } from "../../lib/etcd/restore/isolated_etcd.ts";
import type { Processes, ProcessExit } from "../../lib/ports.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

Deno.test("the isolated etcd is killed without SIGTERM, and its log lines are marked as those of etcd", async () => {
  const enough = new AbortController();
  const signals: string[] = [];
  const exit = Promise.withResolvers<ProcessExit>();
  const line = JSON.stringify({ level: "info", msg: "opened backend db", caller: "storage/backend.go:80" });
  const processes: Partial<Processes> = {
    start() {
      enough.abort(new Error("enough"));
      return Promise.resolve({
        pid: 1,
        stdout: new Blob([]).stream() as ReadableStream<Uint8Array<ArrayBuffer>>,
        stderr: new Blob([`${line}\n`]).stream() as ReadableStream<Uint8Array<ArrayBuffer>>,
        exited: exit.promise,
        kill(signal) {
          signals.push(signal);
          // An etcd that waits for its connections exits on no other signal.
          if (signal === "SIGKILL") exit.resolve({ code: 137, signal });
        },
      });
    },
  };
  const log = new TestLog();
  const clock = new TestClock();
  const request = { etcd: "etcd", version: "3.6.14", copyDir: "/copy", name: "n", socketDir: "/s" };
  const ports = { processes: processes as Processes, clock, log };
  const ended = await withIsolatedEtcd(request, ports, () => Promise.resolve(), enough.signal).catch((error) => error);
  assertEquals(ended.message, "enough");
  assertEquals(signals, ["SIGKILL"]);
  assertEquals(clock.monotonicMs(), 0);
  assert(log.lines.length > 0 && log.lines.every(({ fields }) => fields.part === "etcd"), log.text);
});
