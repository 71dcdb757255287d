import { nextOperation } from "../../lib/core/plan.ts";
import { planUpgrade } from "../../lib/core/plan_upgrade.ts";
import type { EtcdAnswer } from "../../lib/core/view.ts";
import { assertEquals } from "../support/assert.ts";
import { answer, answering, member, settings, view } from "./facts.ts";

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
  const all = "snapshot, upgrade b, upgrade c, moveLeaderFrom a, upgrade a";
  assertEquals(planned(["3.6.1", "3.6.1", "3.6.1"], "3.7"), all);
  assertEquals(planned(["3.6.1", "3.7.0", "3.6.1"], "3.7"), "snapshot, upgrade c, moveLeaderFrom a, upgrade a");
});

Deno.test("planUpgrade() goes back one minor after etcd has allowed it", () => {
  const back = "snapshot, allowDowngrade, upgrade b, upgrade c, moveLeaderFrom a, upgrade a";
  assertEquals(planned(["3.7.3", "3.7.3", "3.7.3"], "3.6"), back);
  // Broken off half way.
  assertEquals(planned(["3.7.3", "3.6.14", "3.7.3"], "3.6"), back.replace("upgrade b, ", ""));
  assertEquals(planned(["3.6.1", "3.6.1", "3.6.1"], "3.5"), back);
});

Deno.test("planUpgrade() refuses leaps, ways that are known to be bad, and ways that there are not", () => {
  assertEquals(planned(["3.5.30", "3.5.30", "3.5.30"], "3.7"), '"b" runs 3.5.30; go to 3.6 first');
  assertEquals(planned(["3.7.3", "3.7.3", "3.7.3"], "3.5"), '"b" runs 3.7.3; go to 3.6 first');
  const bad = '"b" runs 3.5.25; go to 3.5.26 or later first, or removed members may come back';
  assertEquals(planned(["3.5.25", "3.5.25", "3.5.25"], "3.6"), bad);
  const none = '"b" runs 3.5.30, which cannot go back: only 3.6 and later can';
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
      lastSnapshotAtWallMs,
      endpoints,
    })?.kind;
  };
  assertEquals(next({}), "allowDowngrade");
  assertEquals(next({ storageVersion: "3.7.0" }), "allowDowngrade");
  assertEquals(next({ storageVersion: "3.6.0" }), "upgrade");
});
