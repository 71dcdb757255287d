/** What the core asks of the snapshot store and of the data that a cluster is founded from. */
import { E2dError } from "../errors.ts";
import type { Effect } from "../core/effect.ts";
import type { Catalogue, Founding } from "../core/view.ts";

export interface SnapshotSide {
  /** Never throws: what goes wrong is `unreadable`, which is not `absent`. */
  readCatalogue(): Promise<Exclude<Catalogue, { kind: "unknown" }>>;
  /** Gets the source of a founding onto this machine and checks it; returns its manifest's hash. */
  prepareSource(founding: Founding, from: string | undefined): Promise<string>;
  /** Offers this survivor's own data to the other founders. */
  exportSurvivor(founding: Founding): Promise<{ hash: string; revision: number; url: string }>;
  /** Makes the data-dir from the prepared source. */
  restoreData(founding: Founding): Promise<void>;
  take(effect: Extract<Effect, { kind: "takeSnapshot" }>): Promise<{ revision: number; saved: boolean }>;
  close(): Promise<void>;
}

/** For a node that was given no store. */
export const noSnapshots: SnapshotSide = {
  readCatalogue: () => Promise.resolve({ kind: "unconfigured" }),
  prepareSource: () => Promise.reject(unconfigured("get a snapshot")),
  exportSurvivor: () => Promise.reject(unconfigured("offer the own data")),
  restoreData: () => Promise.reject(unconfigured("restore")),
  take: () => Promise.reject(unconfigured("take a snapshot")),
  close: () => Promise.resolve(),
};

function unconfigured(action: string): E2dError {
  return new E2dError("snapshot_unconfigured", `Cannot ${action}: no snapshot store is configured`, {
    hint: "pass --snapshot-backup-url",
  });
}
