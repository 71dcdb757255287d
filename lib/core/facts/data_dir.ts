/** The node's own data-dir, as the manager found it. */
import type { ValidData } from "../../facts/etcd.ts";

export type { ValidData } from "../../facts/etcd.ts";

/** The own data-dir, as the manager found it. `absent` (not there) and `unreadable` are never the same. */
export type DataDir =
  | { readonly kind: "unknown" }
  | { readonly kind: "absent" }
  | { readonly kind: "empty" }
  | ValidData
  /** There, but not usable: what failed its check. */
  | { readonly kind: "damaged"; readonly what: string }
  | { readonly kind: "unreadable"; readonly why: string };
