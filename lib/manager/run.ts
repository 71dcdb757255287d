/** The event loop of a node: takes one event, runs one step of the core, executes its effects. */
import { step } from "../core/step.ts";
import type { EffectRunner } from "./effect_runner.ts";
import type { NodeState } from "../core/state/state.ts";
import type { LatestState } from "./node/latest_state.ts";

/** Runs until the core ends the node; returns the exit status of the process. Keeps `latest` after each step. */
export async function run(node: NodeState, runner: EffectRunner, latest: LatestState): Promise<number> {
  for await (const event of runner.events) {
    const next = step(node, event, runner.now());
    node = next.node;
    latest.node = node;
    for (const effect of next.effects) runner.perform(effect);
  }
  return runner.exitCode;
}
