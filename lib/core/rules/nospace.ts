/**
 * The reaction of the leader's node to a full database (the alarm NOSPACE). No key can be written, so this is a single effect
 * and no plan in etcd; after an interruption the next leader's node starts it again. Its steps are those of etcd's
 * maintenance guide: compact, defragment, disarm.
 */
import { hasAlarm } from "../../facts/etcd.ts";
import { answerOf, isHealthy } from "../evidence/members.ts";
import type { View } from "../facts/view.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import type { Reason } from "../facts/reason.ts";
import { snapshotHazard } from "../evidence/etcd_hazards.ts";

export type ReclaimDecision =
  | { readonly kind: "nothing" }
  /** Client URLs, the own one last: it leads. */
  | { readonly kind: "reclaim"; readonly endpoints: readonly string[]; readonly reason: Reason }
  | { readonly kind: "wait"; readonly reason: Reason };

/** True under the alarm NOSPACE of any member. */
export const isNoSpace = (answer: EtcdAnswer): boolean => hasAlarm(answer, "NOSPACE");

/** `own` leads. One member at a time stops serving, so all others must serve first. */
export function decideReclaim(view: View, own: EtcdAnswer): ReclaimDecision {
  if (!isNoSpace(own)) return { kind: "nothing" };
  const endpoints: string[] = [];
  for (const member of own.members) {
    const answer = member.id === own.memberId ? own : answerOf(member, view);
    const url = member.clientUrls[0];
    if (url === undefined || answer === undefined || !answer.linearizable || !isHealthy(member, own, view)) {
      const reason: Reason = {
        code: "nospace_waits",
        text: `the database is full, and "${member.name || member.id}" does not serve: nothing is stopped meanwhile`,
        hint: "bring that member back; keys can be deleted all the same",
      };
      return { kind: "wait", reason };
    }
    const hazard = snapshotHazard(member, answer, own);
    if (hazard !== undefined) {
      return { kind: "wait", reason: { code: "nospace_waits", text: `the database is full, and ${hazard}` } };
    }
    if (member.id !== own.memberId) endpoints.push(url);
  }
  const mine = own.members.find(({ id }) => id === own.memberId)?.clientUrls[0];
  if (mine === undefined) return { kind: "nothing" };
  const text = "the database is full: old revisions are forgotten, members defragmented, the alarm is disarmed";
  return { kind: "reclaim", endpoints: [...endpoints.sort(), mine], reason: { code: "database_full", text } };
}
