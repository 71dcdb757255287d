/** Copies a survivor's data-dir for the isolated etcd that exports it. The original is never changed. */
import { E2dError } from "../../errors.ts";
import type { FileReader, Files, Staging } from "../../ports.ts";
import { commitAllFrame, readWal } from "../data/wal.ts";

export interface CopyPorts {
  readonly files: Pick<Files, "info" | "list" | "makeDirectory">;
  readonly reader: FileReader;
  readonly staging: Pick<Staging, "append" | "remove">;
}

const copyChunkBytes = 1024 * 1024;

/**
 * Copies `member` of a data-dir that no etcd runs on, links followed, and declares all entries of the copy's log
 * committed. Members that are lost may have acknowledged some of them to a client; the others had no outcome yet, so this
 * one is allowed. What was at `to` is removed. Throws E2dError `data_damaged`, `file_read`, `disk_full`,
 * `file_write`, `copy_cut`, or the signal's reason.
 */
export async function copyForExport(from: string, to: string, ports: CopyPorts, signal?: AbortSignal): Promise<void> {
  await ports.staging.remove(to);
  const log = await readWal(`${from}/member/wal`, ports);
  if (log === undefined) throw new E2dError("data_damaged", `Cannot copy "${from}": there is no log in member/wal`);
  await copyFolder(`${from}/member`, `${to}/member`, ports, signal);
  const frame = commitAllFrame(log);
  if (frame === undefined) return;
  const path = `member/wal/${log.tail.name}`;
  await ports.staging.remove(`${to}/${path}`);
  await copyFile(`${from}/${path}`, `${to}/${path}`, ports, { endOffset: log.tail.endOffset, signal });
  const target = await ports.staging.append(`${to}/${path}`);
  try {
    await target.append(frame);
  } finally {
    target.close();
  }
}

async function copyFolder(from: string, to: string, ports: CopyPorts, signal: AbortSignal | undefined): Promise<void> {
  const names = await ports.files.list(from);
  if (names === undefined) throw new E2dError("copy_cut", `Cannot copy "${from}": it disappeared`);
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
  if (source === undefined) throw new E2dError("copy_cut", `Cannot copy "${from}": it disappeared`);
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
