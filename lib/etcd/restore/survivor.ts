/**
 * Exports the data of a survivor after a quorum loss: an isolated etcd replays the log of a copy of the data-dir, forgets
 * all other members and returns its state as a snapshot. The original data-dir is never changed.
 */
import type { SnapshotStream } from "../client/snapshot.ts";
import { type IsolatedEtcdPorts, type IsolatedEtcdRequest, withIsolatedEtcd } from "./isolated_etcd.ts";

/** Valid while the isolated etcd runs. */
export interface SurvivorExport extends SnapshotStream {
  /** Includes all entries of the log when the copy was made by `copyForExport`. */
  readonly revision: number;
  readonly raftTerm: number;
}

/** Resolves with the result of `use` when the isolated etcd has exited. Throws what `withIsolatedEtcd` throws. */
export function exportFromCopy<T>(
  request: IsolatedEtcdRequest,
  ports: IsolatedEtcdPorts,
  use: (exported: SurvivorExport) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  return withIsolatedEtcd(request, ports, async (client, endpoint, signal) => {
    const { revision, raftTerm } = await client.status(endpoint, { signal });
    const snapshot = await client.snapshot(endpoint, { signal });
    return await use({ ...snapshot, revision, raftTerm });
  }, signal);
}
