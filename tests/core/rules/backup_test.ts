import { type BackupHistory, decideBackup } from "../../../lib/core/rules/backup.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { assertEquals } from "../../support/assert.ts";
import { alarm, answer, goPeer, nowMs, peer, settings, view } from "../facts.ts";

Deno.test("decideBackup() takes what moved since the last snapshot, an interval after the last attempt", () => {
  const decide = (history: Partial<BackupHistory> = {}, change: Partial<View> = {}) =>
    decideBackup(
      view("a", { settings: settings({ snapshots: true }), ...change }),
      answer("a", []),
      { revision: 0, diverged: false, ...history },
    );
  const takes = { kind: "take", format: "v2" } as const;
  const skips = (why: "off" | "not_due" | "unchanged") => ({ kind: "skip", why }) as const;
  assertEquals(decide(), takes);
  assertEquals(decide({}, { settings: settings() }), skips("off"));
  assertEquals(decide({ attemptedAtMs: nowMs - 59_999 }), skips("not_due"));
  assertEquals(decide({ attemptedAtMs: nowMs - 60_000 }), takes);
  // A process that has just begun has attempted nothing.
  assertEquals(decide({}, { nowMs: 1 }), takes);
  assertEquals(decide({ revision: 49 }), takes);
  assertEquals(decide({ revision: 50 }), skips("unchanged"));
  assertEquals(decide({}, { peers: [goPeer("g", { state: "dead" }), peer("b")] }), takes);
  assertEquals(decide({}, { peers: [peer("b"), goPeer("g")] }), { kind: "take", format: "go-v1" });
});

Deno.test("decideBackup() saves what moved, in the original's format beside Go nodes, never what is corrupt", () => {
  const on = view("a", { settings: settings({ snapshots: true }), peers: [goPeer("b")] });
  const own = answer("a", []);
  assertEquals(decideBackup(on, own, { revision: 0, diverged: false }), { kind: "take", format: "go-v1" });
  assertEquals(decideBackup({ ...on, peers: [] }, own, { revision: 0, diverged: false }), {
    kind: "take",
    format: "v2",
  });
  const why = (history: Parameters<typeof decideBackup>[2], answered = own) => {
    const decision = decideBackup(on, answered, history);
    return decision.kind === "skip" ? decision.why : decision.kind;
  };
  assertEquals(why({ revision: 50, diverged: false }), "unchanged");
  assertEquals(why({ revision: 0, diverged: true }), "diverged");
  assertEquals(why({ revision: 0, diverged: false, attemptedAtMs: nowMs - 10 }), "not_due");
  for (const corrupt of [alarm("CORRUPT", "a"), alarm("CORRUPT")]) {
    assertEquals(why({ revision: 0, diverged: false }, answer("a", [], { alarms: [corrupt] })), "corrupt");
  }
  assertEquals(
    why({ revision: 0, diverged: false }, answer("a", [], { alarms: [alarm("CORRUPT", "c")] })),
    "take",
  );
});
