/** Renames a data-dir that must not be used any more. Never deletes or replaces anything. */
import type { Files } from "../../ports.ts";
import { recordPath } from "./node_record.ts";

export interface QuarantineOptions {
  readonly label: string;
  readonly wallMs: number;
  /** Leaves the node record in place, and quarantines a copy of it: the record exists at every moment. */
  readonly keepRecord: boolean;
}

/**
 * Renames the data-dir and the node record to `<data-dir>.<label>-<time>`. A data-dir that is a mount point cannot be
 * renamed: its `member` folder is renamed inside it instead. Returns the new path; undefined when nothing was there.
 * Throws what Files throws.
 */
export async function quarantineDataDir(
  files: Files,
  dataDir: string,
  { label, wallMs, keepRecord }: QuarantineOptions,
): Promise<string | undefined> {
  const suffix = `.${label}-${new Date(wallMs).toISOString().replace(/[-:]|\.\d+/g, "")}`;
  const target = await freeName(files, `${dataDir}${suffix}`);
  const hasData = await files.info(dataDir) !== undefined;
  if (keepRecord) {
    if (!hasData) return undefined;
    // The copy first: data that an operator puts back without its record would have no lineage.
    const record = await files.readText(recordPath(dataDir));
    if (record !== undefined) await files.writeNew(recordPath(target), record, { mode: 0o600 });
    return await renameData(files, dataDir, target, suffix);
  }
  // The data first: after a crash, a record without data means a lost disk, data without a record the Go original.
  let moved = hasData ? await renameData(files, dataDir, target, suffix) : undefined;
  if (await files.info(recordPath(dataDir)) !== undefined) {
    await files.rename(recordPath(dataDir), recordPath(target));
    moved ??= target;
  }
  return moved;
}

async function renameData(files: Files, dataDir: string, target: string, suffix: string): Promise<string | undefined> {
  try {
    await files.rename(dataDir, target);
    return target;
  } catch (error) {
    const member = `${dataDir}/member`;
    const inside = await files.list(dataDir);
    // A mount point, or a parent folder without write permission.
    if (inside === undefined) throw error;
    if (!inside.includes("member")) return undefined;
    const name = await freeName(files, `${member}${suffix}`);
    await files.rename(member, name);
    return name;
  }
}

/** Two quarantines within one second get different names. */
async function freeName(files: Files, wanted: string): Promise<string> {
  for (let count = 1;; count++) {
    const name = count === 1 ? wanted : `${wanted}-${count}`;
    if (await files.info(name) === undefined && await files.info(recordPath(name)) === undefined) return name;
  }
}
