/** The node's own data-dir. */
import type { ValidData } from "../../facts/etcd.ts";

export type { ValidData } from "../../facts/etcd.ts";

/** The result of the manager's inspection of the data-dir. `unreadable` never counts as `absent`. */
export type DataDir =
  | { readonly kind: "unknown" }
  | { readonly kind: "absent" }
  | { readonly kind: "empty" }
  | ValidData
  /** The data-dir exists and failed a check; `what` names the check. */
  | { readonly kind: "damaged"; readonly what: string }
  | { readonly kind: "unreadable"; readonly why: string };
