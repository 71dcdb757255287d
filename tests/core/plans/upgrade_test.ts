import { nextOperation } from "../../../lib/core/plans/progress.ts";
import { planUpgrade } from "../../../lib/core/plans/upgrade.ts";
import { assertEquals } from "../../support/assert.ts";
import { answer, answering, member, settings, view } from "../facts.ts";
import type { EtcdAnswer } from "../../../lib/core/facts/cluster.ts";
import type { View } from "../../../lib/core/facts/view.ts";

const members = ["a", "b", "c"].map((name) => member(name));

/** a leads and is asked; each member's version. */
function cluster(versions: readonly [string, string, string], change: Partial<EtcdAnswer> = {}) {
  const answers = members.map((each, at) => answer(each.name, members, { version: versions[at]!, ...change }));
  const endpoints = new Map(members.map((each, at) => [each.clientUrls[0]!, answering(answers[at]!)] as const));
  return { view: view("a", { endpoints, settings: settings({ snapshots: true }) }), own: answers[0]!, endpoints };
}

function planned(versions: readonly [string, string, string], to: string): string {
  const { view, own } = cluster(versions);
  const outcome = planUpgrade(view, own, to, "p1");
  if (outcome.kind === "refused") return outcome.why;
  const name = (id: string) => members.find((each) => each.id === id)!.name;
  return outcome.plan.operations.map((operation) =>
    "memberId" in operation ? `${operation.kind} ${name(operation.memberId)}` : operation.kind
  ).join(", ");
}

Deno.test("planUpgrade() takes the followers first, the leader last, after a snapshot", () => {
  const all = "snapshot, upgrade b, upgrade c, moveLeaderFrom a, upgrade a, clusterVersion";
  assertEquals(planned(["3.6.11", "3.6.11", "3.6.11"], "3.7"), all);
  assertEquals(
    planned(["3.6.11", "3.7.0", "3.6.11"], "3.7"),
    "snapshot, upgrade c, moveLeaderFrom a, upgrade a, clusterVersion",
  );
});

Deno.test("planUpgrade() goes back one minor after etcd has allowed it", () => {
  const back = "snapshot, allowDowngrade, upgrade b, upgrade c, moveLeaderFrom a, upgrade a, clusterVersion";
  assertEquals(planned(["3.7.3", "3.7.3", "3.7.3"], "3.6"), back);
  // Broken off half way.
  assertEquals(planned(["3.7.3", "3.6.14", "3.7.3"], "3.6"), back.replace("upgrade b, ", ""));
  assertEquals(planned(["3.6.1", "3.6.1", "3.6.1"], "3.5"), back);
});

Deno.test("planUpgrade() refuses leaps, ways that are known to be bad, and ways that there are not", () => {
  assertEquals(planned(["3.5.30", "3.5.30", "3.5.30"], "3.7"), '"b" runs 3.5.30; go to 3.6 first');
  assertEquals(planned(["3.7.3", "3.7.3", "3.7.3"], "3.5"), '"b" runs 3.7.3; go to 3.6 first');
  const first = (to: string) =>
    `on each node in turn run: e2d etcd install --version ${to}, then restart e2d with --etcd-version=${to}`;
  assertEquals(
    planned(["3.5.25", "3.5.25", "3.5.25"], "3.6"),
    `"b" runs 3.5.25, and removed members may return in 3.6 before 3.5.26: go to 3.5.33 first; ${first("3.5.33")}`,
  );
  assertEquals(
    planned(["3.6.11", "3.6.11", "3.6.10"], "3.7"),
    '"c" runs 3.6.10, and etcd does not support this way to 3.7 before 3.6.11: go to 3.6.14 first; ' + first("3.6.14"),
  );
  const none = '"b" runs 3.5.30, which has no downgrade: etcd has it since 3.6';
  assertEquals(planned(["3.5.30", "3.5.30", "3.5.30"], "3.4"), none);
  assertEquals(planned(["3.6.1", "3.6.1", "3.6.1"], "3.6"), "every member runs 3.6 already");
  const both = "some members run an older and some a newer etcd than 3.6";
  assertEquals(planned(["3.7.3", "3.5.30", "3.7.3"], "3.6"), both);
});

Deno.test("a plan that goes back waits until every member's data has the older form", () => {
  const outcome = planUpgrade(
    cluster(["3.7.3", "3.7.3", "3.7.3"]).view,
    cluster(["3.7.3", "3.7.3", "3.7.3"]).own,
    "3.6",
    "p",
  );
  if (outcome.kind === "refused") throw new Error(outcome.why);
  const next = (change: Partial<EtcdAnswer>) => {
    const { endpoints } = cluster(["3.7.3", "3.7.3", "3.7.3"], change);
    const lastSnapshotAtWallMs = outcome.plan.createdAtWallMs;
    return nextOperation(outcome.plan, {
      members,
      leaderId: members[0]!.id,
      recordedSize: 3,
      clusterVersion: undefined,
      lastSnapshotAtWallMs,
      endpoints,
    })?.kind;
  };
  assertEquals(next({}), "allowDowngrade");
  assertEquals(next({ storageVersion: "3.7.0" }), "allowDowngrade");
  assertEquals(next({ storageVersion: "3.6.0" }), "upgrade");
});

Deno.test("an upgrade is done when the cluster's version is raised and every member runs it", () => {
  const { view, own } = cluster(["3.6.14", "3.6.14", "3.6.14"]);
  const outcome = planUpgrade(view, own, "3.7", "p");
  if (outcome.kind === "refused") throw new Error(outcome.why);
  const { plan } = outcome;
  const next = (
    versions: readonly [string, string, string],
    clusterVersion: string | undefined,
    change: Partial<EtcdAnswer> = {},
    listed = members,
  ) => {
    const { endpoints } = cluster(versions, change);
    const operation = nextOperation(plan, {
      members: listed,
      leaderId: "id-b",
      recordedSize: 3,
      clusterVersion,
      lastSnapshotAtWallMs: plan.createdAtWallMs,
      endpoints,
    });
    return operation && `${operation.kind} ${"memberId" in operation ? operation.memberId : ""}`.trim();
  };
  const all = ["3.7.3", "3.7.3", "3.7.3"] as const;
  assertEquals(next(all, "3.6.0"), "clusterVersion");
  assertEquals(next(all, "3.7.0"), undefined);
  // One fell back to the version of its command line before the cluster's was raised.
  assertEquals(next(["3.7.3", "3.6.14", "3.7.3"], "3.6.0"), "upgrade id-b");
  assertEquals(next(["3.7.3", "3.6.14", "3.7.3"], "3.7.0"), "upgrade id-b");
  // Not known: the members' data is proof from 3.6 on.
  assertEquals(next(all, undefined), "clusterVersion");
  assertEquals(next(all, undefined, { storageVersion: "3.6.0" }), "clusterVersion");
  assertEquals(next(all, undefined, { storageVersion: "3.7.0" }), undefined);
  // One that joined meanwhile, and one that does not answer.
  const grown = [...members, member("d")];
  assertEquals(next(all, "3.6.0", {}, grown), "upgrade id-d");
  assertEquals(next(all, "3.7.0", {}, grown), "upgrade id-d");
});

Deno.test("planUpgrade() names itself, and its members by name whatever their order in etcd", () => {
  const order = [members[2]!, members[0]!, members[1]!];
  const upgrade = (to: string, version: string, change: Partial<View> = {}) => {
    // The own answer is the one that was handed over: its endpoint was not asked.
    const endpoints = new Map(
      ["b", "c"].map((name) => [`http://${name}:2379`, answering(answer(name, order, { version }))] as const),
    );
    return planUpgrade(view("a", { endpoints, ...change }), answer("a", order, { version }), to, "p1");
  };
  assertEquals(upgrade("3.7", "3.6.14"), {
    kind: "plan",
    plan: {
      id: "p1",
      purpose: "upgrade",
      text: "upgrade every member to etcd 3.7",
      createdAtWallMs: 1_700_000_000_000,
      operations: [
        { kind: "upgrade", memberId: "id-b", to: "3.7" },
        { kind: "upgrade", memberId: "id-c", to: "3.7" },
        { kind: "moveLeaderFrom", memberId: "id-a" },
        { kind: "upgrade", memberId: "id-a", to: "3.7" },
        { kind: "clusterVersion", to: "3.7" },
      ],
    },
  });
  const back = upgrade("3.6", "3.7.3");
  assertEquals(back.kind === "plan" && back.plan.text, "downgrade every member to etcd 3.6");
});

Deno.test("planUpgrade() of one member alone has nobody to hand the lead to", () => {
  const own = answer("a", [members[0]!]);
  const outcome = planUpgrade(view("a"), own, "3.7", "p1");
  assertEquals(outcome.kind === "plan" && outcome.plan.operations.map(({ kind }) => kind), [
    "upgrade",
    "clusterVersion",
  ]);
});

Deno.test("planUpgrade() refuses, with the reason, what is no version and a cluster that is not well", () => {
  const { view: well, own } = cluster(["3.6.14", "3.6.14", "3.6.14"]);
  const why = (seen: View, asked: EtcdAnswer, to = "3.7") => {
    const outcome = planUpgrade(seen, asked, to, "p1");
    return outcome.kind === "refused" ? outcome.why : outcome.kind;
  };
  assertEquals(why(well, own), "plan");
  assertEquals(why(well, own, "new"), '"new" is not a minor version such as 3.6');
  assertEquals(why(well, own, "4.7"), '"b" runs 3.6.14: another major version');
  assertEquals(why(well, { ...own, linearizable: false }), "the cluster has no quorum now");
  const { leaderId: _, ...leaderless } = own;
  assertEquals(why(well, leaderless), "the cluster has no quorum now");
  const joining = [members[0]!, members[1]!, { ...members[2]!, isLearner: true }];
  assertEquals(why(well, { ...own, members: joining }), "member id-c is joining; wait until it is a voter");
  const { endpoints } = cluster(["3.6.14", "3.6.14", "3.6.14"]);
  endpoints.delete("http://b:2379");
  assertEquals(why({ ...well, endpoints }, own), 'member "b" is unhealthy');
  const unknown = cluster(["3.6.14", "", "3.6.14"]);
  assertEquals(why(unknown.view, unknown.own), 'the version of "b" is not known');
});
