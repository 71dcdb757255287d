/**
 * Reads what a survivor of a lost majority still knows, without touching it: from a *copy* of its data-dir, an etcd in
 * quarantine replays the log, forgets all other members and gives the state away as a snapshot.
 */
import type { SnapshotStream } from "./client_snapshot.ts";
import { inQuarantine, type QuarantinePorts, type QuarantineRequest } from "./quarantine.ts";

/** What is handed to the caller while the quarantined etcd runs. */
export interface SurvivorExport extends SnapshotStream {
  /** With all that its log has, when the copy was made by `copyForExport`. */
  readonly revision: number;
  readonly raftTerm: number;
}

/** Resolves with what `use` made of the export, when the quarantined etcd has ended. Throws what `inQuarantine` throws. */
export function exportFromCopy<T>(
  request: QuarantineRequest,
  ports: QuarantinePorts,
  use: (exported: SurvivorExport) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  return inQuarantine(request, ports, async (client, endpoint, signal) => {
    const { revision, raftTerm } = await client.status(endpoint, { signal });
    const snapshot = await client.snapshot(endpoint, { signal });
    return await use({ ...snapshot, revision, raftTerm });
  }, signal);
}
