/**
 * Folders for unencrypted databases in transfer. Only this user may access them: a folder that another user may have
 * created or can rename is refused. Removes leftovers of killed processes, and must never remove files of a running one: a
 * process holds a lock in its folder, and a node holds the lock of its data-dir.
 */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { FileLock, Files, Locks, Logger, Staging } from "../ports.ts";

export interface WorkFolderPorts {
  readonly files: Pick<Files, "info" | "list">;
  readonly staging: Pick<Staging, "makeNewFolder" | "remove" | "owner">;
}

const groupOrOthers = 0o077;
const groupWrites = 0o020;
const othersWrite = 0o002;
const sticky = 0o1000;

/** Creates the folder, or uses the existing one. Throws E2dError `work_folder_unsafe`, or what Files and Staging throw. */
export async function requireWorkFolder(path: string, { files, staging }: WorkFolderPorts): Promise<void> {
  await requireParent(path, files);
  try {
    return await staging.makeNewFolder(path);
  } catch (error) {
    if (!isE2dError(error, "file_exists")) throw error;
  }
  const state = await unsafeState(path, files);
  if (state !== undefined) throw unsafe(path, state);
}

/**
 * Others must not be able to rename the folder after it was verified. The own group may write: Kubernetes' fsGroup and
 * private groups give a volume to a user without root that way.
 */
async function requireParent(path: string, files: WorkFolderPorts["files"]): Promise<void> {
  const parent = path.slice(0, path.lastIndexOf("/")) || "/";
  const info = await files.info(parent, { followLinks: true });
  if (info === undefined) {
    throw new E2dError("file_write", `Cannot make the folder "${path}": "${parent}" is not there`);
  }
  const othersCan = (info.mode & othersWrite) !== 0 || (info.mode & groupWrites) !== 0 && info.ownGroup === false;
  if (!othersCan || (info.mode & sticky) !== 0) return;
  throw unsafe(path, `other users can rename what is in "${parent}"`, `chmod go-w ${parent}`);
}

async function unsafeState(path: string, files: WorkFolderPorts["files"]): Promise<string | undefined> {
  const info = await files.info(path);
  if (info?.kind === "symlink") return "it is a symbolic link";
  if (info?.kind !== "directory") return "it is no folder";
  if ((info.owner ?? "self") !== "self") return "it belongs to another user";
  if ((info.mode & groupOrOthers) !== 0) return "other users can get into it";
  return undefined;
}

function unsafe(path: string, state: string, command = `rm -r ${path}`): E2dError {
  return new E2dError("work_folder_unsafe", `Cannot use the work folder "${path}": ${state}`, {
    hint: `plain databases lie there for a while: look at it, then run "${command}"`,
  });
}

/** Removes all files that `keeps` does not name. Leaves a folder alone that another user may have created. Never throws. */
export async function sweepWorkFolder(
  path: string,
  keeps: (name: string) => boolean,
  { files, staging, log }: WorkFolderPorts & { readonly log: Pick<Logger, "warn"> },
): Promise<void> {
  try {
    if (await files.info(path) === undefined) return;
    const state = await unsafeState(path, files);
    if (state !== undefined) return log.warn("leaves the work folder alone", { path, state });
    for (const name of await files.list(path) ?? []) if (!keeps(name)) await staging.remove(`${path}/${name}`);
  } catch (error) {
    log.warn("cannot clean the work folder: it may contain unencrypted data of the cluster", {
      path,
      error: describeError(error),
    });
  }
}

export interface ProcessFolder {
  readonly path: string;
  /** Removes the folder and its content. */
  close(): Promise<void>;
}

const processFolder = /^\.?e2d-work-\d+-[0-9a-f]{8}$/;
const lockWaitMs = 100;

export type ProcessFolderPorts = WorkFolderPorts & { readonly locks: Locks };

/**
 * Creates a folder of this process in `parent`, and removes those of processes that have ended. Throws what
 * requireWorkFolder throws.
 */
export async function openProcessFolder(parent: string, ports: ProcessFolderPorts): Promise<ProcessFolder> {
  const { staging, locks } = ports;
  const path = `${parent}/.e2d-work-${staging.owner}`;
  await requireParent(path, ports.files);
  await sweepProcessFolders(parent, ports);
  await staging.makeNewFolder(path);
  let lock: FileLock | undefined;
  try {
    lock = await locks.take(`${path}/lock`, lockWaitMs);
  } finally {
    if (lock === undefined) await staging.remove(path);
  }
  // Another process may have removed it before the lock was taken.
  if (lock === undefined || await ports.files.info(`${path}/lock`) === undefined) {
    lock?.release();
    throw new E2dError("work_folder_unsafe", `Cannot use the work folder "${path}": another process removed it`, {
      hint: "run the command again",
    });
  }
  return {
    path,
    async close() {
      await staging.remove(path);
      lock.release();
    },
  };
}

async function sweepProcessFolders(parent: string, ports: ProcessFolderPorts): Promise<void> {
  const { files, staging, locks } = ports;
  for (const name of await files.list(parent) ?? []) {
    const path = `${parent}/${name}`;
    if (!processFolder.test(name) || await unsafeState(path, files) !== undefined) continue;
    const lock = await locks.take(`${path}/lock`, lockWaitMs).catch(() => undefined);
    if (lock === undefined) continue;
    await staging.remove(path);
    lock.release();
  }
}
