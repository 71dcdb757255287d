/** Single turns of node "a", for the tests of what a turn makes of a state. */
import type { AnsweredEffect, Effect } from "../../lib/core/facts/effect.ts";
import { copyOf, createNode, type NodeState, type Slot } from "../../lib/core/state/state.ts";
import { Turn } from "../../lib/core/state/turn.ts";
import { assert } from "../support/assert.ts";
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

/** The slot of each effect: those of one slot are performed one after another. An operator's cancel has its own. */
const slots: { readonly [K in AnsweredEffect["kind"]]: readonly Slot[] } = {
  writeRecord: ["local"],
  quarantineData: ["local"],
  startEtcd: ["local"],
  stopEtcd: ["local"],
  upgradeEtcd: ["local"],
  provideEtcd: ["local"],
  restoreData: ["local"],
  prepareSource: ["source"],
  exportSurvivor: ["source"],
  memberAdd: ["cluster"],
  memberRemove: ["cluster"],
  memberPromote: ["cluster"],
  memberUpdate: ["cluster"],
  moveLeader: ["cluster"],
  changeRecord: ["cluster"],
  allowDowngrade: ["cluster"],
  checkRecord: ["record"],
  clearVolatile: ["record"],
  writeLineage: ["record"],
  compareHashes: ["record"],
  defragment: ["maintenance"],
  reclaimSpace: ["maintenance"],
  hashMembers: ["maintenance"],
  disarmCorrupt: ["maintenance"],
  writePlan: ["plan", "command"],
  takeSnapshot: ["backup"],
  writePause: ["command"],
  writeHold: ["command"],
};

/** All other effects of the turn, each of which must be in flight in its slot. */
export function requestsOf({ effects, node }: Turn): readonly Effect[] {
  for (const effect of effects) {
    if (!("id" in effect)) continue;
    const slot = [...node.effects.inFlight].find(([, { id }]) => id === effect.id)?.[0];
    assert(slot !== undefined && slots[effect.kind].includes(slot), `${effect.kind} in the slot "${slot}"`);
  }
  return effects.filter(({ kind }) => kind !== "journal");
}

/** While no slot is free. */
export const noneFree: StateChange = {
  effects: { backoffUntilMs: new Map([...new Set(Object.values(slots).flat())].map((slot) => [slot, Infinity])) },
};

/** What the turn journaled as decided; an effect that was not requested is none. */
export const decisionsOf = ({ node }: Turn): readonly string[] =>
  node.reports.journal.flatMap(({ what, outcome }) => what === "decided" ? [outcome] : []);

/** The standing problem of this code: level, whether the node stays ready, and the text. */
export function problemOf({ node }: Turn, code: string): string | undefined {
  const found = node.reports.problems.get(code);
  return found && `${found.level}${found.keepsReady ? " ready" : ""}: ${found.reason.text}`;
}
