import { assert, assertEquals } from "../support/assert.ts";
import { temporaryDirectory } from "../support/fixtures.ts";
import { TestLog } from "../support/test_log.ts";
import { serviceManager } from "../../lib/sys/notify.ts";

const managerOf = (variables: Record<string, string>, log = new TestLog()) =>
  serviceManager({ environment: (name) => variables[name], pid: 4711, log });

Deno.test("serviceManager: is undefined without a service manager", () => {
  assertEquals(managerOf({}), undefined);
  assertEquals(managerOf({ NOTIFY_SOCKET: "" }), undefined);
});

Deno.test("serviceManager: sends one datagram per call, in order, without line breaks in values", async () => {
  await using folder = await temporaryDirectory();
  const path = `${folder.path}/notify`;
  const listener = Deno.listenDatagram({ transport: "unixpacket", path });
  const manager = managerOf({ NOTIFY_SOCKET: path })!;
  void manager.tell({ READY: "1", STATUS: "waits\nMAINPID=1" });
  void manager.tell({ WATCHDOG: "1" });
  const decoder = new TextDecoder();
  assertEquals(decoder.decode((await listener.receive())[0]), "READY=1\nSTATUS=waits MAINPID=1");
  assertEquals(decoder.decode((await listener.receive())[0]), "WATCHDOG=1");
  manager.close();
  listener.close();
});

Deno.test("serviceManager: warns once when the socket is gone, and never throws", async () => {
  const log = new TestLog();
  const manager = managerOf({ NOTIFY_SOCKET: "/nonexistent/notify" }, log)!;
  await manager.tell({ READY: "1" });
  await manager.tell({ WATCHDOG: "1" });
  manager.close();
  await manager.tell({ WATCHDOG: "1" });
  assertEquals(log.lines.map(({ level }) => level), ["warn", "debug", "debug"]);
  assert(log.text.includes("/nonexistent/notify"));
});

Deno.test("serviceManager: has a watchdog only for this process and valid microseconds", () => {
  const watchdogMs = (usec: string, pid?: string) => {
    const manager = managerOf({
      NOTIFY_SOCKET: "/nonexistent/notify",
      WATCHDOG_USEC: usec,
      ...(pid === undefined ? {} : { WATCHDOG_PID: pid }),
    })!;
    manager.close();
    return manager.watchdogMs;
  };
  assertEquals(watchdogMs("30000000"), 30_000);
  assertEquals(watchdogMs("30000000", "4711"), 30_000);
  assertEquals(watchdogMs("30000000", "1"), undefined);
  assertEquals(watchdogMs("0"), undefined);
  assertEquals(watchdogMs("soon"), undefined);
});
