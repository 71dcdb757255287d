/** The phases of a node, and the reasons of its decisions and waits. */

/** The phase of a node. */
export type Phase =
  | "booting"
  | "gathering"
  | "joining"
  | "bootstrapping"
  | "restoring"
  | "restarting"
  | "serving"
  | "leaving"
  | "stopped"
  | "failed";

/** Why a node decided something or waits. */
export interface Reason {
  /** snake_case, stable; one of `reason_codes.ts`, or the code of an error. */
  readonly code: string;
  /** One sentence: the state, and what the node waits for. */
  readonly text: string;
  /** What an operator can do, if anything. */
  readonly hint?: string;
  /** The plans that `e2d restore approve PLAN` accepts during this wait. */
  readonly choices?: readonly Choice[];
}

/** An alternative that only an operator may choose. */
export interface Choice {
  /** 16 hexadecimal digits, equal on every node that has the same choice. */
  readonly plan: string;
  /** What happens after the approval. */
  readonly label: string;
}

/** Quoted names for a text, in the same order on every node. */
export const quotedNames = (names: readonly string[]): string =>
  [...names].sort().map((name) => `"${name}"`).join(", ");
