/**
 * The folder in which one process prepares one thing for the cache. Its name carries its owner, so two e2d at work on
 * the same archive never write the same file, and what a stopped one left is taken up by exactly one successor:
 *
 *   .download-<archive>              a stopped download, nobody's
 *   .download-<archive>.<owner>.<n>  somebody is at work in it
 */
import type { Files, Staging } from "../ports.ts";

export interface WorkspacePorts {
  files: Pick<Files, "list" | "makeDirectory">;
  staging: Staging;
}

export interface Workspace {
  path: string;
  /** Leaves the folder for a later process to take up; removes it when somebody else has left one already. */
  leave(): Promise<void>;
  remove(): Promise<void>;
}

let claims = 0;

/**
 * Takes up the folder that a stopped process left under `name` in `root`, or makes a fresh one. Leftovers beyond the
 * first are removed, so that crashes cannot fill a disk.
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
