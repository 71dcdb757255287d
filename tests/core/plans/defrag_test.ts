import { nextOperation } from "../../../lib/core/plans/progress.ts";
import { defragWhenAsked, isSafeToDefragUnasked, isWorthDefrag, planDefrag } from "../../../lib/core/plans/defrag.ts";
import { assert, assertEquals } from "../../support/assert.ts";
import { alarm, answer, answering, member, view } from "../facts.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";

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
    [{ linearizable: false }, 'member "c" serves no reads'],
    [{ alarms: [alarm("CORRUPT", "c")] }, 'member "c" is unhealthy'],
    [{ alarms: [alarm("NOSPACE", "c")] }, 'member "c" raises the alarm NOSPACE'],
    [{ leaderId: "id-b" }, 'member "c" is unhealthy'],
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
    [{ ...own, members: [...members, member("d")] }, '"d" is unhealthy'],
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
      clusterVersion: undefined,
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

Deno.test("planDefrag() stops no member that may receive a snapshot, on a release that this can corrupt", () => {
  const table: [Partial<EtcdAnswer>, string][] = [
    [{ version: "3.6.4", raftIndex: 10_000, raftAppliedIndex: 8_999 }, 'member "c" is 1001 entries behind'],
    [{ version: "3.6.4", raftIndex: 10_000, raftAppliedIndex: 9_000 }, ""],
    [{ version: "3.6.5", raftIndex: 10_000, raftAppliedIndex: 1 }, ""],
    [{ version: "3.5.22", raftIndex: 10_000, raftAppliedIndex: 1 }, 'member "c" is 9999 entries behind'],
  ];
  for (const [change, why] of table) {
    const { view, own } = cluster(holed, change);
    const outcome = planDefrag(view, { ...own, raftIndex: 10_000, raftAppliedIndex: 10_000 }, threshold, "p1");
    const said = outcome.kind === "refused" ? outcome.why : "";
    assert(why === "" ? said === "" : said.startsWith(why), `${JSON.stringify(change)}: ${said}`);
  }
});

Deno.test("isSafeToDefragUnasked() wants a safe release on every member, and takes none for safe that is not known", () => {
  const { view: seen, own } = cluster(holed);
  assert(isSafeToDefragUnasked(seen, own));
  for (const version of ["3.6.4", "3.5.22", "3.4.37", ""]) {
    const { view, own } = cluster(holed, { version });
    assert(!isSafeToDefragUnasked(view, own), version);
  }
  assert(!isSafeToDefragUnasked(seen, { ...own, version: "3.6.4" }));
  assert(!isSafeToDefragUnasked(view("a"), own));
});

Deno.test("planDefrag() names itself, and its members by name whatever their order in etcd", () => {
  const order = [members[2]!, members[0]!, members[1]!];
  const { view: seen, own, endpoints } = cluster(holed);
  // The own answer is the one that was handed over, and no other.
  endpoints.set("http://a:2379", answering(answer("a", order, { dbSizeBytes: 1, dbInUseBytes: 1 })));
  const outcome = planDefrag({ ...seen, endpoints }, { ...own, members: order }, threshold, "p1");
  const sizeBytes = 400 * mebibyte;
  assertEquals(outcome, {
    kind: "plan",
    plan: {
      id: "p1",
      purpose: "defrag",
      text: 'defragment "b" (300 of 400 MiB free), "c" (300 of 400 MiB free), "a" (300 of 400 MiB free)',
      createdAtWallMs: 1_700_000_000_000,
      operations: [
        { kind: "defragment", memberId: "id-b", sizeBytes },
        { kind: "defragment", memberId: "id-c", sizeBytes },
        { kind: "moveLeaderFrom", memberId: "id-a" },
        { kind: "defragment", memberId: "id-a", sizeBytes },
      ],
    },
  });
});

Deno.test("planDefrag() of one member alone has nobody to hand the lead to, and refuses where little is free", () => {
  const own = { ...cluster(holed).own, members: [members[0]!] };
  const operations = (answered: EtcdAnswer) => {
    const outcome = planDefrag(view("a"), answered, threshold, "p1");
    return outcome.kind === "plan" ? outcome.plan.operations : `${outcome.kind}: ${outcome.why}`;
  };
  assertEquals(operations(own), [{ kind: "defragment", memberId: "id-a", sizeBytes: 400 * mebibyte }]);
  assertEquals(
    operations({ ...own, dbInUseBytes: own.dbSizeBytes }),
    "refused: no member has 128 MiB and 50 % of its database free",
  );
  const { leaderId: _, ...leaderless } = own;
  assertEquals(operations(leaderless), "refused: the cluster has no quorum now");
});
