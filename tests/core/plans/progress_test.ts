import { isDone, nextOperation, type PlanView } from "../../../lib/core/plans/progress.ts";
import type { Operation, Plan } from "../../../lib/core/facts/plan.ts";
import type { EndpointFacts, EtcdAnswer, EtcdMember } from "../../../lib/core/facts/cluster.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, member, silent } from "../facts.ts";

const [a, b, c, d] = ["a", "b", "c", "d"].map((name) => member(name)) as [
  EtcdMember,
  EtcdMember,
  EtcdMember,
  EtcdMember,
];
const learner = (of: EtcdMember): EtcdMember => ({ ...of, isLearner: true });

const planOf = (...operations: Operation[]): Plan => ({
  id: "p",
  purpose: "scale",
  text: "scale",
  createdAtWallMs: 1_000,
  operations,
});

function at(members: readonly EtcdMember[], change: Partial<PlanView> = {}): PlanView {
  return {
    members,
    leaderId: "id-a",
    recordedSize: 3,
    lastSnapshotAtWallMs: undefined,
    clusterVersion: undefined,
    endpoints: new Map(),
    ...change,
  };
}

const answers = (...of: readonly (readonly [string, Partial<EtcdAnswer>])[]): Map<string, EndpointFacts> =>
  new Map(of.map(([name, change]) => [`http://${name}:2379`, answering(answer(name, [], change))]));

Deno.test("isDone() of a snapshot: one that was taken at the plan's time or later", () => {
  const snapshot = { kind: "snapshot" } as const;
  const done = (lastSnapshotAtWallMs: number | undefined) =>
    isDone(snapshot, at([a], { lastSnapshotAtWallMs }), planOf(snapshot));
  assertEquals([undefined, 999, 1_000, 1_001].map(done), [false, false, true, true]);
});

Deno.test("isDone() of a change of members: the list shows it, or the size that the plan aims at is reached", () => {
  const resize = (to: number) => ({ kind: "resize", from: 3, to }) as const;
  const moveLeader = { kind: "moveLeaderFrom", memberId: "id-a" } as const;
  const remove = { kind: "remove", memberId: "id-c", name: "c" } as const;
  const add = { kind: "add", peerUrl: "http://d:2380" } as const;
  const promote = { kind: "promote", peerUrl: "http://d:2380" } as const;
  const table: [string, Operation, PlanView, number | undefined, boolean][] = [
    ["another one leads", moveLeader, at([a, b, c], { leaderId: "id-b" }), undefined, true],
    ["it leads", moveLeader, at([a, b, c]), undefined, false],
    ["no leader is known", moveLeader, at([a, b, c], { leaderId: undefined }), undefined, false],
    ["too large a cluster", moveLeader, at([a, b, c]), 2, false],
    ["small enough a cluster", moveLeader, at([a, b, c]), 3, true],
    ["it is listed", remove, at([a, b, c]), undefined, false],
    ["it is not listed", remove, at([a, b]), undefined, true],
    ["listed, too large", remove, at([a, b, c]), 1, false],
    ["listed, small enough", remove, at([a, c]), 3, true],
    ["it is not listed yet", add, at([a, b, c]), undefined, false],
    ["it is a learner", add, at([a, b, learner(d)]), undefined, true],
    ["others took every place", add, at([a, b, c]), 3, true],
    ["others took more", add, at([a, b, c]), 2, true],
    ["a learner takes no place yet", add, at([a, b, learner(c)]), 3, false],
    ["it is a learner, promote", promote, at([a, b, c, learner(d)]), undefined, false],
    ["it votes", promote, at([a, b, d]), undefined, true],
    ["a place is free", promote, at([a, b, c]), 5, false],
    ["all places taken", promote, at([a, b, c]), 3, true],
  ];
  for (const [what, operation, seen, to, expected] of table) {
    // The operation that aims at a size is not the first of its plan.
    const plan = to === undefined ? planOf(operation) : planOf({ kind: "snapshot" }, resize(to), operation);
    assertEquals(isDone(operation, seen, plan), expected, `${operation.kind}: ${what}`);
  }
  const done = (recordedSize: number | undefined) => isDone(resize(5), at([a], { recordedSize }), planOf(resize(5)));
  assertEquals([undefined, 3, 5].map(done), [false, false, true]);
});

Deno.test("isDone() of an upgrade: what the member itself answered last, at the first of its addresses that was asked", () => {
  const upgrade = { kind: "upgrade", memberId: "id-b", to: "3.7" } as const;
  const done = (members: readonly EtcdMember[], endpoints: ReadonlyMap<string, EndpointFacts>) =>
    isDone(upgrade, at(members, { endpoints }), planOf(upgrade));
  assertEquals(done([a, b], answers(["b", { version: "3.7.0" }])), true);
  assertEquals(done([a, b], answers(["a", { version: "3.7.0" }], ["b", { version: "3.6.14" }])), false);
  assertEquals(done([a, b], answers(["b", { version: "3.70.0" }])), false);
  assertEquals(done([a, b], new Map()), false, "not asked");
  assertEquals(done([a, b], new Map([["http://b:2379", silent(0)]])), false, "it does not answer");
  assertEquals(done([a], new Map()), true, "a member that has gone needs no other version");
  // Another member at its address.
  assertEquals(done([a, b], answers(["b", { version: "3.7.0", memberId: "id-x" }])), false);
  const twoUrls = { ...b, clientUrls: ["http://b-lan:2379", "http://b:2379"] };
  assertEquals(done([a, twoUrls], answers(["b", { version: "3.7.0" }])), true);
});

Deno.test("isDone() of the cluster's version: every member runs it, and etcd or the data of every member shows it", () => {
  const operation = { kind: "clusterVersion", to: "3.7" } as const;
  const done = (clusterVersion: string | undefined, ...of: readonly Partial<EtcdAnswer>[]) => {
    const endpoints = answers(...of.map((change, index) => [["a", "b"][index]!, change] as const));
    return isDone(operation, at([a, b], { clusterVersion, endpoints }), planOf(operation));
  };
  const [old, raised] = ["3.6.0", "3.7.0"].map((storageVersion) => ({ version: "3.7.3", storageVersion }));
  assertEquals(done("3.7.0", old!, old!), true);
  assertEquals(done("3.6.0", raised!, raised!), false);
  assertEquals(done(undefined, raised!, raised!), true);
  assertEquals(done(undefined, old!, raised!), false);
  assertEquals(done(undefined, raised!, old!), false);
  assertEquals(done("3.7.0", raised!, { version: "3.6.14" }), false);
  assertEquals(done("3.7.0", raised!), false);
});

Deno.test("isDone() of the leave to go back: each member runs the older version, or has its data in that form", () => {
  const operation = { kind: "allowDowngrade", to: "3.6" } as const;
  const done = (...of: readonly Partial<EtcdAnswer>[]) => {
    const endpoints = answers(...of.map((change, index) => [["a", "b"][index]!, change] as const));
    return isDone(operation, at([a, b], { endpoints }), planOf(operation));
  };
  const [ready, back, forward] = [
    { version: "3.7.3", storageVersion: "3.6.0" },
    { version: "3.6.14" },
    { version: "3.7.3", storageVersion: "3.7.0" },
  ];
  assertEquals(done(ready!, back!), true);
  assertEquals(done(ready!, forward!), false);
  assertEquals(done(forward!, ready!), false);
  assertEquals(done(ready!, { version: "3.7.3" }), false);
  assertEquals(done(ready!), false, "one was not asked");
});

Deno.test("isDone() of a defragmentation: the file has become smaller, or less than a tenth of it is free", () => {
  const operation = { kind: "defragment", memberId: "id-b", sizeBytes: 1_000 } as const;
  const done = (members: readonly EtcdMember[], endpoints: ReadonlyMap<string, EndpointFacts>) =>
    isDone(operation, at(members, { endpoints }), planOf(operation));
  const sized = (dbSizeBytes: number, freeBytes: number) =>
    done([a, b], answers(["b", { dbSizeBytes, dbInUseBytes: dbSizeBytes - freeBytes }]));
  assertEquals(sized(999, 900), true);
  assertEquals(sized(1_000, 900), false);
  assertEquals(sized(1_000, 100), false);
  assertEquals(sized(1_000, 99), true);
  assertEquals(sized(1_100, 101), true);
  assertEquals(done([a], new Map()), true, "it has gone");
  assertEquals(done([a, b], new Map()), false, "it was not asked");
});

Deno.test("nextOperation() is the first that is not done, and undefined when all are", () => {
  const plan = planOf({ kind: "resize", from: 3, to: 1 }, { kind: "remove", memberId: "id-c", name: "c" }, {
    kind: "remove",
    memberId: "id-b",
    name: "b",
  });
  const next = (members: readonly EtcdMember[], recordedSize: number) =>
    nextOperation(plan, at(members, { recordedSize }));
  assertEquals(next([a, b, c], 3), plan.operations[0]);
  assertEquals(next([a, b, c], 1), plan.operations[1]);
  assertEquals(next([a, b], 1), plan.operations[2]);
  assertEquals(next([a], 1), undefined);
});

Deno.test("nextOperation() upgrades a member that joined meanwhile before it waits for the cluster's version", () => {
  const plan = planOf({ kind: "clusterVersion", to: "3.7" });
  const next = (versions: readonly string[]) =>
    nextOperation(
      plan,
      at([a, b], { endpoints: answers(["a", { version: versions[0]! }], ["b", { version: versions[1]! }]) }),
    );
  assertEquals(next(["3.7.0", "3.6.14"]), { kind: "upgrade", memberId: "id-b", to: "3.7" });
  assertEquals(next(["3.7.0", "3.7.1"]), { kind: "clusterVersion", to: "3.7" });
});
