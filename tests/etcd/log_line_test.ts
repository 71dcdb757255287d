import { isShutdownNoise, LongOperation, parseLogLine } from "../../lib/etcd/process/log_line.ts";
import { assertEquals } from "../support/assert.ts";

Deno.test("LongOperation follows the log lines of a defragmentation and a snapshot of etcd 3.4 to 3.7", () => {
  const stories = [
    ["starting to defragment the storage backend", "defragmenting", "finished defragmenting directory"],
    ["starting defragment", "defragmenting", "finished defragment"],
    ["starting defragment", "failed to defragment"],
    ["applying snapshot", "restored kv store", "applied snapshot"],
  ];
  for (const lines of stories) {
    const work = new LongOperation();
    assertEquals(work.observe("compacted Raft logs"), false);
    const states = lines.map((line) => work.observe(line));
    assertEquals([states[0], states.at(-1)], [true, false], lines.join());
  }
});

Deno.test("isShutdownNoise() leaves errors that a stop does not explain", () => {
  const line = (level: string, msg: string) => isShutdownNoise(parseLogLine(JSON.stringify({ level, msg })));
  assertEquals(line("error", "setting up serving from embedded etcd failed."), true);
  assertEquals(line("warn", "closed TCP streaming connection with remote peer"), true);
  assertEquals(line("error", "failed to close backend"), false);
  assertEquals(line("info", "stopped"), false);
});

Deno.test("parseLogLine() logs a storage version that etcd cannot determine yet at info, not at error", () => {
  const level = (error: string, msg = "failed to update storage version") =>
    parseLogLine(JSON.stringify({ level: "error", msg, error })).level;
  assertEquals(level("cannot detect storage schema version: missing term information"), "info");
  assertEquals(level("missing term information", "Failed to detect schema version"), "info");
  assertEquals(level("cannot detect storage schema version: missing confstate information"), "error");
});
