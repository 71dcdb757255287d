/** Reports reduced redundancy of the cluster: a standing problem of every node that serves. */
import { freshAnswer } from "../evidence/members.ts";
import { codes, missingVoters, type ReducedRedundancy, silentVoters } from "../rules/membership/redundancy.ts";
import type { Turn } from "../state/turn.ts";
import { electionsMs } from "../rules/recovery_outlook.ts";

/** A joiner that was started with the others, and the end of a scaling, take less. */
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
  // During an election nothing new is known: what was reported stands.
  if (own === undefined || own.leaderId === undefined || !own.linearizable) return;
  const silent = silentVoters(view, own, node.maintenance.plan);
  const few = missingVoters(view, own, node.maintenance.plan);
  node.membership.fewVotersSinceMs = few === undefined
    ? undefined
    : node.membership.fewVotersSinceMs ?? now.monotonicMs;
  // A member that was silent and is removed is missing at once: the problem has no gap.
  const stood = node.reports.problems.has(codes.silent) || node.reports.problems.has(codes.few);
  const lasts = stood || now.monotonicMs - (node.membership.fewVotersSinceMs ?? now.monotonicMs) >= missingAfterMs;
  keep(turn, codes.few, lasts ? few : undefined);
  keep(turn, codes.silent, silent);
}

function keep(turn: Turn, code: string, found: ReducedRedundancy | undefined): void {
  if (found === undefined) turn.resolve(code);
  else turn.report(found.level, found.reason, { keepsReady: true });
}

function leaderlessForMs({ node, now }: Turn): number {
  return node.ownEtcd.leaderlessSinceMs === undefined ? 0 : now.monotonicMs - node.ownEtcd.leaderlessSinceMs;
}
