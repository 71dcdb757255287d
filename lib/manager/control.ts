/** What an operator may ask of a running node, and what comes of it. Plans are made by the core; this only hands them on. */
import type { Event } from "../core/event.ts";
import { type Node, viewOf } from "../core/node.ts";
import type { Plan } from "../core/plan.ts";
import { type PlanOutcome, planScale } from "../core/plan_scale.ts";
import { defragWhenAsked, planDefrag } from "../core/plan_defrag.ts";
import { planUpgrade } from "../core/plan_upgrade.ts";
import type { EtcdAnswer } from "../core/view.ts";
import { freshAnswer } from "../core/quorum.ts";
import { object, text } from "./json.ts";

export type ControlAnswer =
  | { readonly kind: "done"; readonly text: string; readonly plan?: Plan }
  | { readonly kind: "refused"; readonly why: string };

export interface ControlSources {
  readonly node: () => Node | undefined;
  readonly now: () => { monotonicMs: number; wallMs: number };
  readonly newId: () => string;
  readonly deliver: (event: Event) => void;
  /** Asks all members before a plan is made, so that it rests on what is so now. */
  readonly askMembers: (endpoints: readonly string[]) => Promise<void>;
  /** Writes, or removes, the mark that all nodes of the cluster go by. */
  readonly setPaused: (paused: boolean) => Promise<void>;
  /** Takes the plan that was last read out of etcd. Throws E2dError `plan_changed` when another one is there. */
  readonly dropPlan: () => Promise<void>;
  readonly approve: (plan: string) => void;
}

const refused = (why: string): ControlAnswer => ({ kind: "refused", why });

/** Answers whatever comes; what it does not know it refuses. */
export async function handleControl(request: unknown, sources: ControlSources): Promise<ControlAnswer> {
  try {
    const asked = object(request);
    const dryRun = asked.dryRun === true;
    switch (asked.command) {
      case "scale":
        return await carry(
          (node, own, id) => planScale(view(node, sources), own, Number(asked.to), id),
          dryRun,
          sources,
        );
      case "upgrade":
        return await carry(
          (node, own, id) => planUpgrade(view(node, sources), own, text(asked.to), id),
          dryRun,
          sources,
        );
      case "defrag":
        return await carry(
          (node, own, id) => planDefrag(view(node, sources), own, defragWhenAsked, id),
          dryRun,
          sources,
        );
      case "pause":
      case "resume": {
        const paused = asked.command === "pause";
        if (!dryRun) await sources.setPaused(paused);
        return {
          kind: "done",
          text: paused ? "all automatic action of the cluster pauses" : "automatic action goes on",
        };
      }
      case "cancel":
        return await cancel(dryRun, sources);
      case "approve":
        return approve(text(asked.plan), sources);
      default:
        return refused(`there is no command "${asked.command}"`);
    }
  } catch (error) {
    return refused(error instanceof Error ? error.message : String(error));
  }
}

const view = (node: Node, sources: ControlSources) => viewOf(node, sources.now());

async function carry(
  make: (node: Node, own: EtcdAnswer, id: string) => PlanOutcome,
  dryRun: boolean,
  sources: ControlSources,
): Promise<ControlAnswer> {
  const before = sources.node();
  if (before === undefined || before.phase !== "serving") return refused("this node does not serve now");
  const known = ownAnswer(before, sources);
  if (known === undefined) return refused("the own etcd gives no answer with a quorum now");
  await sources.askMembers(known.members.flatMap(({ clientUrls }) => clientUrls.slice(0, 1)));
  const node = sources.node()!;
  if (node.plan !== undefined) return refused(`"${node.plan.text}" is not done yet`);
  const own = ownAnswer(node, sources);
  if (own === undefined) return refused("the own etcd gives no answer with a quorum now");
  const outcome = make(node, own, sources.newId());
  if (outcome.kind === "refused") return outcome;
  const { plan } = outcome;
  if (!dryRun) sources.deliver({ kind: "request", plan });
  return { kind: "done", text: plan.text, plan };
}

/** What was done stays done: a plan is a row of changes, each of which leaves a cluster that works. */
async function cancel(dryRun: boolean, { node, dropPlan, deliver }: ControlSources): Promise<ControlAnswer> {
  const plan = node()?.plan;
  if (plan === undefined) return refused("no plan is under way");
  if (!dryRun) {
    await dropPlan();
    deliver({ kind: "plan" });
  }
  return { kind: "done", text: `"${plan.text}" is given up; what was done of it stays` };
}

function ownAnswer(node: Node, sources: ControlSources): EtcdAnswer | undefined {
  return freshAnswer(node.endpoints.get(node.self.clientUrl), sources.now().monotonicMs);
}

/** As the core names plans to people. */
const planNameChars = 16;

function approve(name: string, { node, approve }: ControlSources): ControlAnswer {
  const founding = node()?.progress.founding;
  if (founding === undefined) return refused("no restore waits for an approval here");
  const plan = founding.digest.slice(0, planNameChars);
  if (name !== plan) return refused(`the plan that waits is ${plan}`);
  approve(plan);
  return { kind: "done", text: `approved: ${founding.source.kind} as epoch ${founding.lineage.epoch}` };
}
