/** A plan: an ordered list of idempotent operations that change the cluster. */

export type Operation =
  /** Take a verified snapshot, newer than the plan. */
  | { readonly kind: "snapshot" }
  /** Let another voter lead, if this member leads. */
  | { readonly kind: "moveLeaderFrom"; readonly memberId: string }
  | { readonly kind: "remove"; readonly memberId: string; readonly name: string }
  /** A member of that peer URL is listed. Carried out by the joiner itself; the leader's e2d waits for it. */
  | { readonly kind: "add"; readonly peerUrl: string }
  /** The member of that peer URL is a voter. */
  | { readonly kind: "promote"; readonly peerUrl: string }
  /** The cluster record says this size. */
  | { readonly kind: "resize"; readonly from: number; readonly to: number }
  /** The member's e2d restarts it with an etcd of this minor version ("3.6"). */
  | { readonly kind: "upgrade"; readonly memberId: string; readonly to: string }
  /** etcd makes its data and its protocol those of this minor version, one below what runs. */
  | { readonly kind: "allowDowngrade"; readonly to: string }
  /** Every member runs this minor version, and etcd has made it the cluster's: no member can fall back any more. */
  | { readonly kind: "clusterVersion"; readonly to: string }
  /** The member's database file, of this size when the plan was made, gives its free space back. */
  | { readonly kind: "defragment"; readonly memberId: string; readonly sizeBytes: number };

export interface Plan {
  /** Random; names the plan for people and approvals. */
  readonly id: string;
  readonly purpose: "replace" | "scale" | "upgrade" | "defrag";
  /** One sentence for people. */
  readonly text: string;
  readonly createdAtWallMs: number;
  readonly operations: readonly Operation[];
}
