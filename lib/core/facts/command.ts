/** The operator commands that a running node accepts (`e2d scale`, `pause`, `hold` and others), and their answers. */
import type { Plan } from "./plan.ts";

/** `dryRun`: the answer describes what would happen; nothing changes. */
export type Command =
  & { readonly dryRun: boolean }
  & (
    | { readonly kind: "scale"; readonly to: number }
    /** `to` is a minor version, "3.6". */
    | { readonly kind: "upgrade"; readonly to: string }
    | { readonly kind: "defrag" }
    | { readonly kind: "pause" | "resume" }
    | { readonly kind: "hold"; readonly why?: string }
    | { readonly kind: "releaseHold" }
    | { readonly kind: "cancel" }
    /** `plan` is the name of a restore that waits for an approval. */
    | { readonly kind: "approve"; readonly plan: string }
  );

export type CommandAnswer =
  /** `immediate`: the change is in effect; otherwise it is accepted and takes effect later. */
  | { readonly kind: "done"; readonly text: string; readonly plan?: Plan; readonly immediate?: boolean }
  | { readonly kind: "refused"; readonly why: string };

/** A command without a reply so far. */
export interface PendingCommand {
  readonly id: string;
  readonly command: Command;
  /** `probing`: members are probed; `writing`: an effect is in flight; `confirming`: members are probed after the effect. */
  readonly step: "new" | "probing" | "writing" | "confirming";
  /** When the probes of this step were sent, monotonic. */
  readonly askedMs: number;
  /** Endpoints whose answer to these probes is missing. */
  readonly awaited: readonly string[];
  /** The text of the reply once the plan is deleted from etcd. */
  readonly cancels?: string;
  /** The outcome of the effect; `failure` is its message. */
  readonly written?: { readonly failure?: string };
}
