/** What a node without a running etcd does next, with its reason. */
import { withoutUndefined } from "../../../without_undefined.ts";
import type { Reason } from "../../facts/reason.ts";
import type { RunningCluster } from "../../evidence/running_cluster.ts";

export type StartOutcome =
  | { readonly kind: "wait"; readonly reason: Reason; readonly level?: "info" | "warn" | "error" }
  /** End the process with an error: only for what no waiting can mend. */
  | { readonly kind: "refuse"; readonly reason: Reason }
  | { readonly kind: "restart"; readonly othersServe: boolean; readonly reason: Reason }
  /** Restart after telling the cluster the member's new peer URL. */
  | {
    readonly kind: "updateAddress";
    readonly via: readonly string[];
    readonly memberId: string;
    readonly peerUrl: string;
    readonly reason: Reason;
  }
  | { readonly kind: "quarantine"; readonly label: "removed" | "superseded" | "damaged"; readonly reason: Reason }
  | { readonly kind: "join"; readonly cluster: RunningCluster; readonly reason: Reason }
  /** No data here and none to wait for: rules/bootstrap decides. */
  | { readonly kind: "bootstrap"; readonly reason: Reason };

export const wait = (code: string, text: string, hint?: string): StartOutcome => ({
  kind: "wait",
  reason: { code, text, ...withoutUndefined({ hint }) },
});

/** A wait that an operator must end. */
export const problem = (code: string, text: string, hint: string): StartOutcome => ({
  kind: "wait",
  level: "error",
  reason: { code, text, hint },
});

/** A node without peers has nobody to wait for: an operator must look. */
export const refuseData = (code: string, state: string): StartOutcome => ({
  kind: "refuse",
  reason: {
    code,
    text: `the data-dir ${state}; nothing was touched`,
    hint:
      "mend the disk or the permissions, or move the data-dir and its .e2d.json aside by hand and restore a snapshot",
  },
});
