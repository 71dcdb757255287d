/** The interface between the core and snapshots: the store, the source of a restore, and the export of a survivor. */
import { E2dError } from "../../errors.ts";
import type { Effect } from "../../core/facts/effect.ts";
import type { SnapshotLookup } from "../../core/facts/snapshot_lookup.ts";
import type { BootstrapPlan } from "../../core/facts/node_record.ts";

export interface SnapshotAdapter {
  /** Never rejects: a failure is `unreadable`, never `absent`. */
  latestSnapshot(): Promise<Exclude<SnapshotLookup, { kind: "unknown" }>>;
  /**
   * Fetches and verifies the source of a bootstrap; returns the SHA-256 of the database. `from`: URL of a survivor's
   * export. Throws E2dError.
   */
  prepareSource(plan: BootstrapPlan, from: string | undefined): Promise<string>;
  /** Exports this survivor's data, and serves it at `url` to the other initial members. */
  exportSurvivor(plan: BootstrapPlan): Promise<{ hash: string; revision: number; url: string }>;
  /** Creates the data-dir from the prepared source. */
  restoreData(plan: BootstrapPlan): Promise<void>;
  take(effect: Extract<Effect, { kind: "takeSnapshot" }>): Promise<{ revision: number; saved: boolean }>;
  /** Makes a running `take` reject with E2dError `snapshot_aborted`; does nothing when none runs. */
  abortTake(): void;
  close(): Promise<void>;
}

/** For a node without a store. */
export const noSnapshots: SnapshotAdapter = {
  latestSnapshot: () => Promise.resolve({ kind: "unconfigured" }),
  prepareSource: () => Promise.reject(unconfigured("fetch a snapshot")),
  exportSurvivor: () => Promise.reject(unconfigured("export this node's data")),
  restoreData: () => Promise.reject(unconfigured("restore")),
  take: () => Promise.reject(unconfigured("take a snapshot")),
  abortTake: () => {},
  close: () => Promise.resolve(),
};

function unconfigured(action: string): E2dError {
  return new E2dError("snapshot_unconfigured", `Cannot ${action}: no snapshot store is configured`, {
    hint: "pass --snapshot-backup-url",
  });
}
