/** The copy of a survivor's data-dir that an etcd in quarantine may change. */
import { E2dError } from "../errors.ts";
import type { FileReader, Files, Staging } from "../ports.ts";
import { commitAllRecord, readWal } from "./wal.ts";

export interface CopyPorts {
  readonly files: Pick<Files, "info" | "list" | "makeDirectory">;
  readonly reader: FileReader;
  readonly staging: Pick<Staging, "append" | "remove">;
}

const copyChunkBytes = 1024 * 1024;

/**
 * Copies `member` of a data-dir that no etcd runs on, links followed, and declares all entries of the copy's log
 * committed. Some of them may have been acknowledged to a client by members that are lost; those that never were had no
 * outcome, and may have this one. What was at `to` is removed. Throws E2dError `data_damaged`, `file_read`, `disk_full`,
 * `file_write`, `copy_cut`, or the signal's reason.
 */
export async function copyForExport(from: string, to: string, ports: CopyPorts, signal?: AbortSignal): Promise<void> {
  await ports.staging.remove(to);
  const log = await readWal(`${from}/member/wal`, ports);
  if (log === undefined) throw new E2dError("data_damaged", `Cannot copy "${from}": there is no log in member/wal`);
  await copyFolder(`${from}/member`, `${to}/member`, ports, signal);
  const record = commitAllRecord(log);
  if (record === undefined) return;
  const path = `member/wal/${log.tail.name}`;
  await ports.staging.remove(`${to}/${path}`);
  await copyFile(`${from}/${path}`, `${to}/${path}`, ports, { endOffset: log.tail.endOffset, signal });
  const target = await ports.staging.append(`${to}/${path}`);
  try {
    await target.append(record);
  } finally {
    target.close();
  }
}

async function copyFolder(from: string, to: string, ports: CopyPorts, signal: AbortSignal | undefined): Promise<void> {
  const names = await ports.files.list(from);
  if (names === undefined) throw new E2dError("copy_cut", `Cannot copy "${from}": it went away`);
  await ports.files.makeDirectory(to, { mode: 0o700 });
  for (const name of names) {
    const [source, target] = [`${from}/${name}`, `${to}/${name}`];
    const info = await ports.files.info(source);
    const isFolder = info?.kind === "directory" || (info?.kind === "symlink" && await isFolderLink(source, ports));
    if (isFolder) await copyFolder(source, target, ports, signal);
    else await copyFile(source, target, ports, { signal });
  }
}

async function isFolderLink(path: string, { files }: CopyPorts): Promise<boolean> {
  try {
    return await files.list(path) !== undefined;
  } catch {
    return false;
  }
}

async function copyFile(
  from: string,
  to: string,
  ports: CopyPorts,
  { endOffset, signal }: { endOffset?: number; signal: AbortSignal | undefined },
): Promise<void> {
  const source = await ports.reader.open(from);
  if (source === undefined) throw new E2dError("copy_cut", `Cannot copy "${from}": it went away`);
  try {
    const target = await ports.staging.append(to, { mode: 0o600 });
    try {
      const end = endOffset ?? source.size;
      for (let offset = 0; offset < end;) {
        signal?.throwIfAborted();
        const chunk = await source.read(offset, Math.min(copyChunkBytes, end - offset));
        if (chunk.length === 0) throw new E2dError("copy_cut", `Cannot copy "${from}": it became shorter`);
        await target.append(chunk);
        offset += chunk.length;
      }
    } finally {
      target.close();
    }
  } finally {
    source.close();
  }
}
