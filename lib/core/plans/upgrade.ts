/**
 * The plan of `e2d upgrade --to 3.N`: a snapshot, then the followers one at a time, then the leader's member after it has
 * moved the leadership. It is done when etcd has raised the cluster version: until then a member that restarts with its
 * former version stays on it. One minor version at a time, and never along a path with a known hazard. A downgrade follows
 * the same order after etcd's own downgrade is enabled.
 */
import { advisedPatch, installCommand, upgradeHazard } from "../evidence/etcd_hazards.ts";
import type { PlanOutcome } from "./scale.ts";
import { answerOf, changeInProgress, isHealthy } from "../evidence/members.ts";
import type { View } from "../facts/view.ts";
import type { Operation } from "../facts/plan.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import { minorOf, parseReportedVersion } from "../../facts/etcd_version.ts";

/** The first minor version of etcd that supports a downgrade. */
const firstMinorWithDowngrade = 6;

/** `own`: a fresh linearizable answer; `to`: a minor version, "3.6"; `id`: random, the name of the plan. */
export function planUpgrade(view: View, own: EtcdAnswer, to: string, id: string): PlanOutcome {
  const refused = (why: string): PlanOutcome => ({ kind: "refused", why });
  const target = parseReportedVersion(to);
  if (target === undefined) return refused(`"${to}" is not a minor version such as 3.6`);
  if (!own.linearizable || own.leaderId === undefined) return refused("the cluster has no quorum now");
  const busy = changeInProgress(own.members);
  if (busy !== undefined) return refused(`member ${busy.id} is joining; wait until it is a voter`);
  const unhealthy = own.members.find((member) => !isHealthy(member, own, view));
  if (unhealthy !== undefined) return refused(`member "${unhealthy.name}" is unhealthy`);

  const followersFirst = [...own.members].sort((a, b) =>
    Number(a.id === own.leaderId) - Number(b.id === own.leaderId) || (a.name < b.name ? -1 : 1)
  );
  const short = `${target.major}.${target.minor}`;
  const operations: Operation[] = view.settings.snapshots ? [{ kind: "snapshot" }] : [];
  const directions = new Set<"forward" | "back">();
  for (const member of followersFirst) {
    const { version: text } = member.id === own.memberId ? own : answerOf(member, view)!;
    const version = parseReportedVersion(text);
    if (version === undefined) return refused(`the version of "${member.name}" is not known`);
    if (version.major !== target.major) return refused(`"${member.name}" runs ${text}: another major version`);
    if (version.minor === target.minor) continue;
    const back = version.minor > target.minor;
    if (Math.abs(version.minor - target.minor) > 1) {
      const first = `${version.major}.${version.minor + (back ? -1 : 1)}`;
      return refused(`"${member.name}" runs ${text}; go to ${first} first`);
    }
    if (back && version.minor < firstMinorWithDowngrade) {
      return refused(`"${member.name}" runs ${text}, which has no downgrade: etcd has it since 3.6`);
    }
    const hazard = back ? undefined : upgradeHazard(version);
    if (hazard !== undefined) return refused(patchFirst(member.name, text, hazard));
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
  operations.push({ kind: "clusterVersion", to: short });
  if (directions.size > 1) return refused(`some members run an older and some a newer etcd than ${short}`);
  const text = `${directions.has("back") ? "downgrade" : "upgrade"} every member to etcd ${short}`;
  return { kind: "plan", plan: { id, purpose: "upgrade", text, createdAtWallMs: view.nowWallMs, operations } };
}

/** e2d upgrades minor versions; a patch release is installed with `--etcd-version` at a restart of the node. */
function patchFirst(name: string, version: string, { from, why }: { from: string; why: string }): string {
  const minor = minorOf(version);
  return `"${name}" runs ${version}, and ${why} before ${from}: go to ${advisedPatch(minor)} first; ` +
    `on each node in turn run: ${installCommand(minor)}, then restart e2d with --etcd-version=${advisedPatch(minor)}`;
}
