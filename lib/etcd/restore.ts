/**
 * Makes a member's data-dir from a snapshot file, by etcd's own tool. Nothing shows under the data-dir's `member` before
 * all of it is there, so that an interrupted restore is no data at all and can be done again.
 */
import { E2dError } from "../errors.ts";
import type { FileReader, Files, Processes, Staging } from "../ports.ts";
import type { InitialPeer } from "./args.ts";
import { inspectDataDir, type ValidDataDir } from "./data_dir.ts";
import { runTool } from "./run_tool.ts";

export interface RestoreRequest {
  /** etcdutl of 3.5 and later; etcdctl, for 3.4. The first that is there is used. */
  readonly programs: { readonly etcdutl?: string | undefined; readonly etcdctl?: string | undefined };
  readonly snapshotPath: string;
  /** Absent or empty. */
  readonly dataDir: string;
  readonly name: string;
  readonly peerUrl: string;
  /** All members that start from this snapshot, itself among them. */
  readonly initialCluster: readonly InitialPeer[];
  /** New with each restore, so that no member of the former cluster takes the new one for its own. */
  readonly token: string;
  /**
   * Added to the newest revision, all before it marked as compacted, where the tool can: watchers then resync instead of
   * waiting for revisions that came again with other contents.
   */
  readonly bumpRevision?: number;
  /** For files without etcd's sum at their end: those of the Go e2d. */
  readonly skipHashCheck?: boolean;
}

export interface RestorePorts {
  readonly processes: Processes;
  readonly files: Files;
  readonly staging: Pick<Staging, "remove">;
  readonly reader: FileReader;
}

export interface Restored {
  readonly data: ValidDataDir;
  /** False when this tool cannot bump revisions (3.4, early 3.5): clients that watch must resync by themselves. */
  readonly revisionBumped: boolean;
}

/** More than any cluster writes between two snapshots, and far below the end of numbers: etcd's own recommendation. */
export const defaultRevisionBump = 1_000_000_000;

/** Beside `member`, on the same disk even where the data-dir is a mount point. Dot names do not count as data. */
const workName = ".restoring";

/**
 * Throws E2dError `restore_no_tool`, `restore_target_used`, `restore_failed` with the tool's own words,
 * `restore_unusable` when what it made does not pass the inspection, `process_start`, `file_write`, `disk_full`, or the
 * signal's reason.
 */
export async function restoreSnapshot(
  request: RestoreRequest,
  ports: RestorePorts,
  signal?: AbortSignal,
): Promise<Restored> {
  const { dataDir, programs } = request;
  const tool = programs.etcdutl ?? programs.etcdctl;
  if (tool === undefined) {
    throw new E2dError("restore_no_tool", `Cannot restore to "${dataDir}": neither etcdutl nor etcdctl is there`, {
      hint: "they come with the releases of etcd; point --etcd-dir to a folder that has them",
    });
  }
  await requireFreeTarget(dataDir, ports);
  const work = `${dataDir}/${workName}`;
  await ports.staging.remove(work);
  await ports.files.makeDirectory(dataDir, { mode: 0o700 });
  await moveEmptyAside(dataDir, ports.files);
  const environment = { ETCDCTL_API: "3" };
  try {
    const canBump = request.bumpRevision !== 0 && await offersBump(tool, ports, environment, signal);
    const args = restoreArgs(request, work, canBump);
    const { code, stderr, stdout } = await runTool(ports.processes, tool, args, { environment, signal });
    if (code !== 0) {
      throw new E2dError(
        "restore_failed",
        `Cannot restore snapshot "${request.snapshotPath}" to "${dataDir}": ${words(stderr, stdout, code)}`,
      );
    }
    const made = await inspectDataDir(work, ports);
    if (made.kind !== "valid") {
      const state = made.kind === "damaged" ? made.what : made.kind === "unreadable" ? made.why : "nothing came of it";
      throw new E2dError("restore_unusable", `Cannot use what was restored from "${request.snapshotPath}": ${state}`);
    }
    await ports.files.rename(`${work}/member`, `${dataDir}/member`);
    return { data: made, revisionBumped: canBump };
  } finally {
    await ports.staging.remove(work);
  }
}

/** Nothing is restored over data. Throws E2dError `restore_target_used`. */
export async function requireFreeTarget(
  dataDir: string,
  ports: Pick<RestorePorts, "files" | "reader">,
): Promise<void> {
  const { kind } = await inspectDataDir(dataDir, ports);
  if (kind === "absent" || kind === "empty") return;
  throw new E2dError("restore_target_used", `Cannot restore to "${dataDir}": there is data (${kind})`, {
    hint: "move it aside first",
  });
}

/** Folders that etcd made and put nothing into: even those are not removed. */
async function moveEmptyAside(dataDir: string, files: Files): Promise<void> {
  if (await files.info(`${dataDir}/member`) === undefined) return;
  let number = 1;
  while (await files.info(`${dataDir}/.empty-${number}`) !== undefined) number++;
  await files.rename(`${dataDir}/member`, `${dataDir}/.empty-${number}`);
}

function restoreArgs(request: RestoreRequest, work: string, bump: boolean): string[] {
  const { snapshotPath, name, peerUrl, initialCluster, token, bumpRevision = defaultRevisionBump } = request;
  return [
    "snapshot",
    "restore",
    snapshotPath,
    `--data-dir=${work}`,
    `--name=${name}`,
    `--initial-cluster=${initialCluster.map((peer) => `${peer.name}=${peer.peerUrl}`).join(",")}`,
    `--initial-cluster-token=${token}`,
    `--initial-advertise-peer-urls=${peerUrl}`,
    ...(bump ? [`--bump-revision=${bumpRevision}`, "--mark-compacted"] : []),
    ...(request.skipHashCheck ? ["--skip-hash-check"] : []),
  ];
}

async function offersBump(
  tool: string,
  { processes }: RestorePorts,
  environment: Record<string, string>,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const help = await runTool(processes, tool, ["snapshot", "restore", "--help"], { environment, signal });
  const text = help.stdout + help.stderr;
  return text.includes("--bump-revision") && text.includes("--mark-compacted");
}

/** The tool says "Error: ..." in the end; before that come log lines. */
function words(stderr: string, stdout: string, code: number): string {
  const lines = `${stdout}\n${stderr}`.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const error = lines.findLast((line) => line.startsWith("Error:")) ?? lines.at(-1);
  return error === undefined
    ? `the tool ended with ${code} and no word`
    : error.replace(/^Error:\s*/, "").slice(0, 500);
}
