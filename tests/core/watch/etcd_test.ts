import { changed, type StateChange } from "../facts.ts";
import { step } from "../../../lib/core/step.ts";
import type { Effect } from "../../../lib/core/facts/effect.ts";
import type { Event } from "../../../lib/core/facts/event.ts";
import { decideReplacement } from "../../../lib/core/rules/membership/replace.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, facts, member, nowMs, peer, settings, silent, view } from "../facts.ts";
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
  assertEquals(told, "etcd of this node ran and answered nothing for 60 s: it is restarted");
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

Deno.test("nothing is stopped while a deed of this node keeps etcd from answering", () => {
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

Deno.test("the leader replaces a member that its own node reports as hung, when it has not reached it either", () => {
  const reported = (hung: boolean, silentMs: number) => {
    const c = facts("c", {
      data: {
        kind: "held",
        clusterId: "c1",
        memberId: "id-c",
        lineage: { id: "l", epoch: 1, token: "t" },
        revision: 0,
      },
      ...(hung ? { etcdHung: "id-c" } : {}),
    });
    return decideReplacement(
      view("a", {
        peers: [peer("b"), peer("c", { facts: c })],
        endpoints: new Map([
          ["http://b:2379", answering(answer("b", members))],
          ["http://c:2379", silent(nowMs - silentMs)],
        ]),
      }),
      answer("a", members),
    ).kind;
  };
  assertEquals(reported(true, healthCheckTimeoutMs), "remove");
  assertEquals(reported(true, 1_000), "wait");
  // One peer's silence towards this node is no proof.
  assertEquals(reported(false, healthCheckTimeoutMs), "nothing");
});
