import { startEtcdProcess } from "../../lib/etcd/process/process.ts";
import type { Process, Processes, ProcessExit } from "../../lib/ports.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

Deno.test("the cause of a panic is taken from the message before its stack trace", async () => {
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
  // The log still has the trace.
  assert(log.lines.length > frames.length, `${log.lines.length} lines`);
});

const jsonLine = (level: string, msg: string) => JSON.stringify({ level, msg });

async function stopped(lines: readonly string[], exit: ProcessExit): Promise<{ log: TestLog; options: unknown }> {
  let end = (_: ProcessExit) => {};
  const exited = new Promise<ProcessExit>((resolve) => end = resolve);
  const { readable, writable } = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>();
  const empty = new Blob([]).stream() as ReadableStream<Uint8Array<ArrayBuffer>>;
  let options: unknown;
  const process: Process = {
    pid: 1,
    stdout: empty,
    stderr: readable,
    exited,
    kill() {
      void (async () => {
        const writer = writable.getWriter();
        await writer.write(new TextEncoder().encode(`${lines.join("\n")}\n`));
        await writer.close();
        end(exit);
      })();
    },
  };
  const processes = {
    start(_program: string, _args: readonly string[], given: unknown) {
      options = given;
      return Promise.resolve(process);
    },
  } as Partial<Processes> as Processes;
  const log = new TestLog();
  const etcd = await startEtcdProcess("etcd", [], { processes, clock: new TestClock(), log });
  await etcd.stop(60_000);
  return { log, options };
}

Deno.test("an orderly stop logs neither warning nor error about the connections that it closes", async () => {
  const { log, options } = await stopped([
    jsonLine("error", "setting up serving from embedded etcd failed."),
    jsonLine("warn", "stopping insecure grpc server due to error"),
    '2026/11/29 10:55:39 WARNING: [core] [Server #3] grpc: "transport is closing"',
    jsonLine("info", "stopped"),
  ], { code: 143, signal: "SIGTERM" });
  assertEquals(log.lines.map(({ level }) => level), ["debug", "debug", "debug", "info"]);
  // A signal that a terminal sends to its process group does not reach etcd.
  assertEquals((options as { ownSession?: boolean }).ownSession, true);
});

Deno.test("an error during a stop stays an error, and an unclean exit is a warning", async () => {
  const { log } = await stopped([
    jsonLine("error", "failed to close backend"),
    "panic: runtime error",
  ], { code: 2, signal: undefined });
  assertEquals(log.lines.map(({ level, message }) => `${level} ${message}`), [
    "error failed to close backend",
    "debug panic: runtime error",
    "warn etcd did not stop cleanly",
  ]);
});
