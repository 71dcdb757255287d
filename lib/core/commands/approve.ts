/** `e2d restore approve`: approves one of the alternatives that wait for an operator. */
import type { CommandAnswer } from "../facts/command.ts";
import { planOf } from "../evidence/order.ts";
import type { Turn } from "../state/turn.ts";

/** `name`: the plan to approve. Refuses a plan that neither the wait nor a problem of this node names. */
export function approve(turn: Turn, name: string): CommandAnswer {
  const { node } = turn;
  const { plan } = node.bootstrap.progress;
  const waiting = plan === undefined ? [] : [{
    plan: planOf(plan.digest),
    label: `${plan.source.kind} as epoch ${plan.lineage.epoch}`,
  }];
  const named = [node.reports.waitingFor, ...[...node.reports.problems.values()].map(({ reason }) => reason)]
    .flatMap((reason) => reason?.choices ?? []);
  const choices = named.length > 0 ? named : waiting;
  if (choices.length === 0) return { kind: "refused", why: "no restore waits for an approval at this node" };
  const choice = choices.find(({ plan }) => plan === name);
  if (choice === undefined) {
    const list = choices.map(({ plan, label }) => `${plan} (${label})`).join(", ");
    return { kind: "refused", why: `no plan "${name}" waits for an approval; the waiting plans are ${list}` };
  }
  noteApproved(turn, [choice.plan]);
  return { kind: "done", text: `approved: ${choice.label}` };
}

/** Adds approvals to the settings, where they last as long as the process. */
export function noteApproved(turn: Turn, plans: readonly string[]): void {
  const { node } = turn;
  const added = plans.filter((each) => !node.settings.approved.includes(each));
  if (added.length === 0) return;
  node.settings = { ...node.settings, approved: [...node.settings.approved, ...added] };
  turn.invalidateView();
  for (const plan of added) {
    turn.notice("warn", "approved", { code: "asked_by_operator", text: `restore plan ${plan} is approved` });
  }
}
