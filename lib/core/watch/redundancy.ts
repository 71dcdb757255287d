/** Reports reduced redundancy of the cluster on every serving node. */
import { freshAnswer } from "../evidence/members.ts";
import { codes, missingVoters, type ReducedRedundancy, silentVoters } from "../rules/membership/redundancy.ts";
import type { Turn } from "../state/turn.ts";
import { electionsMs } from "../rules/recovery_outlook.ts";

/** A joiner that is started together with the members, and the end of a scaling, take less time. */
export const missingAfterMs = 10_000;

/** Called in each turn. */
export function watchRedundancy(turn: Turn): void {
  const { node, view, now } = turn;
  const own = freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
  if (node.phase !== "serving" || leaderlessForMs(turn) >= electionsMs) {
    node.membership.fewVotersSinceMs = undefined;
    for (const code of Object.values(codes)) turn.resolve(code);
    return;
  }
  // During an election there is no new information: the reports stay as they are.
  if (own === undefined || own.leaderId === undefined || !own.linearizable) return;
  const silent = silentVoters(view, own, node.maintenance.plan);
  const few = missingVoters(view, own, node.maintenance.plan);
  node.membership.fewVotersSinceMs = few === undefined
    ? undefined
    : node.membership.fewVotersSinceMs ?? now.monotonicMs;
  // A silent member that is removed is missing at once: the report continues without a gap.
  const wasReported = node.reports.problems.has(codes.silent) || node.reports.problems.has(codes.few);
  const lasts = wasReported ||
    now.monotonicMs - (node.membership.fewVotersSinceMs ?? now.monotonicMs) >= missingAfterMs;
  update(turn, codes.few, lasts ? few : undefined);
  update(turn, codes.silent, silent);
}

function update(turn: Turn, code: string, found: ReducedRedundancy | undefined): void {
  if (found === undefined) turn.resolve(code);
  else turn.report(found.level, found.reason, { keepsReady: true });
}

function leaderlessForMs({ node, now }: Turn): number {
  return node.ownEtcd.leaderlessSinceMs === undefined ? 0 : now.monotonicMs - node.ownEtcd.leaderlessSinceMs;
}
