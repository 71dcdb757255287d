import { noteNameConflicts, reportAfterMs, reportNameConflict } from "../../../lib/core/watch/name_conflicts.ts";
import type { NameConflict } from "../../../lib/core/facts/peer.ts";
import { assertEquals } from "../../support/assert.ts";
import { nowMs } from "../facts.ts";
import { problemOf, turnOf } from "../turns.ts";

const conflict = (name: string): NameConflict => ({ name, addresses: [`${name}:1`, `${name}:2`] });

Deno.test("noteNameConflicts() knows since when there is a conflict without a gap", () => {
  const since = (before: number | undefined, ...conflicts: NameConflict[]) => {
    const turn = turnOf({ gossip: { nameConflictSinceMs: before, nameConflicts: [conflict("x")] } });
    noteNameConflicts(turn, conflicts);
    assertEquals(turn.node.gossip.nameConflicts, conflicts);
    return turn.node.gossip.nameConflictSinceMs;
  };
  assertEquals([since(undefined, conflict("b")), since(5, conflict("b")), since(5)], [nowMs, 5, undefined]);
});

Deno.test("reportNameConflict() reports the first conflict once it has lasted for 10 s, and ends the report with it", () => {
  const reported = (agoMs: number | undefined, ...nameConflicts: NameConflict[]) => {
    const problem = { level: "error", reason: { code: "name_taken", text: "before" } } as const;
    const turn = turnOf({
      gossip: { nameConflicts, nameConflictSinceMs: agoMs === undefined ? undefined : nowMs - agoMs },
      reports: { problems: new Map(nameConflicts.length === 0 ? [["name_taken", problem]] : []) },
    });
    reportNameConflict(turn);
    return [problemOf(turn, "name_taken"), turn.wakeMs - nowMs];
  };
  assertEquals(reportAfterMs, 10_000);
  const text = 'error ready: two live nodes claim the name "b": b:1 and b:2';
  assertEquals(reported(undefined), [undefined, Infinity]);
  assertEquals(reported(9_999, conflict("b")), [undefined, 1]);
  assertEquals(reported(10_000, conflict("b"), conflict("c")), [text, Infinity]);
  assertEquals(reported(undefined, conflict("b")), [undefined, Infinity]);
});
