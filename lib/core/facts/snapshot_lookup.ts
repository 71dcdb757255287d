/** The result of a lookup in the snapshot store. */
export type { SnapshotLookup, StoredLife } from "../../facts/snapshot_lookup.ts";
