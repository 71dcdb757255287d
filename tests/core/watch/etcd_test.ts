import { noteLogLine, noteProcess, ownEtcdHung, restartDueMs, watchOwnEtcd } from "../../../lib/core/watch/etcd.ts";
import { type EtcdProgress, noProgress } from "../../../lib/core/state/watchdog.ts";
import { step } from "../../../lib/core/step.ts";
import type { Effect } from "../../../lib/core/facts/effect.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, changed, data, member, nowMs, settings, type StateChange, view } from "../facts.ts";
import { problemOf, turnOf } from "../turns.ts";
import { createNode, type EffectState, type NodeState } from "../../../lib/core/state/state.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const healthCheckTimeoutMs = 60_000;

/** Node c beside its own etcd; time goes on by `run`. */
class Watched {
  node: NodeState;
  atMs = 0;
  readonly stops: number[] = [];

  constructor(kind: "ready" | "starting", change: StateChange = {}) {
    const now = { monotonicMs: 0, wallMs: 0 };
    const fresh = createNode(view("c").self, settings({ healthCheckTimeoutMs }), "seed", now);
    this.node = changed(fresh, {
      phase: kind === "ready" ? "serving" : "restarting",
      ownEtcd: { etcd: { kind, sinceMs: 0 } },
      disk: { data: data("c", members), recordPersisted: true },
    }, change);
  }

  tell(event: Event): void {
    const { node, effects } = step(this.node, event, { monotonicMs: this.atMs, wallMs: this.atMs });
    this.node = node;
    for (const effect of effects) this.#answer(effect);
  }

  /** A turn each second, as the heartbeat gives it. */
  run(untilMs: number, each: (second: number) => Event = () => ({ kind: "timer" })): void {
    while (this.atMs < untilMs) {
      this.atMs += 1_000;
      this.tell(each(this.atMs / 1_000));
    }
  }

  #answer(effect: Effect): void {
    if (effect.kind === "stopEtcd") this.stops.push(this.atMs);
    else if ("id" in effect) this.tell({ kind: "done", id: effect.id, value: { kind: "nothing" } });
  }
}

const unanswered: Event = {
  kind: "probed",
  endpoint: "http://c:2379",
  probe: { kind: "unreachable", code: "timeout" },
};
const answered: Event = {
  kind: "probed",
  endpoint: "http://c:2379",
  probe: answer("c", members, { leaderId: "id-b" }),
};

const underWay = (kind: string) => {
  const slot = kind === "upgradeEtcd" ? "local" : "source";
  return new Map([[slot, { kind, id: 7 }]]) as unknown as EffectState["inFlight"];
};
const logged = (busy: boolean): Event => ({ kind: "etcdLogged", busy });

Deno.test("an etcd that served and shows nothing for the health-check time-out is stopped, once", () => {
  const watched = new Watched("ready");
  watched.run(59_000, () => unanswered);
  assertEquals(watched.stops, []);
  watched.run(90_000, () => unanswered);
  assertEquals(watched.stops, [60_000]);
  assertEquals(watched.node.reports.problems.get("etcd_hung")?.level, "warn");
});

Deno.test("an answer is progress; the log lines of an etcd that has served are none", () => {
  const answers = new Watched("ready");
  answers.run(600_000, (second) => second % 50 === 0 ? answered : unanswered);
  assertEquals(answers.stops, []);
  // Without a quorum it answers all the same.
  const leaderless = answer("c", members, { linearizable: false });
  const { leaderId: _, ...lost } = leaderless;
  const alone = new Watched("ready");
  alone.run(600_000, () => ({ kind: "probed", endpoint: "http://c:2379", probe: lost }));
  assertEquals(alone.stops, []);
  const logs = new Watched("ready");
  logs.run(90_000, (second) => second % 2 === 0 ? unanswered : logged(false));
  assertEquals(logs.stops, [60_000]);
  const told = logs.node.reports.problems.get("etcd_hung")?.reason.text;
  assertEquals(told, "etcd of this node gave no answer for 60 s: it is restarted");
});

Deno.test("long work that the log names gets its time from its begin, whatever is logged or answered meanwhile", () => {
  const busy = new Watched("ready");
  busy.tell(logged(true));
  busy.tell(answered);
  busy.run(1_790_000, (second) => second % 2 === 0 ? unanswered : logged(true));
  assertEquals(busy.stops, []);
  busy.run(1_810_000, () => logged(true));
  assertEquals(busy.stops, [1_800_000]);
  const ended = new Watched("ready");
  ended.tell(logged(true));
  ended.run(1_000_000, () => unanswered);
  ended.tell(logged(false));
  ended.run(1_059_000, () => logged(false));
  assertEquals(ended.stops, []);
  ended.run(1_061_000, () => logged(false));
  assertEquals(ended.stops, [1_060_000]);
});

Deno.test("one that has not served since it was started shows by its log that it lives", () => {
  const starting = new Watched("starting");
  starting.run(900_000, () => logged(false));
  assertEquals(starting.stops, []);
  // Started again by an effect of this node, which keeps the state "ready": a survivor without a quorum opens no port.
  for (const kind of ["upgradeEtcd", "exportSurvivor"]) {
    const again = new Watched("ready", { effects: { inFlight: underWay(kind) } });
    again.run(5_000, () => answered);
    again.tell({ kind: "etcd", state: "starting" });
    again.node = { ...again.node, effects: { ...again.node.effects, inFlight: new Map() } };
    again.run(900_000, (second) => second % 2 === 0 ? unanswered : logged(false));
    assertEquals(again.stops, [], kind);
    again.tell(answered);
    again.run(again.atMs + 61_000, () => logged(false));
    assertEquals(again.stops.length, 1, kind);
  }
});

Deno.test("an effect that fails before it starts etcd again leaves the hung process as hung as it was", () => {
  for (const kind of ["upgradeEtcd", "exportSurvivor"]) {
    const failed = new Watched("ready", { effects: { inFlight: underWay(kind) } });
    failed.run(5_000, () => unanswered);
    failed.tell({ kind: "failed", id: 7, code: "no_quorum", message: "no quorum" });
    failed.run(64_000, () => logged(false));
    assertEquals(failed.stops, [], kind);
    failed.run(66_000, () => logged(false));
    assertEquals(failed.stops, [65_000], kind);
  }
});

Deno.test("the record that is written each minute is no sign of etcd", () => {
  const watched = new Watched("ready");
  const writes = new Map([["local", { kind: "writeRecord", id: 7 }]]) as unknown as EffectState["inFlight"];
  watched.run(90_000, (second) => {
    watched.node = {
      ...watched.node,
      effects: {
        ...watched.node.effects,
        inFlight: second % 20 < 2 ? writes : watched.stops.length > 0 ? watched.node.effects.inFlight : new Map(),
      },
    };
    return unanswered;
  });
  assertEquals(watched.stops.length, 1);
});

Deno.test("one that starts may be silent for longer: a large database is read first", () => {
  const watched = new Watched("starting");
  watched.run(119_000, () => unanswered);
  assertEquals(watched.stops, []);
  watched.run(121_000, () => unanswered);
  assertEquals(watched.stops, [120_000]);
});

Deno.test("time in which this process itself stood still does not count", () => {
  const watched = new Watched("ready");
  watched.run(50_000, () => unanswered);
  watched.atMs += 30_000;
  watched.run(130_000, () => unanswered);
  assertEquals(watched.stops, []);
  watched.run(142_000, () => unanswered);
  assertEquals(watched.stops.length, 1);
});

Deno.test("nothing is stopped while an effect of this node keeps etcd from answering", () => {
  const upgrade = { kind: "upgradeEtcd", id: 7, to: "3.7" } as const;
  const watched = new Watched("ready", { effects: { inFlight: new Map([["local", upgrade]]) } });
  watched.run(300_000, () => unanswered);
  assertEquals(watched.stops, []);
});

Deno.test("where a restart does not help the node reports its member as hung, until it answers", () => {
  const watched = new Watched("ready");
  watched.run(61_000, () => unanswered);
  const id = [...watched.node.effects.inFlight.values()].find(({ kind }) => kind === "stopEtcd")!.id;
  assertEquals(watched.node.gossip.facts?.etcdHung, undefined);
  // The stop has its own time: the process has not failed to answer since its restart.
  watched.run(135_000, () => unanswered);
  assertEquals(watched.node.gossip.facts?.etcdHung, undefined);
  // It does not end either, as a process on a disk that hangs.
  watched.run(145_000, () => unanswered);
  assertEquals(watched.node.gossip.facts?.etcdHung, "id-c");
  watched.tell({ kind: "done", id, value: { kind: "nothing" } });
  watched.tell({ kind: "etcd", state: "starting" });
  watched.tell(answered);
  assertEquals(watched.node.gossip.facts?.etcdHung, undefined);
  assertEquals(watched.node.reports.problems.has("etcd_hung"), false);
});

/** A turn of the watchdog, the last progress so long ago. */
function watched(silentMs: number, progress: Partial<EtcdProgress> = {}, ...changes: readonly StateChange[]) {
  const etcdProgress = { ...noProgress, atMs: nowMs - silentMs, ...progress };
  const turn = turnOf([
    {
      phase: "serving",
      disk: { data: data("a", [member("a")]) },
      ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, etcdProgress },
    },
    ...changes,
  ]);
  watchOwnEtcd(turn);
  const stop = turn.effects.find((effect) => effect.kind === "stopEtcd");
  return { turn, stop, dueInMs: turn.wakeMs - nowMs, progress: turn.node.ownEtcd.etcdProgress };
}
const starts: StateChange = { ownEtcd: { etcd: { kind: "starting", sinceMs: 0 } } };
const timeout = (healthCheckTimeoutMs: number): StateChange => ({ settings: settings({ healthCheckTimeoutMs }) });
const ownAnswer = (agoMs: number): StateChange => ({
  membership: { endpoints: new Map([["http://a:2379", answering(answer("a", []), nowMs - agoMs)]]) },
});

Deno.test("the watchdog waits for the health-check time-out, at least 10 s; for one that starts twice that, at least 120 s", () => {
  const due = (...of: Parameters<typeof watched>) => watched(...of).dueInMs;
  assertEquals([due(0, {}, timeout(60_000)), due(0, {}, timeout(5_000))], [60_000, 10_000]);
  assertEquals([due(0, {}, starts, timeout(90_000)), due(0, {}, starts, timeout(50_000))], [180_000, 120_000]);
  assertEquals(due(0, { startsAgain: true }, timeout(60_000)), 120_000);
  assertEquals([due(0, { busy: true }), due(0, { busy: true }, starts)], [1_800_000, 1_800_000]);
});

Deno.test("the watchdog waits twice as long after each restart that did not help, at most sixteen times", () => {
  const due = (restarts: number) => watched(0, { restarts, restartedAtMs: nowMs }).dueInMs / 60_000;
  assertEquals([due(0), due(1), due(2), due(4), due(5)], [1, 2, 4, 16, 16]);
});

Deno.test("the watchdog stops an etcd that has shown nothing in its time, and tells what it showed nothing of", () => {
  const { stop, turn, progress } = watched(60_000, { restarts: 1, restartedAtMs: 5, busy: false }, timeout(30_000));
  assertEquals(stop, { kind: "stopEtcd", id: 1, withinMs: 10_000 });
  assertEquals(progress, { atMs: nowMs, busy: false, startsAgain: false, restarts: 2, restartedAtMs: nowMs });
  const told = (...of: Parameters<typeof watched>) => problemOf(watched(...of).turn, "etcd_hung");
  assertEquals(
    problemOf(turn, "etcd_hung"),
    "warn: etcd of this node gave no answer for 60 s: it is restarted",
  );
  assertEquals(
    told(130_000, {}, starts),
    "warn: etcd of this node gave no answer and wrote no log line for 2 min: it is restarted",
  );
  const watching = { process: { watchingSinceMs: nowMs - 61_000 } };
  assertEquals(told(90_000, {}, watching)?.includes("for 61 s"), true);
  const busyDir = { effects: { inFlight: new Map([["local", { kind: "writeRecord", id: 7 }]]) as never } };
  assertEquals([watched(60_000, {}, busyDir).stop, told(60_000, {}, busyDir)], [undefined, undefined]);
});

Deno.test("the watchdog watches no etcd that does not run, nor one of a node that ends", () => {
  const stopped: StateChange = { ownEtcd: { etcd: { kind: "stopped" } } };
  for (const change of [stopped, { phase: "leaving" } as const]) {
    assertEquals([watched(90_000, {}, change).stop, watched(90_000, {}, change).dueInMs], [undefined, Infinity]);
  }
  assertEquals(restartDueMs(turnOf(stopped)), undefined);
});

Deno.test("while an effect keeps etcd from answering its time does not run", () => {
  const blocked = (slot: string, kind: string) => {
    const inFlight = new Map([[slot, { kind, id: 7 }]]) as never;
    const { stop, progress } = watched(90_000, {}, { effects: { inFlight } });
    return stop === undefined && progress.atMs === nowMs;
  };
  const kinds = [
    "startEtcd",
    "upgradeEtcd",
    "exportSurvivor",
    "defragment",
    "reclaimSpace",
    "memberAdd",
    "takeSnapshot",
  ];
  assertEquals(kinds.filter((kind) => blocked("maintenance", kind)), kinds.slice(0, 5));
});

Deno.test("an answer is progress since its time, and proves that the process started again serves", () => {
  const after = (answeredAgoMs: number, progressAgoMs: number) => {
    const { progress } = watched(progressAgoMs, { startsAgain: true }, ownAnswer(answeredAgoMs));
    return [nowMs - progress.atMs, progress.startsAgain];
  };
  assertEquals(after(3, 9), [3, false]);
  assertEquals(after(9, 9), [9, true], "it may have been given by the process before");
  assertEquals(after(9, 3), [3, true], "it was given before the last progress");
  assertEquals(after(6_000, 9_000), [9_000, true], "it is old");
});

Deno.test("restarts are forgotten once etcd has worked for the time that it is given, and the report with an answer", () => {
  const after = (restartedAgoMs: number, restarts = 1) => {
    const problem = { level: "warn", reason: { code: "etcd_hung", text: "before" } } as const;
    const { progress, turn } = watched(0, { restarts, restartedAtMs: nowMs - restartedAgoMs }, ownAnswer(0), {
      reports: { problems: new Map([["etcd_hung", problem]]) },
    });
    return [progress.restarts, problemOf(turn, "etcd_hung")];
  };
  assertEquals([after(119_999), after(120_000), after(240_000, 2)], [[1, undefined], [0, undefined], [0, undefined]]);
  assertEquals(after(5, 0), [0, undefined]);
});

Deno.test("the process starts again when it starts while it was ready; a new one is at the begin of its time", () => {
  const noted = (kind: "starting" | "ready", state: "starting" | "ready" | "stopped") => {
    const turn = turnOf({ ownEtcd: { etcd: { kind, sinceMs: 0 }, etcdProgress: { ...noProgress, busy: true } } });
    noteProcess(turn, state);
    const { atMs, busy, startsAgain } = turn.node.ownEtcd.etcdProgress;
    return [atMs === nowMs, busy, startsAgain];
  };
  assertEquals(noted("ready", "starting"), [true, false, true]);
  assertEquals([noted("starting", "starting"), noted("ready", "ready"), noted("ready", "stopped")], [
    [true, false, false],
    [true, false, false],
    [true, false, false],
  ]);
});

Deno.test("a log line is progress of an etcd that has not served, and the begin and the end of long work always", () => {
  const noted = (busy: boolean, change: StateChange = {}, progress: Partial<EtcdProgress> = {}) => {
    const etcdProgress = { ...noProgress, atMs: 5, ...progress };
    const turn = turnOf([{ ownEtcd: { etcd: { kind: "ready", sinceMs: 0 }, etcdProgress } }, change]);
    noteLogLine(turn, busy);
    return [turn.node.ownEtcd.etcdProgress.atMs === nowMs, turn.node.ownEtcd.etcdProgress.busy];
  };
  assertEquals([noted(false), noted(true)], [[false, false], [true, true]]);
  assertEquals([noted(true, {}, { busy: true }), noted(false, {}, { busy: true })], [[false, true], [true, false]]);
  assertEquals([noted(false, starts), noted(false, {}, { startsAgain: true })], [[true, false], [true, false]]);
});

Deno.test("ownEtcdHung() names the own member once its etcd was restarted and has been as silent again", () => {
  const hung = (silentMs: number, change: StateChange = {}, progress: Partial<EtcdProgress> = {}) =>
    ownEtcdHung(turnOf([
      {
        phase: "serving",
        disk: { data: data("a", [member("a")]) },
        ownEtcd: {
          etcd: { kind: "ready", sinceMs: 0 },
          etcdProgress: { ...noProgress, atMs: nowMs - silentMs, restarts: 1, restartedAtMs: 0, ...progress },
        },
      },
      change,
    ]));
  assertEquals([hung(59_999), hung(60_000)], [undefined, "id-a"]);
  assertEquals(hung(60_000, {}, { restarts: 0 }), undefined);
  assertEquals(hung(60_000, { phase: "leaving" }), undefined);
  assertEquals(hung(60_000, {}, { restartedAtMs: nowMs - 59_999 }), undefined);
  assertEquals(hung(60_000, { process: { watchingSinceMs: nowMs - 59_999 } }), undefined);
  const inFlight = (kind: string): StateChange => ({
    effects: { inFlight: new Map([["local", { kind, id: 1 }]]) as never },
  });
  assertEquals([hung(79_999, inFlight("stopEtcd")), hung(80_000, inFlight("stopEtcd"))], [undefined, "id-a"]);
  assertEquals(hung(60_000, inFlight("writeRecord")), "id-a");
  const started = {
    lineage: { id: "l", epoch: 1, token: "t" },
    how: "joined",
    renounced: [],
    memberId: "id-kept",
  } as const;
  const record = { nonce: "n", pledges: [] };
  const gone = (disk: StateChange["disk"]) => hung(60_000, { disk: { data: { kind: "unknown" }, ...disk } });
  assertEquals([gone({ record: { ...record, started } }), gone({ record })], ["id-kept", undefined]);
});
