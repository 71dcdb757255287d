import { executePlan, proposeRequestedPlan, upgradeSelf } from "../../../lib/core/phases/execute_plan.ts";
import type { Operation, Plan } from "../../../lib/core/facts/plan.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { AnsweredEffect } from "../../../lib/core/facts/effect.ts";
import type { Turn } from "../../../lib/core/state/turn.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, data, goPeer, member, peer, settings, type StateChange } from "../facts.ts";
import { decisionsOf, linesOf, noneFree, nowWallMs, requestsOf, turnOf } from "../turns.ts";

const members = ["a", "b", "c"].map((name) => member(name));
const own = (change: Partial<EtcdAnswer> = {}) => answer("a", members, { recordedSize: 3, ...change });
const planOf = (operation: Operation, change: Partial<Plan> = {}): Plan => ({
  id: "p",
  purpose: "upgrade",
  text: "the plan",
  createdAtWallMs: nowWallMs,
  operations: [operation],
  ...change,
});
/** What each member answers; "silent": nothing. */
const cluster = (of: Readonly<Record<string, Partial<EtcdAnswer> | "silent">> = {}): StateChange => ({
  membership: {
    endpoints: new Map(["a", "b", "c"].flatMap((name) => {
      const change = of[name] ?? {};
      return change === "silent" ? [] : [[`http://${name}:2379`, answering(answer(name, members, change))] as const];
    })),
  },
});
const busy = (...slots: readonly ("plan" | "cluster" | "maintenance" | "backup")[]): StateChange => ({
  effects: {
    inFlight: new Map(slots.map((slot, at) => [slot, { kind: "stopEtcd", id: at } as AnsweredEffect])),
    nextId: 9,
  },
});

/** What the turn requests, waits for, and journals as decided. */
function seen(turn: Turn): unknown[] {
  const requests = requestsOf(turn).map((effect) => {
    const { id: _, ...rest } = effect as AnsweredEffect;
    return rest;
  });
  const decided = linesOf(turn).filter((line) => !line.includes(" wait "));
  return [
    ...requests,
    ...decided,
    ...turn.node.reports.waitingFor
      ? [`${turn.node.reports.waitingFor.code} ${turn.node.reports.waitingFor.text}`]
      : [],
  ];
}

function executed(plan: Plan | undefined, answered: EtcdAnswer, ...changes: readonly StateChange[]): unknown[] {
  const turnWith = (...more: readonly StateChange[]) =>
    turnOf([
      {
        phase: "serving",
        settings: settings({ snapshots: true }),
        maintenance: { plan },
        disk: { data: data("a", members) },
      },
      cluster(),
      ...changes,
      ...more,
    ]);
  const refused = turnWith(noneFree);
  executePlan(refused, answered);
  assertEquals(decisionsOf(refused), []);
  const turn = turnWith();
  return [executePlan(turn, answered), ...seen(turn)];
}
const goesOn = (outcome: string) => `info ${outcome} plan_goes_on: the plan`;
const waits = (why: string) => `plan_waits the plan "the plan" waits: ${why}`;
const facts = (plan: Plan, answered = own(), ...changes: readonly StateChange[]) => {
  const turn = turnOf([{ phase: "serving", maintenance: { plan } }, cluster(), ...changes]);
  executePlan(turn, answered);
  return turn.node.reports.journal[0]?.facts;
};

Deno.test("a plan without an operation that is left is taken out of etcd", () => {
  const done = planOf({ kind: "remove", memberId: "id-x", name: "x" });
  assertEquals(executed(done, own()), [true, { kind: "writePlan" }, "info plan done plan_done: done: the plan"]);
  assertEquals(facts(done), { plan: "p" });
  assertEquals(executed(done, own(), { effects: { backoffUntilMs: new Map([["plan", Infinity]]) } }), [true]);
});

Deno.test("no operation begins while another effect on the members, their data or the plan is in flight", () => {
  const remove = planOf({ kind: "resize", from: 3, to: 5 });
  for (const slot of ["plan", "cluster", "maintenance"] as const) {
    assertEquals(executed(remove, own(), busy(slot)), [true], slot);
  }
  assertEquals(executed(remove, own(), busy("backup")).length, 3);
  const snapshot = planOf({ kind: "snapshot" });
  for (const slot of ["plan", "cluster", "maintenance"] as const) {
    assertEquals(executed(snapshot, own(), busy(slot)), [true]);
  }
});

Deno.test("the snapshot that a plan begins with is taken in the form that all nodes can read, whatever was saved before", () => {
  const plan = planOf({ kind: "snapshot" });
  const lineage = { id: "line", epoch: 2, token: "t" };
  const take = {
    kind: "takeSnapshot",
    format: "v2",
    lineage: { id: "c1", epoch: 0, token: "etcd-cluster" },
    lastRevision: 0,
  };
  assertEquals(executed(plan, own()), [true, take]);
  const started = { lineage, how: "founded", renounced: [] } as const;
  assertEquals(executed(plan, own(), { disk: { record: { nonce: "n", pledges: [], started } } }), [true, {
    ...take,
    lineage,
  }]);
  const beside = (...peers: ReturnType<typeof peer>[]) => executed(plan, own(), { gossip: { peers } })[1];
  assertEquals(beside(peer("b"), goPeer("g")), { ...take, format: "go-v1" });
  assertEquals(beside(peer("b"), goPeer("g", { state: "dead" })), take);
  assertEquals(executed(plan, own(), { settings: settings() }), [
    true,
    'plan_waits the plan "the plan" waits for a snapshot, and no store is configured',
  ]);
  const taken = { snapshots: { lastSnapshotAtWallMs: nowWallMs } };
  assertEquals(executed(plan, own(), taken)[1], { kind: "writePlan" });
});

Deno.test("the leadership goes to a healthy voter", () => {
  const plan = planOf({ kind: "moveLeaderFrom", memberId: "id-a" });
  assertEquals(executed(plan, own()), [true, { kind: "moveLeader", to: "id-b" }, goesOn("moveLeader")]);
  assertEquals(facts(plan), { plan: "p", operation: "moveLeaderFrom" });
  const learner = [member("a"), member("b", { isLearner: true }), member("c")];
  assertEquals(executed(plan, own({ members: learner }))[1], { kind: "moveLeader", to: "id-c" });
  assertEquals(executed(plan, own(), cluster({ b: "silent" })), [true, waits('member "b" is unhealthy')]);
  assertEquals(executed(plan, own({ members: [member("a")] })), [true], "nobody can take it");
});

Deno.test("a member is removed where the quorum allows it; to scale, while no other member is unhealthy", () => {
  const plan = planOf({ kind: "remove", memberId: "id-c", name: "c" });
  const four = own({ members: [...members, member("d")] });
  const d = {
    membership: {
      endpoints: new Map([...cluster().membership!.endpoints!, ["http://d:2379", answering(answer("d", []))]]),
    },
  };
  const removes = [true, { kind: "memberRemove", via: ["http://a:2379"], memberId: "id-c" }, goesOn("remove")];
  assertEquals(executed(plan, four, d), removes);
  assertEquals(facts(plan, four, d), { plan: "p", operation: "remove" });
  assertEquals(executed(plan, own({ leaderId: undefined } as unknown as EtcdAnswer)), [
    true,
    waits("the cluster has no quorum now"),
  ]);
  const scale = { ...plan, purpose: "scale" } as const;
  assertEquals(executed(scale, four), [true, waits('member "d" is unhealthy')]);
  assertEquals(executed(plan, four).slice(1, 2), removes.slice(1, 2), "a replacement may go on beside a sick one");
  const without = (name: string) => {
    const endpoints = new Map([...d.membership.endpoints].filter(([url]) => url !== `http://${name}:2379`));
    return executed(scale, four, { membership: { endpoints } });
  };
  assertEquals(without("c").slice(1, 2), removes.slice(1, 2), "the one that goes may be sick");
});

Deno.test("the cluster's record and the way back to an older minor version are changed while every member is healthy", () => {
  const resize = planOf({ kind: "resize", from: 3, to: 5 });
  assertEquals(executed(resize, own()), [true, { kind: "changeRecord", from: 3, to: 5 }, goesOn("resize")]);
  assertEquals(facts(resize), { plan: "p", operation: "resize" });
  const back = planOf({ kind: "allowDowngrade", to: "3.5" });
  assertEquals(executed(back, own()), [true, { kind: "allowDowngrade", to: "3.5" }, goesOn("allowDowngrade")]);
  assertEquals(facts(back), { plan: "p", operation: "allowDowngrade" });
  const upgrade = planOf({ kind: "upgrade", memberId: "id-b", to: "3.7" });
  for (const plan of [resize, back, upgrade]) {
    assertEquals(executed(plan, own(), cluster({ c: "silent" })), [true, waits('member "c" is unhealthy')]);
  }
});

Deno.test("a plan waits for what other nodes do, and names who does it", () => {
  const waiting = (operation: Operation, answered = own()) => executed(planOf(operation), answered).slice(1);
  const url = "http://x:2380";
  assertEquals(waiting({ kind: "add", peerUrl: url }), [
    `plan_waits the plan "the plan" waits until ${url} is a member`,
  ]);
  assertEquals(waiting({ kind: "promote", peerUrl: url }), [
    `plan_waits the plan "the plan" waits until ${url} is a voter`,
  ]);
  const upgrade = { kind: "upgrade", memberId: "id-b", to: "3.7" } as const;
  assertEquals(waiting(upgrade), ['plan_waits the plan "the plan" waits until "b" runs etcd 3.7']);
  const all = { a: { version: "3.7.3" }, b: { version: "3.7.3" }, c: { version: "3.7.3" } };
  assertEquals(
    executed(planOf({ kind: "clusterVersion", to: "3.7" }), own({ clusterVersion: "3.6.0" }), cluster(all)),
    [
      true,
      'plan_waits the plan "the plan" waits until etcd raises the cluster version to 3.7',
    ],
  );
  const unnamed = own({ members: [member("a"), member("b", { name: "" })] });
  assertEquals(waiting(upgrade, unnamed), [
    'plan_waits the plan "the plan" waits until "id-b" runs etcd 3.7',
  ]);
});

Deno.test("a node upgrades its own etcd when it is its turn and every other member is healthy", () => {
  const plan = planOf({ kind: "upgrade", memberId: "id-a", to: "3.7" });
  const upgrade = [{ kind: "upgradeEtcd", to: "3.7" }, goesOn("upgrade")];
  assertEquals(executed(plan, own()), [true, ...upgrade]);
  const follower = (operations: readonly Operation[], ...changes: readonly StateChange[]) => {
    const turn = turnOf([{ phase: "serving" }, cluster(), ...changes]);
    upgradeSelf(turn, own({ leaderId: "id-b" }), { ...plan, operations });
    return [...seen(turn), turn.node.reports.journal[0]?.facts];
  };
  const led = cluster({ b: { leaderId: "id-b" }, c: { leaderId: "id-b" } });
  assertEquals(follower(plan.operations, led), [...upgrade, { plan: "p", to: "3.7" }]);
  assertEquals(follower([{ kind: "snapshot" }, ...plan.operations], led), [...upgrade, { plan: "p", to: "3.7" }]);
  const none = [undefined];
  assertEquals(follower([{ kind: "upgrade", memberId: "id-b", to: "3.7" }, ...plan.operations], led), none);
  assertEquals(follower([{ kind: "resize", from: 3, to: 5 }], led), none);
  const refused = turnOf([{ phase: "serving" }, led, noneFree]);
  upgradeSelf(refused, own({ leaderId: "id-b" }), plan);
  assertEquals(decisionsOf(refused), []);
  assertEquals(follower(plan.operations, led, { membership: { endpoints: new Map() } }), none, "the others are silent");
});

Deno.test("a member defragments while no snapshot is taken and no other member is unhealthy", () => {
  const plan = planOf({ kind: "defragment", memberId: "id-b", sizeBytes: 100 }, { purpose: "defrag" });
  const large = { dbSizeBytes: 100, dbInUseBytes: 1, version: "3.6.14" };
  const all = cluster({ a: large, b: large, c: large });
  const request = { kind: "defragment", endpoint: "http://b:2379" };
  const text = 'info defragment plan_goes_on: "b" is defragmented and serves no requests meanwhile';
  assertEquals(executed(plan, own(large), all), [true, request, text]);
  assertEquals(facts(plan, own(large), all), { plan: "p", operation: "defragment", member: "id-b", name: "b" });
  assertEquals(executed(plan, own(large), all, busy("backup")), [true, waits("a snapshot is being taken")]);
  assertEquals(executed(plan, own(large), cluster({ a: large, b: large, c: "silent" })), [
    true,
    waits('member "c" is unhealthy'),
  ]);
  const unlisted = own({ ...large, members: [member("a"), member("b", { clientUrls: [] })] });
  assertEquals(executed(plan, unlisted, all), [true, waits('member "b" is unhealthy')]);
});

Deno.test("a plan that an operator asked for at this node is written once, and then waited for", () => {
  const requested = planOf({ kind: "snapshot" });
  const written = [true, { kind: "writePlan", plan: requested }, "info plan asked_by_operator: the plan"];
  assertEquals(executed(undefined, own(), { maintenance: { requested } }), written);
  const turn = turnOf({ maintenance: { requested } });
  proposeRequestedPlan(turn);
  assertEquals(turn.node.reports.journal[0]?.facts, { plan: "p" });
  assertEquals(executed(undefined, own(), { maintenance: { requested } }, busy("plan")), [true]);
  assertEquals(proposeRequestedPlan(turnOf()), false);
});

Deno.test("free space is given back automatically where the settings allow it and every member is safe to stop", () => {
  const mebibyte = 1_048_576;
  const free = { dbSizeBytes: 100 * mebibyte, dbInUseBytes: mebibyte };
  const defrag = { ratio: 0.5, minBytes: 10 * mebibyte };
  const set: StateChange = { settings: settings({ defrag }) };
  const plan = (answered: EtcdAnswer, ...changes: readonly StateChange[]) => {
    const [isTurn, request, line] = executed(undefined, answered, set, cluster({ b: free }), ...changes) as [
      boolean,
      { plan?: Plan } | undefined,
      string | undefined,
    ];
    return [isTurn, request?.plan?.text, line];
  };
  const text = 'defragment "b" (99 of 100 MiB free)';
  assertEquals(plan(own()), [true, text, `info plan space_is_free: ${text}`]);
  const none = [false, undefined, undefined];
  assertEquals(plan(own(), { settings: { defrag: undefined } as never }), none);
  assertEquals(plan(own({ ...free, members: [member("a")] })), none, "a cluster of one would stand still");
  assertEquals(plan(own({ members: [member("a"), member("b")] }))[0], true);
  assertEquals([plan(own(), busy("backup")), plan(own(), busy("plan"))], [none, none]);
  assertEquals(plan(own(), cluster({ b: { ...free, version: "3.6.4" } })), none, "a release that could corrupt it");
  assertEquals(plan(own(), cluster()), none, "nothing is free");
  const id = (nextId: number) => {
    const turn = turnOf([{ phase: "serving" }, set, cluster({ b: free }), { effects: { nextId } }]);
    executePlan(turn, own());
    const { plan } = requestsOf(turn)[0] as { plan: Plan };
    assertEquals([requestsOf(turn)[0]?.kind, plan.id.length], ["writePlan", 8]);
    assertEquals([plan.id.length, turn.node.reports.journal[0]?.facts], [8, { plan: plan.id }]);
    return plan.id;
  };
  assertEquals(id(1) === id(2), false, "each plan has its own name");
});
