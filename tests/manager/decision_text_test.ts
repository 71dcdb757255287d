import { assert, assertEquals } from "../support/assert.ts";
import type { JournalEntry } from "../../lib/core/facts/effect.ts";
import { logMessage } from "../../lib/manager/status/decision_text.ts";

const entry = (what: JournalEntry["what"], outcome: string, text: string, facts: JournalEntry["facts"] = {}) =>
  logMessage({ level: "info", what, phase: "serving", outcome, reason: { code: "test", text }, facts });

Deno.test("logMessage() states the action and its reason", () => {
  const gone = '"n2" is gone by gossip and by etcd for 5 min or more';
  assertEquals(entry("decided", "remove", gone, { member: "a1", name: "n2" }), `removing member "n2": ${gone}`);
  assertEquals(
    entry("decided", "removeStaleMember", "its disk is empty", { member: "a1" }),
    "replacing this node's stale member a1: its disk is empty",
  );
  assertEquals(entry("decided", "booting → gathering", "no data"), "booting → gathering: no data");
  assertEquals(entry("waits", "wait", "no peer has answered yet"), "waiting: no peer has answered yet");
  assertEquals(entry("noticed", "wait ended", "no longer: n2 is silent"), "no longer waiting: n2 is silent");
  assertEquals(entry("noticed", "takeSnapshot failed", "no route"), "taking a snapshot failed: no route");
  assertEquals(entry("noticed", "problem", "no quorum"), "no quorum");
});

Deno.test("logMessage() has a text for every decision of the core", async () => {
  let found = 0;
  for (const folder of ["phases", "watch", "apply", "state"]) {
    const path = new URL(`../../lib/core/${folder}/`, import.meta.url);
    for await (const { name } of Deno.readDir(path)) {
      const source = await Deno.readTextFile(new URL(name, path));
      for (const [, outcome] of source.matchAll(/recordDecision\(\s*"([^"]+)"/g)) {
        found++;
        assert(!entry("decided", outcome!, "why").startsWith(`${outcome}: `), `"${outcome}" has no text`);
      }
    }
  }
  assert(found > 20, `only ${found} decisions found`);
});
