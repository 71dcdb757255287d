/**
 * The invariants between the fields of a node's state after every turn, by group. The simulation checks them after each
 * step; production does not. A check must depend only on the meaning of the fields, never on the decision of a rule.
 */
import { isPresent } from "../facts/peer.ts";
import type { NodeState } from "./state.ts";

/** True if the invariant holds. */
type Check = (state: NodeState) => boolean;

/** By the sentence that states the invariant. */
export const invariants: Readonly<Record<string, Check>> = {
  "process: the boot precedes the watch, which precedes the last event": ({ process }) =>
    process.bootedAtMs <= process.watchingSinceMs && process.watchingSinceMs <= process.lastEventMs,
  "process: a node that ends does not serve": ({ phase, process }) =>
    process.ending === undefined || phase === "leaving" || phase === "stopped" || phase === "failed",

  "disk: a pledge is recorded once": ({ disk: { record: { pledges } } }) =>
    new Set(pledges.map(({ token }) => token)).size === pledges.length,
  "disk: started data is either present or lost": ({ disk: { record: { started, lost } } }) =>
    started === undefined || lost === undefined,
  "disk: a rival is another life of the own lineage": ({ disk: { record: { started, rival } } }) =>
    rival === undefined || rival.id === started?.lineage.id && rival.token !== started.lineage.token,

  "gossip: the rules see only known peers, and none of another cluster": ({ gossip: { known, peers, foreign } }) =>
    peers.every((peer) => known.some(({ name }) => name === peer.name) && !foreign.has(peer.name)),
  "gossip: a present peer is known once": ({ gossip: { known } }) =>
    new Set(known.filter(isPresent).map(({ name }) => name)).size === known.filter(isPresent).length,
  "gossip: there is a text if and only if facts were published": ({ gossip: { facts, factsText } }) =>
    (facts === undefined) === (factsText === ""),
  "gossip: without a name conflict there is no time of one": ({ gossip }) =>
    gossip.nameConflicts.length > 0 || gossip.nameConflictSinceMs === undefined,

  "membership: no endpoint was probed after the last event": ({ membership, process }) =>
    [...membership.lastProbedAtMs.values()].every((ms) => ms <= process.lastEventMs),

  "snapshots: without a store there is no lookup": ({ settings, snapshots }) =>
    settings.snapshots || !snapshots.lookupInFlight && snapshots.lookup.kind === "unconfigured",
  "snapshots: a lookup in flight has a start": ({ snapshots }) =>
    !snapshots.lookupInFlight || snapshots.lookupStartedMs !== undefined,

  "own etcd: a ready etcd has not exited since": ({ ownEtcd: { etcd, exits } }) => etcd.kind !== "ready" || exits === 0,
  "own etcd: it has a leader, or it has none": ({ ownEtcd: { leaderSinceMs, leaderlessSinceMs } }) =>
    leaderSinceMs === undefined || leaderlessSinceMs === undefined,
  "own etcd: a node that serves has data": ({ phase, disk }) => phase !== "serving" || disk.data.kind === "valid",

  "maintenance: a plan is requested only while no other plan is known": ({ maintenance: { plan, requested } }) =>
    plan === undefined || requested === undefined || plan.id === requested.id,

  "operator: each command has its own id": ({ operator: { commands } }) =>
    new Set(commands.map(({ id }) => id)).size === commands.length,
  "operator: only the oldest command has started": ({ operator: { commands } }) =>
    commands.slice(1).every(({ step }) => step === "new"),
  "operator: a writing command has its effect in flight, or the outcome": ({ operator, effects }) =>
    operator.commands.every(({ step, written }) =>
      step !== "writing" || written !== undefined || effects.inFlight.has("command")
    ),

  "reports: the key of a problem is its code": ({ reports: { problems } }) =>
    [...problems].every(([code, { reason }]) => reason.code === code),

  "effects: each has its own id, below the next id": ({ effects: { inFlight, nextId } }) => {
    const ids = [...inFlight.values()].map(({ id }) => id);
    return new Set(ids).size === ids.length && ids.every((id) => id < nextId);
  },
};

const entries = Object.entries(invariants);

/** The sentence of the first broken invariant; undefined: all hold. */
export function brokenInvariant(state: NodeState): string | undefined {
  return entries.find(([, holds]) => !holds(state))?.[0];
}
