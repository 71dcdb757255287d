import { assert, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";
import type { ServiceManager } from "../../lib/ports.ts";
import { type NoticedReport, ServiceNotices, serviceState } from "../../lib/manager/service_notices.ts";

const member = (name: string, role: "leader" | "voter" | "learner") => ({
  id: name,
  name,
  peerUrls: [],
  role,
  alarms: [],
});

const serving: NoticedReport = {
  name: "a",
  phase: "serving",
  ready: true,
  reasons: [],
  paused: false,
  members: [member("a", "voter"), member("b", "leader"), member("c", "voter"), member("d", "learner")],
};

const waiting: NoticedReport = {
  name: "a",
  phase: "waiting",
  ready: false,
  reasons: [
    { code: "too_few", text: "2 of 3 nodes have gathered" },
    { code: "not_serving", text: "this node is waiting" },
  ],
  paused: false,
  members: [],
};

class Told implements ServiceManager {
  readonly watchdogMs?: number;
  readonly all: { atMs: number; state: Record<string, string> }[] = [];
  closed = false;

  constructor(readonly clock: TestClock, watchdogMs?: number) {
    if (watchdogMs !== undefined) this.watchdogMs = watchdogMs;
  }

  tell(state: Readonly<Record<string, string>>): Promise<void> {
    this.all.push({ atMs: this.clock.monotonicMs(), state });
    return Promise.resolve();
  }

  close(): void {
    this.closed = true;
  }

  times(name: string): number[] {
    return this.all.filter(({ state }) => state[name] !== undefined).map(({ atMs }) => atMs);
  }

  get statuses(): string[] {
    return this.all.flatMap(({ state }) => state.STATUS ?? []);
  }
}

function startNotices(watchdogMs?: number) {
  const clock = new TestClock();
  const told = new Told(clock, watchdogMs);
  return { clock, told, notices: new ServiceNotices({ manager: told, clock }) };
}

Deno.test("serviceState: a node that waits for its peers is ready, and shows what it waits for", () => {
  assertEquals(serviceState(waiting, { alone: false }), { ready: true, status: "waiting: 2 of 3 nodes have gathered" });
});

Deno.test("serviceState: a single node is ready only while it serves", () => {
  assertEquals(serviceState(undefined, { alone: true }).ready, false);
  assertEquals(serviceState(waiting, { alone: true }).ready, false);
  assertEquals(serviceState({ ...serving, members: [member("a", "leader")] }, { alone: true }), {
    ready: true,
    status: "serving as leader of 1 voting member",
  });
});

Deno.test("serviceState: no node is ready before the inspection of its data-dir", () => {
  assertEquals(serviceState(undefined, { alone: false }).ready, false);
});

Deno.test("serviceState: shows role, warnings and pause; learners do not count as voting members", () => {
  const reasons = [{ code: "certificate_ends", text: "the peer certificate ends" }];
  assertEquals(
    serviceState({ ...serving, reasons, paused: true }, { alone: false }).status,
    "serving as voter of 3 voting members; the peer certificate ends; automatic action is paused",
  );
});

Deno.test("ServiceNotices: sends READY once, and STATUS only when it changes", async () => {
  const { clock, told, notices } = startNotices();
  await clock.advance(1_000);
  let report = waiting;
  notices.watch(() => serviceState(report, { alone: true }));
  await clock.advance(2_000);
  assertEquals(told.times("READY"), []);
  report = serving;
  await clock.advance(2_000);
  report = waiting;
  await clock.advance(2_000);
  report = serving;
  await clock.advance(2_000);
  assertEquals(told.times("READY").length, 1);
  assertEquals(told.statuses.length, 5);
  assertEquals(told.statuses[1], "waiting: 2 of 3 nodes have gathered");
  notices.close();
  assert(told.closed);
});

Deno.test("ServiceNotices: sends WATCHDOG at half of the watchdog time until the node ends", async () => {
  const { clock, told, notices } = startNotices(30_000);
  notices.watch(() => serviceState(serving, { alone: false }));
  await clock.advance(300_000);
  notices.stopping();
  await clock.advance(60_000);
  notices.close();
  const at = told.times("WATCHDOG");
  const gaps = at.slice(1).map((ms, index) => ms - at[index]!);
  assert(Math.max(...gaps) <= 15_500, String(gaps));
  assert(at.at(-1)! >= 345_000, String(at.at(-1)));
  const before = told.all.length;
  await clock.advance(60_000);
  assertEquals(told.all.length, before);
});

Deno.test("ServiceNotices: extends the timeout of a start and of a stop, not of a running node", async () => {
  const { clock, told, notices } = startNotices();
  let report = waiting;
  notices.watch(() => serviceState(report, { alone: true }));
  await clock.advance(100_000);
  const starting = told.times("EXTEND_TIMEOUT_USEC");
  assert(starting.length >= 5 && Math.max(...starting.slice(1).map((ms, at) => ms - starting[at]!)) < 30_000);
  report = serving;
  await clock.advance(100_000);
  const atReady = told.times("READY")[0]!;
  assertEquals(told.times("EXTEND_TIMEOUT_USEC").filter((ms) => ms > atReady), []);
  notices.stopping();
  await clock.advance(60_000);
  notices.close();
  assert(told.times("EXTEND_TIMEOUT_USEC").filter((ms) => ms > atReady).length >= 3);
});

Deno.test("ServiceNotices: sends STOPPING once, and no READY after it", async () => {
  const { clock, told, notices } = startNotices();
  notices.watch(() => serviceState(waiting, { alone: true }));
  await clock.advance(1_000);
  notices.stopping();
  notices.stopping();
  notices.watch(() => serviceState(serving, { alone: true }));
  await clock.advance(5_000);
  notices.close();
  assertEquals(told.times("STOPPING").length, 1);
  assertEquals(told.times("READY"), []);
  assertEquals(told.statuses.at(-1), "stopping: etcd transfers leadership and closes its database");
});

Deno.test("ServiceNotices: failed() sends the reason of the exit as the last status", async () => {
  const { clock, told, notices } = startNotices();
  await notices.failed(`x${"y".repeat(1_000)}`);
  await clock.advance(5_000);
  notices.close();
  assert(told.statuses.at(-1)!.startsWith("cannot run: xyy") && told.statuses.at(-1)!.length <= 400);
});
