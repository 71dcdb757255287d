import { reportStoredLife } from "../../../lib/core/watch/stored_life.ts";
import { backupLimitMs } from "../../../lib/core/rules/backup.ts";
import type { StoredLife } from "../../../lib/core/facts/snapshot_lookup.ts";
import { assertEquals } from "../../support/assert.ts";
import { data, nowMs, settings, type StateChange } from "../facts.ts";
import { nowWallMs, turnOf } from "../turns.ts";

const limitMs = backupLimitMs(settings().snapshotIntervalMs);
const own = { id: "l", epoch: 1, token: "own" };
const record = { nonce: "n", pledges: [], started: { lineage: own, how: "founded", renounced: [] } } as const;
const life = (epoch: number, takenAgoMs: number, tag: string, id = "l"): StoredLife => ({
  lineage: { id, epoch, token: tag },
  tag,
  newest: { hash: tag, revision: 1, takenAtWallMs: nowWallMs - takenAgoMs },
});

type Stored = NonNullable<StateChange["snapshots"]>["storedLife"];
function reported(
  epochMax: number,
  lives: readonly StoredLife[] | undefined,
  change: StateChange = {},
  storedLife?: Stored,
) {
  const newest = {
    kind: "newest",
    hash: "h",
    revision: 1,
    lineage: own,
    takenAtWallMs: 0,
    verified: true,
    epochMax,
    ...(lives === undefined ? {} : { lives }),
  } as const;
  const problem = { level: "info", reason: { code: "other_life_stored", text: "before" } } as const;
  const turn = turnOf([
    {
      disk: { data: data("a", []), record },
      snapshots: { store: { lookup: newest, newest }, storedLife },
      reports: { problems: new Map([["other_life_stored", problem]]) },
    },
    change,
  ]);
  reportStoredLife(turn);
  const found = turn.node.reports.problems.get("other_life_stored");
  const tag = found && /snapshots end in -(\w+)/.exec(found.reason.text)?.[1];
  return { told: found && `${found.level} ${found.keepsReady} ${tag}`, ...turn.node.snapshots.storedLife };
}

Deno.test("reportStoredLife() reports a later life of the own lineage in the store, and nothing else", () => {
  const young = [life(2, 0, "later")];
  assertEquals(reported(2, young).told, "error true later");
  const ends = { told: undefined };
  const known = { hash: "x", savedAtMs: 5 };
  assertEquals(reported(1, young, {}, known), ends);
  assertEquals(reported(2, young, { disk: { data: { kind: "unknown" } } }, known), ends, "no own data is known");
  assertEquals(reported(2, young, { snapshots: { store: { lookup: { kind: "absent" }, newest: undefined } } }), ends);
  const foreign = { ...record, started: { ...record.started, lineage: { ...own, id: "x" } } };
  assertEquals(reported(2, young, { disk: { record: foreign } }), ends);
});

Deno.test("reportStoredLife() is an ERROR while that life saves, by its clock or by a new snapshot of it, then a WARN", () => {
  const at = (takenAgoMs: number, before?: Stored) => {
    const { told, hash, savedAtMs } = reported(2, [life(2, takenAgoMs, "later")], {}, before);
    return [told?.split(" ")[0], hash, savedAtMs];
  };
  assertEquals(at(limitMs - 1), ["error", "later", undefined]);
  assertEquals(at(limitMs), ["warn", "later", undefined]);
  assertEquals(at(limitMs, { hash: "before", savedAtMs: undefined }), ["error", "later", nowMs]);
  const saved = (agoMs: number) => at(limitMs, { hash: "later", savedAtMs: nowMs - agoMs })[0];
  assertEquals([saved(limitMs - 1), saved(limitMs)], ["error", "warn"]);
  assertEquals(at(limitMs, { hash: "later", savedAtMs: undefined })[0], "warn");
});

Deno.test("reportStoredLife() names of several later lives the one that saved last", () => {
  const lives = [life(2, 20, "older"), life(3, 10, "newer"), life(1, 0, "same"), life(4, 0, "foreign", "x")];
  assertEquals(reported(3, lives).told, "error true newer");
  assertEquals(reported(3, lives.toReversed()).told, "error true newer");
  assertEquals([reported(2, []), reported(2, undefined)], [
    { told: "warn true undefined", hash: "", savedAtMs: undefined },
    { told: "warn true undefined", hash: "", savedAtMs: undefined },
  ]);
});
