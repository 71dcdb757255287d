/**
 * The plan that returns the reclaimable space of databases to the disk (a compaction frees pages within the file): one
 * member at a time, because a member serves no requests meanwhile; followers first, the leader after it has moved the
 * leadership. `e2d defrag` makes it, and the leader's node when enough space is reclaimable.
 */
import { alarmTexts } from "../../facts/etcd.ts";
import { hazards, isSafe } from "../evidence/etcd_hazards.ts";
import type { PlanOutcome } from "./scale.ts";
import { answerOf, changeInProgress, isHealthy } from "../evidence/members.ts";
import type { View } from "../facts/view.ts";
import type { Operation } from "../facts/plan.ts";
import type { DefragThreshold } from "../facts/settings.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import { snapshotHazard } from "../evidence/etcd_hazards.ts";

const mebibyte = 1_048_576;

/** The threshold of `e2d defrag`: less reclaimable space does not justify the interruption. */
export const defragWhenAsked: DefragThreshold = { ratio: 0.1, minBytes: mebibyte };

/** True if the reclaimable space of the file reaches both limits. */
export function isWorthDefrag(
  { dbSizeBytes, dbInUseBytes }: Pick<EtcdAnswer, "dbSizeBytes" | "dbInUseBytes">,
  { ratio, minBytes }: DefragThreshold,
): boolean {
  const freeBytes = dbSizeBytes - dbInUseBytes;
  return freeBytes >= minBytes && freeBytes >= dbSizeBytes * ratio;
}

/** `own`: a fresh linearizable answer; `id`: the name of the plan. */
export function planDefrag(view: View, own: EtcdAnswer, threshold: DefragThreshold, id: string): PlanOutcome {
  const why = refusalToDefrag(view, own);
  if (why !== undefined) return { kind: "refused", why };
  const followersFirst = [...own.members].sort((a, b) =>
    Number(a.id === own.leaderId) - Number(b.id === own.leaderId) || (a.name < b.name ? -1 : 1)
  );
  const operations: Operation[] = [];
  const names: string[] = [];
  for (const member of followersFirst) {
    const answer = member.id === own.memberId ? own : answerOf(member, view)!;
    if (!isWorthDefrag(answer, threshold)) continue;
    if (member.id === own.leaderId && own.members.length > 1) {
      operations.push({ kind: "moveLeaderFrom", memberId: member.id });
    }
    operations.push({ kind: "defragment", memberId: member.id, sizeBytes: answer.dbSizeBytes });
    const freeMebibytes = Math.floor((answer.dbSizeBytes - answer.dbInUseBytes) / mebibyte);
    names.push(`"${member.name}" (${freeMebibytes} of ${Math.floor(answer.dbSizeBytes / mebibyte)} MiB free)`);
  }
  if (names.length === 0) {
    const percent = Math.round(threshold.ratio * 100);
    return {
      kind: "refused",
      why: `no member has ${Math.ceil(threshold.minBytes / mebibyte)} MiB and ${percent} % of its database free`,
    };
  }
  const text = `defragment ${names.join(", ")}`;
  return { kind: "plan", plan: { id, purpose: "defrag", text, createdAtWallMs: view.nowWallMs, operations } };
}

/**
 * True if an incoming raft snapshot during a defragmentation is harmless on the release of every member. Otherwise e2d
 * defragments only under NOSPACE or on request: under many writes the blocked member may itself come to need a snapshot.
 */
export function isSafeToDefragUnasked(view: View, own: EtcdAnswer): boolean {
  return own.members.every((member) =>
    isSafe(hazards.defragBesideSnapshot, (member.id === own.memberId ? own : answerOf(member, view))?.version)
  );
}

/**
 * Why no member may be defragmented now; undefined: one may. A member that still runs a defragmentation of the previous
 * leader answers a status call and no read: it counts as busy.
 */
export function refusalToDefrag(view: View, own: EtcdAnswer): string | undefined {
  if (!own.linearizable || own.leaderId === undefined) return "the cluster has no quorum now";
  const joining = changeInProgress(own.members);
  if (joining !== undefined) return `member ${joining.id} is joining; wait until it is a voter`;
  for (const member of own.members) {
    const answer = member.id === own.memberId ? own : answerOf(member, view);
    if (answer === undefined || !isHealthy(member, own, view)) return `member "${member.name}" is unhealthy`;
    if (!answer.linearizable) return `member "${member.name}" serves no reads`;
    const [alarm] = alarmTexts(answer);
    if (alarm !== undefined) return `member "${member.name}" raises the alarm ${alarm}`;
    const snapshot = snapshotHazard(member, answer, own);
    if (snapshot !== undefined) return snapshot;
  }
  return undefined;
}
