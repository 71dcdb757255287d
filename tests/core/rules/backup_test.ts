import { type BackupHistory, decideBackup } from "../../../lib/core/rules/backup.ts";
import type { View } from "../../../lib/core/facts/view.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, goPeer, nowMs, peer, settings, view } from "../facts.ts";

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
