import { reportOtherLife } from "../../../lib/core/watch/two_lives.ts";
import type { SnapshotLookup } from "../../../lib/core/facts/snapshot_lookup.ts";
import { assertEquals } from "../../support/assert.ts";
import { data, type StateChange } from "../facts.ts";
import { nowWallMs, problemOf, turnOf } from "../turns.ts";

const own = { id: "l", epoch: 1, token: "own" };
const drill = { id: "l", epoch: 2, token: "drill" };
const life = (lineage: typeof own, bornAgoMs: number) => ({
  lineage,
  tag: lineage.token,
  bornAtWallMs: nowWallMs - bornAgoMs,
  newest: { hash: lineage.token, revision: 1, takenAtWallMs: nowWallMs },
});
const showing = (...lives: ReturnType<typeof life>[]): SnapshotLookup => ({
  kind: "newest",
  hash: "h",
  revision: 1,
  takenAtWallMs: nowWallMs,
  verified: true,
  epochMax: 2,
  lives,
});
const record = { nonce: "n", pledges: [], started: { lineage: own, how: "founded", renounced: [] } } as const;
const both = showing(life(own, 3_600_000), life(drill, 1_800_000));

Deno.test("reportOtherLife() reports a life that saves beside the own one, and keeps the node ready", () => {
  const told = (change: StateChange, lookup: SnapshotLookup) => {
    const problem = { level: "error", reason: { code: "two_lives_saved", text: "before" } } as const;
    const turns = [new Map(), new Map([["two_lives_saved", problem]])].map((problems) =>
      turnOf([change, { reports: { problems } }])
    );
    return turns.map((turn) => {
      reportOtherLife(turn, lookup);
      return problemOf(turn, "two_lives_saved")?.slice(0, 40);
    });
  };
  const text = "error ready: another life of this cluster (epoch 2) saves".slice(0, 40);
  assertEquals(told({ disk: { record } }, both), [text, text]);
  assertEquals(told({ disk: { record, data: data("a", []) } }, both), [text, text]);
  assertEquals(told({ disk: { record } }, showing(life(own, 3_600_000))), [undefined, undefined]);
  const unchanged = [undefined, "error: before"];
  assertEquals(told({}, both), unchanged, "no own life is known");
  assertEquals(told({ disk: { record } }, { kind: "unreadable", code: "x", why: "403" }), unchanged);
});
