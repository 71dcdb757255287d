/**
 * The plan of `e2d upgrade --to 3.N`: a snapshot, then the followers one at a time, then the leader's place is handed
 * over and its member comes last. One minor version at a time, and never along a path that is known to be bad. The way
 * back is the same, after etcd has been told to make its data the older version's.
 */
import { parseVersion } from "./etcd_version.ts";
import type { Operation } from "./plan.ts";
import type { PlanOutcome } from "./plan_scale.ts";
import { answerOf, changeInProgress, isHealthy } from "./quorum.ts";
import type { EtcdAnswer, View } from "./view.ts";

/**
 * Members of 3.5 before 3.5.26 may carry removed members over into 3.6, where they come back to life
 * (etcd's «zombie members» notice of 2025).
 */
const lastBadPatchOf35 = 25;
/** Before it etcd has no way to make its data an older version's. */
const firstMinorThatGoesBack = 6;

/** `own` is a fresh linearizable answer; `id` is random and names the plan; `to` is a minor version, "3.6". */
export function planUpgrade(view: View, own: EtcdAnswer, to: string, id: string): PlanOutcome {
  const refused = (why: string): PlanOutcome => ({ kind: "refused", why });
  const target = parseVersion(to);
  if (target === undefined) return refused(`"${to}" is no version: 3.6 would be one`);
  if (!own.linearizable || own.leaderId === undefined) return refused("the cluster has no quorum now");
  const busy = changeInProgress(own.members);
  if (busy !== undefined) return refused(`member ${busy.id} is joining; wait until it votes`);
  const sick = own.members.find((member) => !isHealthy(member, own, view));
  if (sick !== undefined) return refused(`member "${sick.name}" is sick`);

  const followersFirst = [...own.members].sort((a, b) =>
    Number(a.id === own.leaderId) - Number(b.id === own.leaderId) || (a.name < b.name ? -1 : 1)
  );
  const short = `${target.major}.${target.minor}`;
  const operations: Operation[] = view.settings.snapshots ? [{ kind: "snapshot" }] : [];
  const directions = new Set<"forward" | "back">();
  for (const member of followersFirst) {
    const text = (member.id === own.memberId ? own : answerOf(member, view))?.version;
    const version = text === undefined ? undefined : parseVersion(text);
    if (version === undefined) return refused(`the version of "${member.name}" is not known`);
    if (version.major !== target.major) return refused(`"${member.name}" runs ${text}: another major version`);
    if (version.minor === target.minor) continue;
    const back = version.minor > target.minor;
    if (Math.abs(version.minor - target.minor) > 1) {
      return refused(`"${member.name}" runs ${text}; go to ${version.major}.${version.minor + (back ? -1 : 1)} first`);
    }
    if (back && version.minor < firstMinorThatGoesBack) {
      return refused(`"${member.name}" runs ${text}, which cannot go back: only 3.6 and later can`);
    }
    if (!back && version.minor === 5 && version.patch <= lastBadPatchOf35) {
      return refused(`"${member.name}" runs ${text}; go to 3.5.26 or later first, or removed members may come back`);
    }
    directions.add(back ? "back" : "forward");
    if (back && !operations.some(({ kind }) => kind === "allowDowngrade")) {
      operations.push({ kind: "allowDowngrade", to: short });
    }
    if (member.id === own.leaderId && own.members.length > 1) {
      operations.push({ kind: "moveLeaderFrom", memberId: member.id });
    }
    operations.push({ kind: "upgrade", memberId: member.id, to: short });
  }
  if (directions.size === 0) return refused(`every member runs ${to} already`);
  if (directions.size > 1) return refused(`some members run an older and some a newer etcd than ${short}`);
  const text = directions.has("back")
    ? `take every member back to etcd ${short}`
    : `upgrade every member to etcd ${short}`;
  return { kind: "plan", plan: { id, purpose: "upgrade", text, createdAtWallMs: view.nowWallMs, operations } };
}
