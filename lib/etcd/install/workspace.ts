/**
 * Owns the folders in which a process prepares an entry of the cache. A folder's name contains its owner, so two e2d that
 * work on the same archive never write the same file, and exactly one later process continues an interrupted download:
 *
 *   .download-<archive>              an interrupted download without an owner
 *   .download-<archive>.<owner>.<n>  in use by that owner
 */
import type { Files, Staging } from "../../ports.ts";

export interface WorkspacePorts {
  files: Pick<Files, "list" | "makeDirectory">;
  staging: Staging;
}

export interface Workspace {
  path: string;
  /** Leaves the folder to a later process; removes it when another process has left one already. */
  leave(): Promise<void>;
  remove(): Promise<void>;
}

let claims = 0;

/**
 * Takes over the folder that an earlier process left under `name` in `root`, or makes a new one. Further leftovers are
 * removed, so that repeated crashes cannot fill the disk.
 */
export async function claimWorkspace(root: string, name: string, ports: WorkspacePorts): Promise<Workspace> {
  const { files, staging } = ports;
  await files.makeDirectory(root);
  const own = `${root}/${name}.${staging.owner}.${++claims}`;
  let claimed = false;
  for (const entry of await files.list(root) ?? []) {
    if (!await isFree(entry, name, staging)) continue;
    if (claimed) await staging.remove(`${root}/${entry}`);
    else claimed = await staging.moveFolder(`${root}/${entry}`, own) === "moved";
  }
  if (!claimed) await files.makeDirectory(own, { mode: 0o700 });
  return {
    path: own,
    async leave() {
      if (await staging.moveFolder(own, `${root}/${name}`) === "taken") await staging.remove(own);
    },
    remove: () => staging.remove(own),
  };
}

async function isFree(entry: string, name: string, staging: Staging): Promise<boolean> {
  if (entry === name) return true;
  if (!entry.startsWith(`${name}.`)) return false;
  const owner = /^([0-9A-Za-z-]+)\.\d+$/.exec(entry.slice(name.length + 1))?.[1];
  return owner !== undefined && !await staging.ownerRuns(owner);
}
