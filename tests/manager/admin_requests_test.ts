import type { Event } from "../../lib/core/facts/event.ts";
import { AdminRequests } from "../../lib/manager/admin_requests.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { TestClock } from "../support/test_clock.ts";

function world() {
  const clock = new TestClock();
  const events: Extract<Event, { kind: "command" }>[] = [];
  let count = 0;
  const admin = new AdminRequests({
    clock,
    random: { float: () => 0, bytes: (length) => new Uint8Array(length).fill(++count) },
    deliver: (event) => events.push(event),
  });
  return { clock, events, admin };
}

Deno.test("AdminRequests delivers one command per request, and returns the reply to that command", async () => {
  const { admin, events } = world();
  const [scale, hold] = [
    admin.handle({ command: "scale", to: 5, dryRun: true }),
    admin.handle({ command: "hold", reason: "x".repeat(500) }),
  ];
  assertEquals(events.map(({ command }) => command), [
    { kind: "scale", to: 5, dryRun: true },
    { kind: "hold", why: "x".repeat(200), dryRun: false },
  ]);
  admin.reply(events[1]!.id, { kind: "done", text: "held" });
  admin.reply(events[0]!.id, { kind: "refused", why: "no" });
  assertEquals(await Promise.all([scale, hold]), [{ kind: "refused", why: "no" }, { kind: "done", text: "held" }]);
});

Deno.test("AdminRequests refuses an invalid request, and delivers nothing", async () => {
  const { admin, events } = world();
  for (const request of [undefined, 7, {}, { command: "dance" }, { command: "upgrade" }, { command: "approve" }]) {
    assertEquals((await admin.handle(request)).kind, "refused", JSON.stringify(request));
  }
  assertEquals(events, []);
});

Deno.test("AdminRequests refuses after 30 s without a reply, and immediately when the node stops", async () => {
  const { admin, events, clock } = world();
  const { tookMs, ...outcome } = await clock.settle(admin.handle({ command: "pause" }));
  assert(tookMs >= 30_000 && tookMs < 31_000, `${tookMs}`);
  assert(outcome.status === "fulfilled" && outcome.value.kind === "refused");
  // Too late.
  admin.reply(events[0]!.id, { kind: "done", text: "paused" });
  const waiting = admin.handle({ command: "resume" });
  admin.close();
  assertEquals(await waiting, { kind: "refused", why: "this node is stopping" });
  assertEquals(await admin.handle({ command: "resume" }), { kind: "refused", why: "this node is stopping" });
});
