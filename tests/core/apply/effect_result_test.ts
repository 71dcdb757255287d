import { applyDone, applyFailed, checkSize, forgetRecord } from "../../../lib/core/apply/effect_result.ts";
import { copyOf, createNode, nonceOf, type Slot } from "../../../lib/core/state/state.ts";
import { Turn } from "../../../lib/core/state/turn.ts";
import type { AnsweredEffect } from "../../../lib/core/facts/effect.ts";
import type { DoneValue } from "../../../lib/core/facts/event.ts";
import type { BootstrapPlan, Source } from "../../../lib/core/facts/node_record.ts";
import type { Plan } from "../../../lib/core/facts/plan.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, data, member, nowMs, settings, silent, type StateChange } from "../facts.ts";

const self = { name: "a", peerUrl: "http://a:2380", clientUrl: "http://a:2379", gossipAddr: "a:7980" };
const nothing = { kind: "nothing" } as const;
type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

/** A node in whose slot this effect is in flight, before the result of it. */
function before(effect: WithoutId<AnsweredEffect>, slot: Slot, change: StateChange = {}): Turn {
  const now = { monotonicMs: nowMs, wallMs: 7_000_000 };
  const state = changed(
    createNode(self, settings({ snapshots: true }), "seed", { monotonicMs: 0, wallMs: 0 }),
    {
      phase: "serving",
      disk: { data: data("a", [member("a")]) },
      effects: { inFlight: new Map([[slot, { ...effect, id: 3 } as AnsweredEffect]]), nextId: 9 },
      membership: {
        endpoints: new Map([["http://b:2379", answering(answer("b", []))]]),
        lastProbedAtMs: new Map([["http://b:2379", 1]]),
      },
    },
    change,
  );
  return new Turn(copyOf(state), now);
}

function done(
  effect: WithoutId<AnsweredEffect>,
  value: DoneValue = nothing,
  change: StateChange = {},
  slot: Slot = "cluster",
) {
  const turn = before(effect, slot, change);
  applyDone(turn, 3, value);
  return turn;
}

function failed(
  effect: WithoutId<AnsweredEffect>,
  code = "unavailable",
  change: StateChange = {},
  slot: Slot = "cluster",
) {
  const turn = before(effect, slot, change);
  applyFailed(turn, 3, code, "no route");
  return turn;
}

/** How long the slot backs off. */
const restMs = ({ node }: Turn, slot: Slot = "cluster") => {
  const untilMs = node.effects.backoffUntilMs.get(slot);
  return untilMs === undefined ? 0 : untilMs - nowMs;
};
/** All members are asked again at once, and no earlier answer counts. */
const asksAgain = ({ node: { membership } }: Turn) =>
  membership.probesInvalidatedAtMs === nowMs && membership.lastProbedAtMs.size === 0 &&
  [...membership.endpoints.values()].every(({ atMs }) => atMs === -Infinity);
const lines = ({ node }: Turn) =>
  node.reports.journal.map(({ level, outcome, reason: { code, text } }) => `${level} ${outcome} ${code}: ${text}`);
const emitted = ({ effects }: Turn) => effects.flatMap(({ kind }) => kind === "journal" ? [] : [kind]);

const source: Source = { kind: "snapshot", hash: "h", revision: 7 };
const lineage = { id: "l", epoch: 2, token: "t" };
const plan: BootstrapPlan = { initialMembers: [], source, lineage, digest: "d" };
const change: Plan = { id: "p", purpose: "defrag", text: "t", createdAtWallMs: 0, operations: [] };

const effects = {
  writeRecord: { kind: "writeRecord", record: { nonce: "written", pledges: [] } },
  quarantineData: { kind: "quarantineData", label: "removed", keepRecord: false },
  startEtcd: { kind: "startEtcd", start: { state: "restart", othersServe: false } },
  provideEtcd: { kind: "provideEtcd", range: {} },
  stopEtcd: { kind: "stopEtcd" },
  prepareSource: { kind: "prepareSource", plan },
  exportSurvivor: { kind: "exportSurvivor", plan },
  restoreData: { kind: "restoreData", plan },
  memberAdd: { kind: "memberAdd", via: [], peerUrl: "", beside: [] },
  memberRemove: { kind: "memberRemove", via: [], memberId: "x" },
  memberPromote: { kind: "memberPromote", via: [], memberId: "x" },
  memberUpdate: { kind: "memberUpdate", via: [], memberId: "x", peerUrl: "" },
  moveLeader: { kind: "moveLeader", to: "x" },
  checkRecord: { kind: "checkRecord", requiredSize: 3 },
  changeRecord: { kind: "changeRecord", from: 3, to: 5 },
  upgradeEtcd: { kind: "upgradeEtcd", to: "3.6" },
  allowDowngrade: { kind: "allowDowngrade", to: "3.5" },
  defragment: { kind: "defragment", endpoint: "" },
  reclaimSpace: { kind: "reclaimSpace", endpoints: [] },
  hashMembers: { kind: "hashMembers", members: [], revision: 5, voters: ["x", "y"] },
  disarmCorrupt: { kind: "disarmCorrupt", memberId: "x" },
  writePlan: { kind: "writePlan", plan: change },
  clearVolatile: { kind: "clearVolatile", lineage },
  writeLineage: { kind: "writeLineage", clusterId: "c1", lineage },
  compareHashes: { kind: "compareHashes", endpoints: [] },
  takeSnapshot: { kind: "takeSnapshot", format: "v2", lineage, lastRevision: 0 },
  writePause: { kind: "writePause", paused: true },
  writeHold: { kind: "writeHold" },
} as const satisfies { readonly [K in AnsweredEffect["kind"]]: WithoutId<Extract<AnsweredEffect, { kind: K }>> };

Deno.test("after each effect that changes what members answer, all of them are asked again", () => {
  const changes = [
    ...["memberAdd", "memberRemove", "memberPromote", "memberUpdate", "moveLeader", "changeRecord", "upgradeEtcd"],
    ...["allowDowngrade", "defragment", "reclaimSpace", "disarmCorrupt", "writeLineage"],
  ];
  const asked = Object.values(effects).filter((effect) => asksAgain(done(effect))).map(({ kind }) => kind);
  assertEquals(asked.toSorted(), changes.toSorted());
});

Deno.test("after a failure that leaves open what was done, all members are asked again", () => {
  const own = [
    ...["startEtcd", "quarantineData", "stopEtcd", "prepareSource", "exportSurvivor", "provideEtcd", "takeSnapshot"],
  ];
  const kept = Object.values(effects).filter((effect) => !asksAgain(failed(effect))).map(({ kind }) => kind);
  assertEquals(kept.toSorted(), own.toSorted());
});

Deno.test("a failed effect is requested again after a second, sooner or later where its cause goes sooner or later", () => {
  const rests = Object.fromEntries(
    Object.values(effects).map((effect) => [effect.kind, restMs(failed(effect))] as const)
      .filter(([, ms]) => ms !== 1_000),
  );
  assertEquals(rests, {
    memberPromote: 250,
    prepareSource: 10_000,
    exportSurvivor: 10_000,
    provideEtcd: 10_000,
    defragment: 60_000,
    reclaimSpace: 300_000,
  });
});

Deno.test("a slot is free at once after its effect, except where another such effect would do harm", () => {
  const resting = { effects: { backoffUntilMs: new Map([["cluster" as const, nowMs + 1]]) } };
  for (const effect of Object.values(effects)) {
    const { node } = done(effect, nothing, resting);
    assertEquals([...node.effects.inFlight], [], effect.kind);
    assertEquals(
      node.effects.backoffUntilMs.get("cluster"),
      effect.kind === "allowDowngrade" ? nowMs + 10_000 : undefined,
    );
  }
  assertEquals(restMs(done(effects.reclaimSpace, nothing, {}, "maintenance"), "maintenance"), 60_000);
});

Deno.test("the result of an effect that is not in flight changes nothing", () => {
  const turn = before(effects.memberAdd, "cluster");
  const state = structuredClone(turn.node);
  applyDone(turn, 4, { kind: "memberAdded", memberId: "x" });
  applyFailed(turn, 2, "unavailable", "no route");
  assertEquals([turn.node, turn.effects], [state, []]);
});

Deno.test("a result ends its own effect alone, and a success the failures of its own slot alone", () => {
  const other = { ...effects.stopEtcd, id: 4 };
  const failing = { kind: "memberAdd", text: "x", atMs: 1 } as const;
  const both = {
    effects: {
      inFlight: new Map<Slot, AnsweredEffect>([["local", other], ["cluster", { ...effects.memberRemove, id: 3 }]]),
      failing: new Map([["local", failing], ["cluster", failing]] as const),
      backoffUntilMs: new Map([["local" as const, nowMs + 5]]),
    },
  };
  const { node } = done(effects.memberRemove, nothing, both);
  assertEquals([...node.effects.inFlight.values()], [other]);
  assertEquals([...node.effects.failing.keys(), ...node.effects.backoffUntilMs.keys()], ["local", "local"]);
});

Deno.test("a failure is kept with its text, and journaled: as a WARN, while the node stops as an INFO", () => {
  const turn = failed(effects.memberAdd);
  assertEquals([...turn.node.effects.failing], [["cluster", { kind: "memberAdd", text: "no route", atMs: nowMs }]]);
  assertEquals(lines(turn), ["warn memberAdd failed unavailable: no route"]);
  assertEquals(lines(failed(effects.memberAdd, "x", { phase: "leaving" })), ["info memberAdd failed x: no route"]);
});

Deno.test("the outcome of a command's effect is noted for its answer, and is no failure of the node", () => {
  const pending = {
    id: "1",
    command: { kind: "pause", dryRun: false },
    step: "writing",
    askedMs: 0,
    awaited: [],
  } as const;
  const commanded = { operator: { commands: [pending] }, maintenance: { planReadMs: 5 } };
  const written = (turn: Turn) => turn.node.operator.commands[0]?.written;
  assertEquals(written(done(effects.writePause, nothing, commanded, "command")), {});
  assertEquals(written(done(effects.writePause, nothing, commanded, "plan")), undefined);
  const pause = failed(effects.writePause, "x", commanded, "command");
  assertEquals([written(pause), pause.node.effects.failing.size, restMs(pause, "command"), lines(pause)], [
    { failure: "no route" },
    0,
    0,
    [],
  ]);
  assertEquals(pause.node.maintenance.planReadMs, 5);
  const cancel = failed(effects.writePlan, "x", commanded, "command");
  assertEquals([written(cancel), cancel.node.maintenance.planReadMs], [{ failure: "no route" }, undefined]);
});

Deno.test("a record that was written is the node's record, and data that was not looked at meanwhile is looked at", () => {
  const turn = done(effects.writeRecord);
  assertEquals([turn.node.disk.record.nonce, turn.node.disk.recordPersisted, emitted(turn)], ["written", true, []]);
  assertEquals(emitted(done(effects.writeRecord, nothing, { disk: { data: { kind: "unknown" } } })), ["inspectData"]);
});

Deno.test("quarantined data takes the node's identity with it, unless the record stays", () => {
  const record = { nonce: "old", pledges: [], seen: { clusterId: "c1", voters: [] } };
  const known = { disk: { record, recordPersisted: true }, membership: { added: "id" } };
  const turn = done(effects.quarantineData, nothing, known);
  const { seen } = record;
  assertEquals(turn.node.disk.record, { nonce: nonceOf("seed", 1), formerNonces: ["old"], pledges: [], seen });
  assertEquals([turn.node.disk.recordPersisted, turn.node.disk.data.kind, emitted(turn)], [false, "unknown", [
    "inspectData",
  ]]);
  assertEquals(turn.node.membership.added, undefined);
  const kept = done({ ...effects.quarantineData, keepRecord: true }, nothing, known);
  assertEquals([kept.node.disk.record, kept.node.disk.recordPersisted, emitted(kept)], [record, true, ["inspectData"]]);
  assertEquals(emitted(failed(effects.quarantineData)), ["inspectData"]);
});

Deno.test("forgetRecord() makes a new nonce each time, and keeps the last eight of before", () => {
  const turn = before(effects.stopEtcd, "local");
  const nonces = [turn.node.disk.record.nonce];
  for (let at = 0; at < 9; at++) {
    forgetRecord(turn);
    nonces.push(turn.node.disk.record.nonce);
  }
  assertEquals(new Set(nonces).size, 10);
  assertEquals(turn.node.disk.record.formerNonces, nonces.slice(1, -1));
  assertEquals(Object.keys(turn.node.disk.record).includes("seen"), false);
});

Deno.test("an etcd that was started is starting, unless its own events came first; one that was stopped is gone", () => {
  const committing = { ...plan, token: "t" };
  const started = (etcd: Turn["node"]["ownEtcd"]["etcd"]) => {
    const { node } = done(effects.startEtcd, nothing, { ownEtcd: { etcd }, bootstrap: { committing } }, "local");
    return [node.ownEtcd.etcd.kind, node.bootstrap.committing, node.ownEtcd.etcdProgress.startsAgain];
  };
  const exited = { kind: "exited", atMs: 0, code: 1, cause: "unknown", count: 1 } as const;
  assertEquals(started({ kind: "stopped" }), ["starting", undefined, false]);
  assertEquals(started({ kind: "ready", sinceMs: 0 }), ["ready", undefined, false]);
  assertEquals(started(exited), ["exited", undefined, false]);
  const ready = { ownEtcd: { etcd: { kind: "ready", sinceMs: 0 } as const } };
  const stopped = done(effects.stopEtcd, nothing, ready, "local");
  assertEquals([stopped.node.ownEtcd.etcd.kind, stopped.node.disk.data.kind], ["stopped", "unknown"]);
  const failing = failed(effects.startEtcd, "x", ready, "local");
  assertEquals([failing.node.ownEtcd.etcd, failing.node.disk.data.kind], [{ kind: "stopped" }, "unknown"]);
  assertEquals(emitted(failed(effects.stopEtcd)), ["inspectData"]);
});

Deno.test("a source or an export counts for the plan that it was prepared for", () => {
  const progress = (digest: string) => ({ bootstrap: { progress: { plan: { ...plan, digest } } } });
  const verified = (digest: string, value: DoneValue) =>
    done(effects.prepareSource, value, progress(digest)).node.bootstrap.progress.verified;
  const hash = { kind: "sourceVerified", hash: "h" } as const;
  assertEquals([verified("d", hash), verified("other", hash), verified("d", nothing)], ["h", undefined, undefined]);
  assertEquals(done(effects.prepareSource, hash).node.bootstrap.progress, {}, "without a plan");
  const before = { bootstrap: { progress: { plan, verified: "g" } } };
  assertEquals(done(effects.prepareSource, nothing, before).node.bootstrap.progress.verified, "g");
  const offer = (digest: string, value: DoneValue) =>
    done(effects.exportSurvivor, value, progress(digest)).node.bootstrap.progress.offer;
  const exported = { hash: "h", revision: 5, url: "u" };
  const value = { kind: "exported", ...exported } as const;
  assertEquals([offer("d", value), offer("other", value), offer("d", nothing)], [exported, undefined, undefined]);
  assertEquals(done(effects.exportSurvivor, value).node.bootstrap.progress, {}, "without a plan");
});

Deno.test("a restore names what the data was made from, and that later writes are not in it", () => {
  const restored = (source: Source, takenAtWallMs?: number) => {
    const lookup = takenAtWallMs === undefined
      ? { kind: "absent" } as const
      : { kind: "newest", hash: "h", revision: 7, takenAtWallMs, verified: true, epochMax: 1 } as const;
    const turn = done({ ...effects.restoreData, plan: { ...plan, source } }, nothing, { snapshots: { lookup } });
    assertEquals(turn.node.bootstrap.restored, "d");
    return lines(turn)[0];
  };
  const lost = "at revision 7: later writes are lost";
  assertEquals(restored({ kind: "empty" }), "warn restored restored: the data-dir was created empty");
  assertEquals(restored(source), `warn restored restored: the data-dir was restored from a snapshot ${lost}`);
  assertEquals(
    restored(source, 1_700_000_000_000),
    `warn restored restored: the data-dir was restored from a snapshot of 2023-11-14T22:13:20Z ${lost}`,
  );
  assertEquals(
    restored({ kind: "survivor", name: "b", revision: 7 }),
    `warn restored restored: the data-dir was restored from the data of "b" ${lost}`,
  );
});

Deno.test("a source that is gone after the commitment is fetched again where a store holds it", () => {
  const slots = ({ node }: Turn) => [...node.effects.inFlight].map(([slot, { kind }]) => `${slot} ${kind}`);
  const fetches = (code: string, source: Source) =>
    slots(failed({ ...effects.restoreData, plan: { ...plan, source } }, code));
  assertEquals(fetches("not_prepared", source), ["source prepareSource"]);
  assertEquals(fetches("not_prepared", { kind: "survivor", name: "b", revision: 1 }), []);
  assertEquals(fetches("disk_full", source), []);
});

Deno.test("what an effect brings back is known from then on", () => {
  const { node: joined } = done(effects.memberAdd, { kind: "memberAdded", memberId: "m" });
  assertEquals([joined.membership.added, done(effects.memberAdd).node.membership.added], ["m", undefined]);
  const { node: provided } = done(effects.provideEtcd, { kind: "etcdProvided", version: "3.6.14" });
  assertEquals([provided.ownEtcd.provided, done(effects.provideEtcd).node.ownEtcd.provided], ["3.6.14", undefined]);
  const known = { ownEtcd: { provided: "3.5.33" }, membership: { added: "m" } };
  assertEquals(done(effects.provideEtcd, nothing, known).node.ownEtcd.provided, "3.5.33");
  assertEquals(done(effects.memberAdd, nothing, known).node.membership.added, "m");
  const hashes = [{ memberId: "x", hash: 1, compactRevision: 2 }];
  const hashed = done(effects.hashMembers, { kind: "membersHashed", hashes }).node.maintenance.hashes;
  assertEquals(hashed, { revision: 5, voters: ["x", "y"], hashes, atMs: nowMs });
  assertEquals(done(effects.hashMembers).node.maintenance.hashes, undefined);
  assertEquals(done(effects.clearVolatile).node.bootstrap.volatileKeysCleared, true);
});

Deno.test("a promotion, an upgrade and reclaimed space are journaled", () => {
  assertEquals(lines(done(effects.memberPromote)), ["info promoted caught_up: member x is a voter now"]);
  assertEquals(lines(done(effects.upgradeEtcd)), ["info upgraded plan_goes_on: this member runs etcd 3.6 now"]);
  assertEquals(lines(done(effects.reclaimSpace, { kind: "spaceReclaimed", detail: "most is in /x" })), [
    "warn space reclaimed nospace_resolved: the database was full: most is in /x",
  ]);
  assertEquals(lines(done(effects.reclaimSpace)), []);
});

Deno.test("a plan that was written is the cluster's, and the request for it is over; a failure reads it again", () => {
  const requested = { ...change, id: "other" };
  const after = (of: Plan | undefined, request: Plan) => {
    const effect = { kind: "writePlan", ...(of === undefined ? {} : { plan: of }) } as const;
    const { maintenance } = done(effect, nothing, { maintenance: { plan: change, requested: request } }).node;
    return [maintenance.plan?.id, maintenance.requested?.id];
  };
  assertEquals(after(change, change), ["p", undefined]);
  assertEquals(after(change, requested), ["p", "other"]);
  assertEquals(after(undefined, requested), [undefined, "other"]);
  const read = { maintenance: { planReadMs: 5 } };
  assertEquals(failed(effects.writePlan, "x", read).node.maintenance.planReadMs, undefined);
  assertEquals(failed(effects.memberAdd, "x", read).node.maintenance.planReadMs, 5);
});

Deno.test("members whose data differs are an ERROR, and no snapshot is taken of them", () => {
  const compared = (value: DoneValue) => {
    const turn = done(effects.compareHashes, value, { snapshots: { backup: { revision: 4, diverged: false } } });
    return [turn.node.bootstrap.hashesCompared, turn.node.snapshots.backup, ...lines(turn)];
  };
  const same = { revision: 4, diverged: false };
  assertEquals(compared({ kind: "hashesCompared", equal: true, detail: "" }), [true, same]);
  assertEquals(compared(nothing), [true, same]);
  assertEquals(compared({ kind: "hashesCompared", equal: false, detail: "b has 1" }), [
    true,
    { ...same, diverged: true },
    "error members differ members_differ: HashKV differs: b has 1",
  ]);
});

Deno.test("a snapshot that was saved ends the failures before it; the revision never goes back", () => {
  const failure = { attempts: 2, text: "x" };
  const taken = (value: DoneValue, revision = 4) => {
    const { snapshots } =
      done(effects.takeSnapshot, value, { snapshots: { backup: { revision, diverged: true, failure } } }).node;
    return [snapshots.backup, snapshots.lastSnapshotAtWallMs];
  };
  const backup = (revision: number) => ({ revision, diverged: true, attemptedAtMs: nowMs });
  assertEquals(taken({ kind: "snapshotTaken", revision: 9, saved: true }), [backup(9), 7_000_000]);
  assertEquals(taken({ kind: "snapshotTaken", revision: 9, saved: false }), [backup(9), undefined]);
  assertEquals(taken({ kind: "snapshotTaken", revision: 9, saved: true }, 12)[0], backup(12));
  assertEquals(taken(nothing), [backup(4), undefined]);
});

Deno.test("snapshots that fail in a row are counted, with the begin of the last error", () => {
  const after = (failure?: { attempts: number; text: string }) => {
    const turn = before(effects.takeSnapshot, "backup", {
      snapshots: { backup: { revision: 4, diverged: false, ...(failure && { failure }) } },
    });
    applyFailed(turn, 3, "x", "e".repeat(1_000));
    return turn.node.snapshots.backup;
  };
  const { failure, ...rest } = after();
  assertEquals(rest, { revision: 4, diverged: false, attemptedAtMs: nowMs });
  assertEquals([failure?.attempts, failure?.text.length, after({ attempts: 2, text: "x" }).failure?.attempts], [
    1,
    300,
    3,
  ]);
});

Deno.test("the cluster's record decides over -n: a former size is followed, another one ends the process", () => {
  const sized = (size: number, formerSizes: readonly number[]) => {
    const turn = before(effects.stopEtcd, "local");
    checkSize(turn, size, formerSizes);
    const { node } = turn;
    return [node.settings.requiredSize, node.phase, node.process.ending?.code, ...lines(turn)];
  };
  assertEquals(sized(3, []), [3, "serving", undefined]);
  assertEquals(sized(3, [3]), [3, "serving", undefined]);
  const follows =
    "info size adopted size_adopted: the cluster was scaled from 3 to 5 members; this node uses the new size";
  assertEquals(sized(5, [1, 3]), [5, "serving", undefined, follows]);
  const text = "size_contradicts_record: -n 3 contradicts the size 5 in the cluster record";
  assertEquals(sized(5, [1]), [3, "leaving", 1, `info serving → leaving ${text}`]);
  const checked = (value: DoneValue) => {
    const { node } = done(effects.checkRecord, value);
    return [node.membership.clusterRecordVerified, node.settings.requiredSize];
  };
  assertEquals(checked({ kind: "recordChecked", size: 5, formerSizes: [3] }), [true, 5]);
  assertEquals(checked(nothing), [true, 3]);
});

Deno.test("a change of the members keeps what was known of each, and counts no answer of before as fresh", () => {
  const known = silent(5);
  const { node } = done(effects.memberRemove, nothing, {
    membership: { endpoints: new Map([["http://b:2379", known]]) },
  });
  assertEquals([...node.membership.endpoints], [["http://b:2379", { ...known, atMs: -Infinity }]]);
});
