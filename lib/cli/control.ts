/** `e2d scale`, `upgrade`, `defrag`, `cancel`, `pause`, `resume` and `restore approve`: asked of the node that runs on this machine. */
import { E2dError } from "../errors.ts";
import type { ControlAnswer } from "../manager/control.ts";
import { controlPath } from "../manager/place.ts";
import { askControl } from "../sys/control_socket.ts";
import { systemFiles } from "../sys/files.ts";
import { runFlags } from "./run_flags.ts";
import { absolutePath } from "./snapshot_place.ts";
import type { Terminal } from "./terminal.ts";

export interface ControlFlags {
  readonly dataDir?: string | undefined;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** Resolves with 0 when it is done or on its way, 1 when the node refuses. */
export async function control(
  request: Record<string, unknown>,
  { dataDir, dryRun, json }: ControlFlags,
  terminal: Terminal,
): Promise<number> {
  const answer = await askControl(await nodeSocket(dataDir, maybeThere), request) as ControlAnswer;
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

/** Where the unit of systemd keeps its data: see deploy/systemd/e2d.service. */
const unitDataDir = "/var/lib/e2d/etcd";

/**
 * The socket of the node on `dataDir`; without one that of a node on the default data-dir, else that of the unit's node.
 * Throws E2dError `control_unreachable` when neither has a socket.
 */
export async function nodeSocket(
  dataDir: string | undefined,
  isThere: (path: string) => Promise<boolean>,
): Promise<string> {
  if (dataDir) return socketOf(dataDir);
  const places = [runFlags.dataDir.default, unitDataDir].map(socketOf);
  for (const place of places) if (await isThere(place)) return place;
  throw new E2dError("control_unreachable", `Cannot ask a node at "${places.join('" or "')}": neither is there`, {
    hint: "run this on the machine of a node that runs, and pass the --data-dir of that node",
  });
}

const socketOf = (dataDir: string) => controlPath(absolutePath(dataDir).replace(/(?<=.)\/+$/, ""));

/** A folder that this user may not look into counts as having one: who asks is then told that it may not. */
const maybeThere = (path: string) => systemFiles.info(path).then((info) => info !== undefined, () => true);
