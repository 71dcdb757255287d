import { changed } from "../facts.ts";
import { step } from "../../../lib/core/step.ts";
import { otherLife } from "../../../lib/core/evidence/two_lives.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { data, member } from "../facts.ts";
import { createNode, type NodeState } from "../../../lib/core/state/state.ts";
import type { SnapshotLookup, StoredLife } from "../../../lib/core/facts/snapshot_lookup.ts";
import type { Lineage } from "../../../lib/core/facts/node_record.ts";
import type { Settings } from "../../../lib/core/facts/settings.ts";

const minuteMs = 60_000;
const dayMs = 24 * 60 * minuteMs;
const lineage = (token: string, epoch: number, id = "l"): Lineage => ({ id, epoch, token });
const life = (lineage: Lineage, bornAt: number, savedAt: number): StoredLife => ({
  lineage,
  bornAtWallMs: bornAt * minuteMs,
  tag: `tag-${lineage.token}`,
  newest: { hash: lineage.token, revision: savedAt, takenAtWallMs: savedAt * minuteMs },
});
const showing = (...lives: StoredLife[]) => ({
  kind: "newest" as const,
  hash: "h",
  revision: 1,
  takenAtWallMs: 0,
  verified: true,
  epochMax: 2,
  lives,
});
const [production, drill, other] = [lineage("p", 1), lineage("d", 2), lineage("o", 1, "other")];

const table: { what: string; lives: StoredLife[]; own?: Lineage; atMs?: number; names?: string }[] = [
  { what: "one life alone", lives: [life(production, 0, 50)] },
  { what: "one life after another", lives: [life(drill, 30, 50), life(production, 0, 30)], own: drill },
  { what: "a drill, seen by production", lives: [life(production, 0, 50), life(drill, 30, 40)], names: "tag-d" },
  { what: "and by the drill", lives: [life(production, 0, 50), life(drill, 30, 40)], own: drill, names: "tag-p" },
  { what: "another cluster", lives: [life(production, 0, 50), life(other, 30, 40)], names: "another cluster" },
  { what: "a drill that ended", lives: [life(production, 0, 5_000), life(drill, 30, 40)], atMs: 3 * dayMs },
  { what: "a life that has not saved yet", lives: [life(production, 0, 50)], own: drill },
];

for (const { what, lives, own = production, atMs = 60 * minuteMs, names } of table) {
  Deno.test(`otherLife(): ${what}`, () => {
    const reason = otherLife(own, showing(...lives), atMs);
    assertEquals(reason?.code, names === undefined ? undefined : "two_lives_saved");
    assert(names === undefined || reason!.text.includes(names), reason?.text);
  });
}

Deno.test("two lives in one store are a problem on each node that looks, until it is over; an unreadable store ends nothing", () => {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  const settings = { requiredSize: 3, snapshots: true } as Settings;
  const fresh = createNode(self, settings, "seed", { monotonicMs: 0, wallMs: 0 });
  const started = { lineage: production, how: "founded" as const, renounced: [] };
  let node: NodeState = changed(fresh, { phase: "serving", disk: { record: { ...fresh.disk.record, started } } });
  const look = (snapshotLookup: Exclude<SnapshotLookup, { kind: "unknown" }>) => {
    node =
      step(node, { kind: "snapshotLookedUp", lookup: snapshotLookup }, { monotonicMs: 1, wallMs: 60 * minuteMs }).node;
    return node.reports.problems.get("two_lives_saved")?.level;
  };
  assertEquals(look(showing(life(production, 0, 50))), undefined);
  assertEquals(look(showing(life(production, 0, 50), life(drill, 30, 40))), "error");
  assertEquals(look({ kind: "unreadable", code: "store_timeout", why: "no answer" }), "error");
  assertEquals(look(showing(life(production, 0, 50))), undefined);
});

Deno.test("a restored copy that saves to production's store leaves production ready, and its report ends", () => {
  const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
  const settings = { requiredSize: 3, snapshots: true, snapshotIntervalMs: minuteMs, seeds: [] as string[] } as unknown;
  const fresh = createNode(self, settings as Settings, "seed", { monotonicMs: 0, wallMs: 0 });
  const started = { lineage: production, how: "founded" as const, renounced: [], clusterId: "c1" };
  let node: NodeState = changed(fresh, {
    phase: "serving",
    ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } },
    disk: { data: data("a", [member("a")]), record: { ...fresh.disk.record, started } },
  });
  const look = (atMinute: number, ...lives: StoredLife[]) => {
    const snapshotLookup = { ...showing(...lives), lineage: production, epochMax: lives.length };
    node = step(node, { kind: "snapshotLookedUp", lookup: snapshotLookup }, {
      monotonicMs: atMinute * minuteMs,
      wallMs: atMinute * minuteMs,
    }).node;
    const problem = node.reports.problems.get("other_life_stored");
    return problem && `${problem.level} ${problem.keepsReady === true}`;
  };
  assertEquals(look(40, life(production, 0, 30)), undefined);
  assertEquals(look(41, life(production, 0, 30), life(drill, 30, 40)), "error true");
  const { text, hint } = node.reports.problems.get("other_life_stored")!.reason;
  assert(text.includes("tag-d") && hint!.includes("tag-d") && hint!.includes("stop the copy"), hint);
  assertEquals(look(50, life(production, 0, 49), life(drill, 30, 40)), "warn true", "it is silent for long");
  assert(node.reports.problems.get("other_life_stored")!.reason.text.includes("saved nothing since"));
  const late = { ...life(drill, 30, 42), newest: { hash: "other", revision: 9, takenAtWallMs: 42 * minuteMs } };
  assertEquals(look(60, life(production, 0, 49), late), "error true", "its clock is behind, and it saves");
  assertEquals(look(70, life(production, 0, 69), late), "warn true");
  assertEquals(look(71, life(production, 0, 69)), undefined, "its snapshots were removed");
});

Deno.test("otherLife() at its limits: one minute after the birth of the younger, a day since the last snapshot", () => {
  const dayMs = 86_400_000, minuteMs = 60_000, nowMs = 100 * dayMs;
  const own = { id: "line", epoch: 1, token: "own" };
  const of = (
    lineage: StoredLife["lineage"],
    takenAtWallMs: number,
    bornAtWallMs?: number,
    tag = lineage.token,
  ): StoredLife => ({
    lineage,
    newest: { hash: tag, revision: 1, takenAtWallMs },
    tag,
    ...(bornAtWallMs === undefined ? {} : { bornAtWallMs }),
  });
  const found = (...lives: StoredLife[]) => {
    const [{ lineage, newest }] = lives as [StoredLife];
    const snapshotLookup: SnapshotLookup = { kind: "newest", ...newest, lineage, verified: true, epochMax: 1, lives };
    return otherLife(own, snapshotLookup, nowMs)?.text;
  };
  const self = of(own, nowMs, 0);
  const other = { id: "line", epoch: 2, token: "other" };
  const text = (who: string, tag: string) =>
    `${who} saves to the same store: its snapshots end in -${tag}, those of this one (epoch 1) in -own`;
  const life = "another life of this cluster (epoch 2)";
  // The own one is the older: it must have saved more than a minute after the other was born.
  assertEquals(found(self, of(other, nowMs, nowMs - minuteMs - 1)), text(life, "other"));
  assertEquals(found(self, of(other, nowMs, nowMs - minuteMs)), undefined);
  // The other is the older.
  assertEquals(found(of(own, nowMs, nowMs - 2 * minuteMs), of(other, nowMs - minuteMs + 1, 0)), text(life, "other"));
  assertEquals(found(of(own, nowMs, nowMs - 2 * minuteMs), of(other, nowMs - minuteMs, 0)), undefined);
  // Its birth is not known: no older than its newest snapshot.
  assertEquals(found(self, of(other, nowMs - minuteMs - 1)), text(life, "other"));
  assertEquals(found(self, of(other, nowMs - minuteMs)), undefined);
  // Born in the same moment.
  assertEquals(found(self, of(other, 0, 0)), undefined, "it has not saved for a day");
  assertEquals(found(of(own, nowMs, nowMs - minuteMs - 1), of(other, nowMs - minuteMs - 1)), text(life, "other"));
  const old = (agoMs: number) => found(self, of(other, nowMs - agoMs, 1));
  assertEquals([old(dayMs), old(dayMs + 1)], [text(life, "other"), undefined]);
  // Another cluster, a namesake of the token, a branch of the own life, and the one of several that saved last.
  const foreign = { id: "foreign", epoch: 1, token: "foreign" };
  assertEquals(found(self, of(foreign, nowMs, 1)), text("another cluster", "foreign"));
  assertEquals(found(self, of({ ...foreign, token: "own" }, nowMs, 1, "x")), text("another cluster", "x"));
  assertEquals(found(self, of(own, nowMs, 1, "branch")), undefined);
  assertEquals(found(self, of(foreign, nowMs - 5, 1), of(other, nowMs - 4, 1)), text(life, "other"));
  assertEquals(found(of(other, nowMs, 1)), undefined, "it has saved nothing itself");
  assertEquals(found(of({ ...own, id: "x" }, nowMs, 1), of({ ...own, token: "x" }, nowMs, 1)), undefined);
  assertEquals(otherLife(own, { kind: "absent" }, nowMs), undefined);
});
