/**
 * Makes a member's data-dir from a snapshot file with etcd's own tool. The data-dir's `member` appears by one rename when
 * it is complete, so an interrupted restore leaves no data and can be repeated. Never overwrites or removes data.
 */
import { E2dError } from "../../errors.ts";
import type { FileReader, Files, Processes, Staging } from "../../ports.ts";
import type { InitialMember } from "../../facts/etcd.ts";
import { inspectDataDir, type ValidDataDir } from "../data/data_dir.ts";
import { runTool } from "../process/run_tool.ts";

export interface RestoreRequest {
  /** etcdutl came with 3.5 and is preferred; 3.4 restores with etcdctl. */
  readonly programs: { readonly etcdutl?: string | undefined; readonly etcdctl?: string | undefined };
  readonly snapshotPath: string;
  /** Absent or empty. */
  readonly dataDir: string;
  readonly name: string;
  readonly peerUrl: string;
  /** All members that start from this snapshot, this one included. */
  readonly initialCluster: readonly InitialMember[];
  /** New for each restore, so that members of the earlier cluster and of the new one reject each other. */
  readonly token: string;
  /**
   * Added to the newest revision, with all revisions before it marked as compacted, if the tool can: watchers then resync
   * instead of missing revisions that were reused with other contents. Default {@link defaultRevisionBump}.
   */
  readonly bumpRevision?: number;
  /** For files without etcd's checksum at their end: those of the Go e2d. */
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
  /** False when the tool cannot (3.4, early 3.5): clients that watch must then be restarted. */
  readonly revisionBumped: boolean;
}

/** etcd's own recommendation: more than any cluster writes between two snapshots. */
export const defaultRevisionBump = 1_000_000_000;

/** In the data-dir, which may be a mount point, so that the rename stays on one file system. Dot names are not data. */
const workName = ".restoring";

/**
 * Throws E2dError `restore_no_tool`, `restore_target_used`, `restore_failed` with the tool's own message,
 * `restore_unusable` when the new data-dir does not pass the inspection, `process_start`, `file_write`, `disk_full`, or
 * the signal's reason.
 */
export async function restoreSnapshot(
  request: RestoreRequest,
  ports: RestorePorts,
  signal?: AbortSignal,
): Promise<Restored> {
  const { dataDir, programs } = request;
  const tool = programs.etcdutl ?? programs.etcdctl;
  if (tool === undefined) {
    throw new E2dError("restore_no_tool", `Cannot restore to "${dataDir}": neither etcdutl nor etcdctl was found`, {
      hint: "both are in etcd's release archives: pass a folder that has them with --etcd-dir",
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
        `Cannot restore snapshot "${request.snapshotPath}" to "${dataDir}": ${errorText(stderr, stdout, code)}`,
      );
    }
    const made = await inspectDataDir(work, ports);
    if (made.kind !== "valid") {
      const state = made.kind === "damaged" ? made.what : made.kind === "unreadable" ? made.why : "it is empty";
      throw new E2dError(
        "restore_unusable",
        `Cannot use the data-dir restored from "${request.snapshotPath}": ${state}`,
      );
    }
    await ports.files.rename(`${work}/member`, `${dataDir}/member`);
    return { data: made, revisionBumped: canBump };
  } finally {
    await ports.staging.remove(work);
  }
}

/** Throws E2dError `restore_target_used` unless the data-dir is absent or empty. */
export async function requireFreeTarget(
  dataDir: string,
  ports: Pick<RestorePorts, "files" | "reader">,
): Promise<void> {
  const { kind } = await inspectDataDir(dataDir, ports);
  if (kind === "absent" || kind === "empty") return;
  throw new E2dError("restore_target_used", `Cannot restore to "${dataDir}": it has data (${kind})`, {
    hint: `rename it first: mv ${dataDir} ${dataDir}.old`,
  });
}

/** `member` may exist with empty folders only. Even those are renamed, not removed. */
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

/** The tool prints log lines, then "Error: ...". */
function errorText(stderr: string, stdout: string, code: number): string {
  const lines = `${stdout}\n${stderr}`.split("\n").map((line) => line.trim()).filter((line) => line !== "");
  const error = lines.findLast((line) => line.startsWith("Error:")) ?? lines.at(-1);
  return error === undefined
    ? `the tool exited with status ${code} and printed nothing`
    : error.replace(/^Error:\s*/, "").slice(0, 500);
}
