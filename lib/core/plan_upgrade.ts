/**
 * The plan of `e2d upgrade --to 3.N`: a snapshot, then the followers one at a time, then the leader's place is handed
 * over and its member comes last. One minor version at a time, and never along a path that is known to be bad.
 */
import type { Operation } from "./plan.ts";
import type { PlanOutcome } from "./plan_scale.ts";
import { answerOf, changeInProgress, isHealthy } from "./quorum.ts";
import type { EtcdAnswer, View } from "./view.ts";

interface Version {
  readonly major: number;
  readonly minor: number;
  readonly patch: number;
}

function parseVersion(text: string): Version | undefined {
  const match = /^(\d+)\.(\d+)(?:\.(\d+))?/.exec(text);
  if (match === null) return undefined;
  return { major: Number(match[1]), minor: Number(match[2]), patch: Number(match[3] ?? 0) };
}

/**
 * Members of 3.5 before 3.5.26 may carry removed members over into 3.6, where they come back to life
 * (etcd's «zombie members» notice of 2025).
 */
const lastBadPatchOf35 = 25;

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
  const operations: Operation[] = view.settings.snapshots ? [{ kind: "snapshot" }] : [];
  for (const member of followersFirst) {
    const text = (member.id === own.memberId ? own : answerOf(member, view))?.version;
    const version = text === undefined ? undefined : parseVersion(text);
    if (version === undefined) return refused(`the version of "${member.name}" is not known`);
    if (version.major !== target.major) return refused(`"${member.name}" runs ${text}: another major version`);
    if (version.minor === target.minor) continue;
    if (version.minor > target.minor) return refused(`"${member.name}" runs ${text}; going back is a downgrade`);
    if (version.minor < target.minor - 1) {
      return refused(`"${member.name}" runs ${text}; go to ${version.major}.${version.minor + 1} first`);
    }
    if (version.minor === 5 && version.patch <= lastBadPatchOf35) {
      return refused(`"${member.name}" runs ${text}; go to 3.5.26 or later first, or removed members may come back`);
    }
    const short = `${target.major}.${target.minor}`;
    if (member.id === own.leaderId && own.members.length > 1) {
      operations.push({ kind: "moveLeaderFrom", memberId: member.id });
    }
    operations.push({ kind: "upgrade", memberId: member.id, to: short });
  }
  if (!operations.some((operation) => operation.kind === "upgrade")) return refused(`every member runs ${to} already`);
  const text = `upgrade every member to etcd ${target.major}.${target.minor}`;
  return { kind: "plan", plan: { id, purpose: "upgrade", text, createdAtWallMs: view.nowWallMs, operations } };
}
