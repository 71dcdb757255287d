import { nextOperation } from "../../lib/core/plan.ts";
import { defragWhenAsked, isWorthDefrag, planDefrag } from "../../lib/core/plan_defrag.ts";
import type { EtcdAnswer } from "../../lib/core/view.ts";
import { assert, assertEquals } from "../support/assert.ts";
import { answer, answering, member, view } from "./facts.ts";

const mebibyte = 1_048_576;
const members = ["a", "b", "c"].map((name) => member(name));
const threshold = { ratio: 0.5, minBytes: 128 * mebibyte };

/** Each member's size and used size in MiB, a leads. */
function cluster(
  sizes: Readonly<Record<string, readonly [number, number]>>,
  change: Partial<EtcdAnswer> = {},
) {
  const answers = members.map((each) => {
    const [size, used] = sizes[each.name]!;
    return answer(each.name, members, {
      dbSizeBytes: size * mebibyte,
      dbInUseBytes: used * mebibyte,
      ...(each.name === "c" ? change : {}),
    });
  });
  const endpoints = new Map(members.map((each, at) => [each.clientUrls[0]!, answering(answers[at]!)] as const));
  return { view: view("a", { endpoints }), own: answers[0]!, endpoints };
}

const holed = { a: [400, 100], b: [400, 100], c: [400, 100] } as const;

Deno.test("isWorthDefrag() wants both the part and the size to be free", () => {
  const table: [number, number, boolean][] = [
    [256, 128, true],
    [256, 129, false],
    [255, 127, true],
    [254, 127, false],
    [1_000, 501, false],
    [0, 0, false],
  ];
  for (const [size, used, worth] of table) {
    const sizes = { dbSizeBytes: size * mebibyte, dbInUseBytes: used * mebibyte };
    assertEquals(isWorthDefrag(sizes, threshold), worth, `${size} ${used}`);
  }
  assert(!isWorthDefrag({ dbSizeBytes: 20_480, dbInUseBytes: 4_096 }, defragWhenAsked));
});

Deno.test("planDefrag() goes followers first, the leader after it has handed over", () => {
  const { view, own } = cluster(holed);
  const outcome = planDefrag(view, own, threshold, "p1");
  assert(outcome.kind === "plan");
  assertEquals(outcome.plan.operations, [
    { kind: "defragment", memberId: "id-b", sizeBytes: 400 * mebibyte },
    { kind: "defragment", memberId: "id-c", sizeBytes: 400 * mebibyte },
    { kind: "moveLeaderFrom", memberId: "id-a" },
    { kind: "defragment", memberId: "id-a", sizeBytes: 400 * mebibyte },
  ]);
  assert(outcome.plan.text.includes('"b" (300 of 400 MiB free)'), outcome.plan.text);
});

Deno.test("planDefrag() leaves members alone that have little free, and the leader its lead", () => {
  const { view, own } = cluster({ ...holed, a: [400, 390], b: [400, 390] });
  const outcome = planDefrag(view, own, threshold, "p1");
  assertEquals(
    outcome.kind === "plan" ? outcome.plan.operations.map((each) => "memberId" in each ? each.memberId : "") : [],
    ["id-c"],
  );
});

Deno.test("planDefrag() refuses, with the reason, unless every member is well and serves reads", () => {
  const table: [Partial<EtcdAnswer>, string][] = [
    [{ linearizable: false }, 'member "c" serves no read'],
    [{ alarms: ["CORRUPT"] }, 'member "c" is sick'],
    [{ alarms: ["NOSPACE"] }, 'member "c" raises the alarm NOSPACE'],
    [{ leaderId: "id-b" }, 'member "c" is sick'],
    [{ dbSizeBytes: 1, dbInUseBytes: 1 }, ""],
  ];
  for (const [change, why] of table) {
    const { view, own } = cluster(holed, change);
    const outcome = planDefrag(view, own, threshold, "p1");
    assertEquals(outcome.kind === "refused" ? outcome.why : "", why);
  }
  const { view: well, own } = cluster(holed);
  const table2: [EtcdAnswer, string][] = [
    [{ ...own, linearizable: false }, "no quorum"],
    [{ ...own, members: [...members, member("d", { isLearner: true })] }, "is joining"],
    [{ ...own, members: [...members, member("d")] }, '"d" is sick'],
  ];
  for (const [answer, why] of table2) {
    const outcome = planDefrag(well, answer, threshold, "p1");
    assert(outcome.kind === "refused" && outcome.why.includes(why), JSON.stringify(outcome));
  }
});

Deno.test("nextOperation() takes a member for defragmented by its size, or by how little of it is free", () => {
  const { view, own } = cluster(holed);
  const outcome = planDefrag(view, own, threshold, "p1");
  assert(outcome.kind === "plan");
  const next = (sizes: Parameters<typeof cluster>[0], leaderId: string) => {
    const operation = nextOperation(outcome.plan, {
      members,
      leaderId,
      recordedSize: 3,
      lastSnapshotAtWallMs: undefined,
      endpoints: cluster(sizes).endpoints,
    });
    return operation && `${operation.kind} ${"memberId" in operation ? operation.memberId : ""}`;
  };
  assertEquals(next(holed, "id-a"), "defragment id-b");
  assertEquals(next({ ...holed, b: [100, 100] }, "id-a"), "defragment id-c");
  // Grown past its former size by what was written meanwhile.
  assertEquals(next({ ...holed, b: [100, 100], c: [500, 499] }, "id-a"), "moveLeaderFrom id-a");
  assertEquals(next({ ...holed, b: [100, 100], c: [500, 499] }, "id-b"), "defragment id-a");
  assertEquals(next({ a: [100, 100], b: [100, 100], c: [100, 100] }, "id-b"), undefined);
});
