/** The spine: events in, one step of the core, effects out. */
import { type Node, step } from "../core/node.ts";
import type { Shell } from "./shell.ts";

/** Runs until the core ends the node; returns the exit status of the process. */
export async function run(node: Node, shell: Shell): Promise<number> {
  for await (const event of shell.events) {
    const next = step(node, event, shell.now());
    node = next.node;
    shell.note(node);
    for (const effect of next.effects) shell.perform(effect);
  }
  return shell.exitCode;
}
