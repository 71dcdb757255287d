import { startEtcdProcess } from "../../lib/etcd/process.ts";
import type { Process, Processes, ProcessExit } from "../../lib/ports.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

Deno.test("an etcd that panics is known by the words before its stack trace", async () => {
  const panic = "invalid downgrade; server version is lower than determined cluster version";
  const frames = Array.from({ length: 40 }, (_, at) => [
    `go.etcd.io/etcd/server/v3/etcdserver.(*EtcdServer).apply(0x39597d140a08, {0x0, 0x1}, 0x${at})`,
    `\tgo.etcd.io/etcd/server/v3@v3.6.14/etcdserver/server.go:${at} +0x80c`,
  ]).flat();
  const text = [
    JSON.stringify({ level: "panic", msg: panic, "determined-cluster-version": "3.7" }),
    `panic: ${panic}`,
    "",
    "goroutine 170 [running]:",
    ...frames,
    "created by go.etcd.io/etcd/pkg/v3/schedule.NewFIFOScheduler in goroutine 170",
    "",
  ].join("\n");
  const bytes = (of: string) => new Blob([of]).stream() as ReadableStream<Uint8Array<ArrayBuffer>>;
  const exited: Promise<ProcessExit> = Promise.resolve({ code: 2, signal: undefined });
  const process: Process = { pid: 1, stdout: bytes(""), stderr: bytes(text), exited, kill() {} };
  const processes = { start: () => Promise.resolve(process) } as Partial<Processes> as Processes;
  const log = new TestLog();
  const etcd = await startEtcdProcess("etcd", [], { processes, clock: new TestClock(), log });
  const { cause, tail } = await etcd.exited;
  assertEquals(cause, "version_too_old");
  assertEquals(tail.length, 2);
  // The trace is in the log all the same.
  assert(log.lines.length > frames.length, `${log.lines.length} lines`);
});
