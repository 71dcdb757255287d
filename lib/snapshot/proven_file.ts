import type { Staging } from "../ports.ts";
import { checkEtcdSum, type EtcdSum } from "./etcd_sum.ts";
import { type OpenedSnapshot, openSnapshot, type SnapshotKeys } from "./open.ts";

export interface ProvenSnapshot {
  /** Of the plain database. */
  readonly sha256: string;
  readonly plainBytes: number;
  readonly kind: OpenedSnapshot["kind"];
  readonly header: OpenedSnapshot["header"];
  readonly etcdSum: EtcdSum;
}

/**
 * Opens a snapshot, checks every tag and etcd's sum, and keeps the plain database in a file for this user alone, which
 * has its name only when all of it was proven. Without `path` it is read and checked, and kept nowhere. Throws what
 * openSnapshot and checkEtcdSum throw, and what Staging throws.
 */
export async function proveSnapshot(
  source: ReadableStream<Uint8Array>,
  keys: SnapshotKeys,
  kept?: { readonly path: string; readonly staging: Pick<Staging, "append" | "remove" | "replaceFile"> },
  onProgress: (plainBytes: number) => void = () => {},
): Promise<ProvenSnapshot> {
  const opened = await openSnapshot(source, keys);
  const { stream, done } = checkEtcdSum(opened.stream);
  let plainBytes = 0;
  let etcdSum: EtcdSum;
  const part = `${kept?.path}.part`;
  await kept?.staging.remove(part);
  const file = await kept?.staging.append(part, { mode: 0o600 });
  try {
    for await (const chunk of stream) {
      plainBytes += chunk.length;
      await file?.append(chunk);
      onProgress(plainBytes);
    }
    etcdSum = await done;
    await file?.sync();
  } catch (error) {
    // A plain database that nobody vouches for does not stay.
    await kept?.staging.remove(part);
    throw error;
  } finally {
    file?.close();
  }
  await kept?.staging.replaceFile(part, kept.path);
  return { sha256: etcdSum.sha256, plainBytes, kind: opened.kind, header: opened.header, etcdSum };
}
