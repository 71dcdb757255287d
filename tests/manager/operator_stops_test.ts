import type { Files } from "../../lib/ports.ts";
import { OperatorStops, stopsPath } from "../../lib/manager/data_dir/operator_stops.ts";
import { systemFiles } from "../../lib/sys/files.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { TestClock } from "../support/test_clock.ts";
import { TestLog } from "../support/test_log.ts";

const ports = (files: Files = systemFiles) => ({
  files,
  clock: new TestClock(),
  log: new TestLog(),
  signal: new AbortController().signal,
});
const mark = { clusterId: "c1", paused: true, version: 3 };
const hold = { sinceWallMs: 1_700_000_000_000, why: "disk of n2 is being read" };

Deno.test("OperatorStops keeps hold and pause over a restart; a release ends only the hold", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  const first = await OperatorStops.open(dataDir, ports());
  assertEquals([first.hold, first.pause], [undefined, undefined]);
  await first.keepPause(mark);
  await first.setHold(hold);
  const second = await OperatorStops.open(dataDir, ports());
  assertEquals([second.hold, second.pause], [hold, mark]);
  await second.setHold(undefined);
  const third = await OperatorStops.open(dataDir, ports());
  assertEquals([third.hold, third.pause], [undefined, mark]);
  assertEquals((await Deno.stat(stopsPath(dataDir))).mode! & 0o777, 0o600);
});

Deno.test("an unreadable file of stops counts as a hold until an operator releases it", async () => {
  for (const text of ["", "{", '{"version":2}', '{"version":1,"pause":{"paused":"yes"}}', '{"version":1,"hold":{}}']) {
    await using dir = await temporaryDirectory();
    const dataDir = `${dir.path}/data`;
    await Deno.writeTextFile(stopsPath(dataDir), text);
    const given = ports();
    const stops = await OperatorStops.open(dataDir, given);
    assert(stops.hold?.why?.includes(stopsPath(dataDir)), text);
    assertEquals(given.log.lines.map(({ level }) => level), ["error"]);
    await stops.setHold(undefined);
    assertEquals((await OperatorStops.open(dataDir, ports())).hold, undefined);
  }
});

Deno.test("a failed write refuses a hold, and is retried for a pause", async () => {
  await using dir = await temporaryDirectory();
  const dataDir = `${dir.path}/data`;
  let refusals = 2;
  const files: Files = {
    ...systemFiles,
    readText: systemFiles.readText,
    async writeAtomic(...given) {
      if (refusals-- > 0) throw new Error("no space");
      await systemFiles.writeAtomic(...given);
    },
  };
  const given = ports(files);
  const stops = await OperatorStops.open(dataDir, given);
  assertEquals(await stops.setHold(hold).catch((error: Error) => error.message), "no space");
  assertEquals(stops.hold, undefined);
  const kept = stops.keepPause(mark);
  for (let i = 0; i < 5; i++) await given.clock.advance(5_000);
  await kept;
  assertEquals((await OperatorStops.open(dataDir, ports())).pause, mark);
});
