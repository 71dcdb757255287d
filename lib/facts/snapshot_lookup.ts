/** What a lookup in the snapshot store found: lib/snapshot reads it, lib/core decides over it. Plain data. */
import type { Lineage } from "./lineage.ts";

export type SnapshotLookup =
  | { readonly kind: "unconfigured" }
  | { readonly kind: "unknown" }
  /** The store answered: there is no snapshot. */
  | { readonly kind: "absent" }
  /** Unreachable, forbidden, corrupt or sealed with another key. Never taken for absent. */
  | { readonly kind: "unreadable"; readonly code: string; readonly why: string; readonly hint?: string }
  | {
    readonly kind: "newest";
    readonly hash: string;
    readonly revision: number;
    /** Undefined for the original's files, which have no lineage. */
    readonly lineage?: Lineage;
    readonly takenAtWallMs: number;
    readonly verified: boolean;
    /** When the uploaded object was verified; undefined for the original's. */
    readonly verifiedAtWallMs?: number;
    /** The highest epoch of this lineage in the store. */
    readonly epochMax: number;
    /**
     * Every life that has an intact newest snapshot, the one named above first. A life whose newest snapshot is damaged
     * is not among them: nothing older of it may be restored automatically. Undefined: the store was not asked for lives.
     */
    readonly lives?: readonly StoredLife[];
    /**
     * True when more than one life may be the right one: a life has snapshots that are newer than the birth of another
     * life of its lineage, or two lineages save here. Nothing in the store decides between them: the node takes the life
     * that its record names, and without such a record an operator chooses.
     */
    readonly fork?: boolean;
    /** Damaged snapshots of which a newer intact one of the same life exists: they block nothing. */
    readonly damaged?: readonly { readonly key: string; readonly why: string }[];
  };

/** One life of a lineage, or one branch of it, as the store shows it. It is authenticated as far as the manifests are. */
export interface StoredLife {
  readonly lineage: Lineage;
  readonly newest: {
    readonly hash: string;
    readonly revision: number;
    readonly takenAtWallMs: number;
    readonly verifiedAtWallMs?: number;
  };
  /** When it saved the oldest snapshot that the store still shows. */
  readonly bornAtWallMs?: number;
  /** Undefined: the first branch. A life whose disks were rolled back has more, all under its token. */
  readonly branch?: string;
  /** The last part of the names of its snapshots in the store. */
  readonly tag?: string;
  /**
   * `token` of the life whose data this one was restored from. Undefined: bootstrapped empty, adopted, or saved before
   * manifests recorded it.
   */
  readonly parentToken?: string;
}
