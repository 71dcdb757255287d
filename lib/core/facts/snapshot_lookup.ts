/** What a lookup in the snapshot store found. */
export type { SnapshotLookup, StoredLife } from "../../facts/snapshot_lookup.ts";
