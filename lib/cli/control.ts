/** `e2d scale`, `upgrade`, `defrag`, `pause`, `resume` and `restore approve`: asked of the node that runs on this machine. */
import type { ControlAnswer } from "../manager/control.ts";
import { controlPath } from "../manager/place.ts";
import { askControl } from "../sys/control_socket.ts";
import type { Terminal } from "./etcd.ts";
import { absolutePath } from "./snapshot_place.ts";

export interface ControlFlags {
  readonly dataDir: string;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** Resolves with 0 when it is done or on its way, 1 when the node refuses. */
export async function control(
  request: Record<string, unknown>,
  { dataDir, dryRun, json }: ControlFlags,
  terminal: Terminal,
): Promise<number> {
  const path = controlPath(absolutePath(dataDir).replace(/(?<=.)\/+$/, ""));
  const answer = await askControl(path, request) as ControlAnswer;
  if (json) terminal.out(`${JSON.stringify(answer, null, 2)}\n`);
  else if (answer.kind === "refused") terminal.err(`e2d: refused: ${answer.why}\n`);
  else {
    terminal.out(`${dryRun ? "would be done" : "on its way"}: ${answer.text}\n`);
    for (const operation of answer.plan?.operations ?? []) {
      const { kind, ...facts } = operation;
      terminal.out(`  ${kind} ${Object.entries(facts).map(([name, value]) => `${name}=${value}`).join(" ")}\n`);
    }
  }
  return answer.kind === "refused" ? 1 : 0;
}
