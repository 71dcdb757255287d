/** Why a node decided or waits: a stable code, one sentence, and what an operator can do. */

/** One life of a node. */
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

/** Why something was decided or is waited for: a stable code, one sentence for people, and the facts it rests on. */
export interface Reason {
  /** snake_case, stable; docs/decisions.md lists them. */
  readonly code: string;
  /** One sentence: what, and if it waits what for. */
  readonly text: string;
  /** What an operator can do, when there is something. */
  readonly hint?: string;
  /** The plans that `e2d restore approve PLAN` takes while this is waited for. */
  readonly choices?: readonly Choice[];
}

/** Something that only an operator decides. */
export interface Choice {
  /** 16 hexadecimal digits, equal on every node that has the same choice. */
  readonly plan: string;
  /** What happens when it is approved. */
  readonly label: string;
}

/** Names as a reason shows them, in one order on every node. */
export const quotedNames = (names: readonly string[]): string =>
  [...names].sort().map((name) => `"${name}"`).join(", ");
