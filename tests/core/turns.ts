/** Single turns of node "a", for the tests of what a turn makes of a state. */
import type { Effect } from "../../lib/core/facts/effect.ts";
import { copyOf, createNode, type NodeState } from "../../lib/core/state/state.ts";
import { Turn } from "../../lib/core/state/turn.ts";
import { changed, nowMs, settings, type StateChange, view } from "./facts.ts";

export const { self } = view("a");
export const nowWallMs = 1_700_000_000_000;
/** Before its first event, since the start of its clock. */
export const fresh: NodeState = createNode(self, settings(), "seed", { monotonicMs: 0, wallMs: 0 });

/** A turn at `nowMs`, or so long after it, of the new node with these changes. */
export function turnOf(change: StateChange | readonly StateChange[] = {}, afterMs = 0): Turn {
  const changes = Array.isArray(change) ? change as readonly StateChange[] : [change as StateChange];
  return turnAfter(changed(fresh, ...changes), afterMs);
}

/** The next turn of this state. */
export function turnAfter(state: NodeState, afterMs = 0): Turn {
  return new Turn(copyOf(state), { monotonicMs: nowMs + afterMs, wallMs: nowWallMs + afterMs });
}

/** What the turn journaled: level, outcome, code and text. */
export const linesOf = ({ effects }: Turn): string[] =>
  effects.flatMap((effect) => {
    if (effect.kind !== "journal") return [];
    const { level, outcome, reason: { code, text } } = effect.entry;
    return [`${level} ${outcome} ${code}: ${text}`];
  });

/** All other effects of the turn. */
export const requestsOf = ({ effects }: Turn): readonly Effect[] => effects.filter(({ kind }) => kind !== "journal");

/** The standing problem of this code: level, whether the node stays ready, and the text. */
export function problemOf({ node }: Turn, code: string): string | undefined {
  const found = node.reports.problems.get(code);
  return found && `${found.level}${found.keepsReady ? " ready" : ""}: ${found.reason.text}`;
}
