/**
 * `e2d scale`, `upgrade`, `defrag`, `cancel`, `pause`, `resume`, `hold` and `restore approve`: sends an admin request to
 * the control socket of a node on this machine, and prints its answer.
 */
import { E2dError } from "../errors.ts";
import type { CommandAnswer } from "../core/facts/command.ts";
import { controlPath } from "../manager/data_dir/permissions.ts";
import { askControl } from "../sys/control_socket.ts";
import { systemFiles } from "../sys/files.ts";
import { runFlags } from "./flags/run_flags.ts";
import { absolutePath } from "./snapshot_place.ts";
import type { Terminal } from "./terminal.ts";

export interface ControlFlags {
  readonly dataDir?: string | undefined;
  readonly dryRun: boolean;
  readonly json: boolean;
}

/** Resolves with the exit status: 0 if the node has done or accepted the request, 1 if it refuses. */
export async function control(
  request: Record<string, unknown>,
  { dataDir, dryRun, json }: ControlFlags,
  terminal: Terminal,
): Promise<number> {
  const answer = await askControl(await nodeSocket(dataDir, existsOrHidden), request) as CommandAnswer;
  if (json) terminal.out(`${JSON.stringify(answer, null, 2)}\n`);
  else if (answer.kind === "refused") terminal.err(`e2d: refused: ${answer.why}\n`);
  else {
    const state = dryRun ? "would be done" : answer.immediate === true ? "done" : "accepted";
    terminal.out(`${state}: ${answer.text}\n`);
    for (const operation of answer.plan?.operations ?? []) {
      const { kind, ...facts } = operation;
      terminal.out(`  ${kind} ${Object.entries(facts).map(([name, value]) => `${name}=${value}`).join(" ")}\n`);
    }
  }
  return answer.kind === "refused" ? 1 : 0;
}

/** E2D_DATA_DIR of deploy/systemd/e2d.service. */
const unitDataDir = "/var/lib/e2d/etcd";

/**
 * The control socket of the node on `dataDir`. Without `dataDir`: the socket of the default data-dir, otherwise that of
 * the systemd unit's data-dir, whichever exists first. Throws E2dError `control_unreachable` if neither exists.
 */
export async function nodeSocket(
  dataDir: string | undefined,
  exists: (path: string) => Promise<boolean>,
): Promise<string> {
  if (dataDir) return socketOf(dataDir);
  const sockets = [runFlags.dataDir.default, unitDataDir].map(socketOf);
  for (const socket of sockets) if (await exists(socket)) return socket;
  throw new E2dError("control_unreachable", `Cannot connect to a node at "${sockets.join('" or "')}": no such socket`, {
    hint: "run this command on the machine of a running node, and pass the --data-dir of that node",
  });
}

const socketOf = (dataDir: string) => controlPath(absolutePath(dataDir).replace(/(?<=.)\/+$/, ""));

/** True also for a folder that this user may not read: connecting then fails with an error that names the permission. */
const existsOrHidden = (path: string) => systemFiles.info(path).then((info) => info !== undefined, () => true);
