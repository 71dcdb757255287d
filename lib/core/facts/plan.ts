/** Plans: ordered lists of idempotent operations that change the cluster. A plan is stored in etcd. */

export type Operation =
  /** Take a verified snapshot, newer than the plan. */
  | { readonly kind: "snapshot" }
  /** Move the leadership to another voter if this member leads. */
  | { readonly kind: "moveLeaderFrom"; readonly memberId: string }
  | { readonly kind: "remove"; readonly memberId: string; readonly name: string }
  /** Wait until the joiner with that peer URL has added itself. */
  | { readonly kind: "add"; readonly peerUrl: string }
  /** Wait until the member with that peer URL is a voter. */
  | { readonly kind: "promote"; readonly peerUrl: string }
  /** Change the size in the cluster record. */
  | { readonly kind: "resize"; readonly from: number; readonly to: number }
  /** The member's manager restarts it with an etcd of this minor version ("3.6"). */
  | { readonly kind: "upgrade"; readonly memberId: string; readonly to: string }
  /** Enable etcd's downgrade to this minor version, one below the running one. */
  | { readonly kind: "allowDowngrade"; readonly to: string }
  /** Wait until every member runs this minor version and etcd has raised the cluster version: no member can go back then. */
  | { readonly kind: "clusterVersion"; readonly to: string }
  /** Defragment the member's database file, which had this size when the plan was made. */
  | { readonly kind: "defragment"; readonly memberId: string; readonly sizeBytes: number };

export interface Plan {
  /** Random; the name of the plan for operators. */
  readonly id: string;
  readonly purpose: "scale" | "upgrade" | "defrag";
  /** One sentence for the operator. */
  readonly text: string;
  readonly createdAtWallMs: number;
  readonly operations: readonly Operation[];
}
