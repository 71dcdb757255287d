/** What an operator may ask of a running node, and the answer: `e2d scale`, `pause`, `hold` and the others. */
import type { Plan } from "./plan.ts";

/** `dryRun`: answer what would happen, and change nothing. */
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
    /** `plan` names a restore that waits for an approval. */
    | { readonly kind: "approve"; readonly plan: string }
  );

export type CommandAnswer =
  /** `immediate`: it is so now; otherwise it is on its way. */
  | { readonly kind: "done"; readonly text: string; readonly plan?: Plan; readonly immediate?: boolean }
  | { readonly kind: "refused"; readonly why: string };

/** A command that is not answered yet. */
export interface PendingCommand {
  readonly id: string;
  readonly command: Command;
  /** `probing`: members were asked; `writing`: an effect is in flight; `confirming`: members were asked after it. */
  readonly step: "new" | "probing" | "writing" | "confirming";
  /** When the members were asked, monotonic. */
  readonly askedMs: number;
  /** Endpoints that have not answered since. */
  readonly awaited: readonly string[];
  /** The answer once the plan is out of etcd. */
  readonly cancels?: string;
  /** The outcome of the effect; `failure` is its message. */
  readonly written?: { readonly failure?: string };
}
