import type { Files } from "../ports.ts";
import { recordPath } from "./node_record.ts";

/**
 * Renames data-dir and record to `<data-dir>.<label>-<time>`; never removes or replaces anything. A data-dir that is a
 * mount point cannot be renamed: then its `member` folder is, inside of it. Returns the new name; undefined when there
 * was nothing to move. Throws what Files throws.
 */
export async function moveAside(
  files: Files,
  dataDir: string,
  label: string,
  wallMs: number,
): Promise<string | undefined> {
  const suffix = `.${label}-${new Date(wallMs).toISOString().replace(/[-:]|\.\d+/g, "")}`;
  const target = await freeName(files, `${dataDir}${suffix}`);
  let moved: string | undefined;
  // The data first: a record without its data means a lost disk, data without its record an older e2d's.
  if (await files.info(dataDir) !== undefined) moved = await moveData(files, dataDir, target, suffix);
  if (await files.info(recordPath(dataDir)) !== undefined) {
    await files.rename(recordPath(dataDir), recordPath(target));
    moved ??= target;
  }
  return moved;
}

async function moveData(files: Files, dataDir: string, target: string, suffix: string): Promise<string | undefined> {
  try {
    await files.rename(dataDir, target);
    return target;
  } catch (error) {
    const member = `${dataDir}/member`;
    const inside = await files.list(dataDir);
    // A mount point, or a parent folder that is not ours to write in.
    if (inside === undefined) throw error;
    if (!inside.includes("member")) return undefined;
    const name = await freeName(files, `${member}${suffix}`);
    await files.rename(member, name);
    return name;
  }
}

/** Two moves in one second get two names. */
async function freeName(files: Files, wanted: string): Promise<string> {
  for (let count = 1;; count++) {
    const name = count === 1 ? wanted : `${wanted}-${count}`;
    if (await files.info(name) === undefined && await files.info(recordPath(name)) === undefined) return name;
  }
}
