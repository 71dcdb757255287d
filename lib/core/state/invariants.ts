/**
 * What holds between the fields of a node's state after every turn, group by group. The simulation checks it after each
 * step; production does not. A check must never depend on how a rule decides, only on what the fields mean.
 */
import { isPresent } from "../facts/peer.ts";
import type { NodeState } from "./state.ts";

/** True where the invariant holds. */
type Check = (state: NodeState) => boolean;

/** By the sentence that states them. */
export const invariants: Readonly<Record<string, Check>> = {
  "process: it booted, then watches, then received the last event": ({ process }) =>
    process.bootedAtMs <= process.watchingSinceMs && process.watchingSinceMs <= process.lastEventMs,
  "process: a node that ends serves no more": ({ phase, process }) =>
    process.ending === undefined || phase === "leaving" || phase === "stopped" || phase === "failed",

  "disk: a pledge is recorded once": ({ disk: { record: { pledges } } }) =>
    new Set(pledges.map(({ token }) => token)).size === pledges.length,
  "disk: data that was started is either here or lost": ({ disk: { record: { started, lost } } }) =>
    started === undefined || lost === undefined,
  "disk: a rival is of the own lineage and another life": ({ disk: { record: { started, rival } } }) =>
    rival === undefined || rival.id === started?.lineage.id && rival.token !== started.lineage.token,

  "gossip: the rules see only known peers, and none of another cluster": ({ gossip: { known, peers, foreign } }) =>
    peers.every((peer) => known.some(({ name }) => name === peer.name) && !foreign.has(peer.name)),
  "gossip: a peer is known once": ({ gossip: { known } }) =>
    new Set(known.filter(isPresent).map(({ name }) => name)).size === known.filter(isPresent).length,
  "gossip: the text is that of the published facts": ({ gossip: { facts, factsText } }) =>
    (facts === undefined) === (factsText === ""),
  "gossip: the time of a name conflict is that of an existing one": ({ gossip }) =>
    gossip.nameConflicts.length > 0 || gossip.nameConflictSinceMs === undefined,

  "membership: no endpoint was probed after the last event": ({ membership, process }) =>
    [...membership.lastProbedAtMs.values()].every((ms) => ms <= process.lastEventMs),

  "snapshots: without a store nothing is looked up": ({ settings, snapshots }) =>
    settings.snapshots || !snapshots.lookupInFlight && snapshots.lookup.kind === "unconfigured",
  "snapshots: an answer is awaited only of a lookup": ({ snapshots }) =>
    !snapshots.lookupInFlight || snapshots.lookupStartedMs !== undefined,

  "own etcd: one that is ready has not exited since": ({ ownEtcd: { etcd, exits } }) =>
    etcd.kind !== "ready" || exits === 0,
  "own etcd: a node that serves has data": ({ phase, disk }) => phase !== "serving" || disk.data.kind === "valid",

  "maintenance: a plan is requested only of a node that knows of none": ({ maintenance: { plan, requested } }) =>
    plan === undefined || requested === undefined || plan.id === requested.id,

  "operator: each command has its own id": ({ operator: { commands } }) =>
    new Set(commands.map(({ id }) => id)).size === commands.length,
  "operator: only the oldest command has begun": ({ operator: { commands } }) =>
    commands.slice(1).every(({ step }) => step === "new"),
  "operator: a command that writes has its effect in flight, or the outcome": ({ operator, effects }) =>
    operator.commands.every(({ step, written }) =>
      step !== "writing" || written !== undefined || effects.inFlight.has("command")
    ),

  "reports: a problem is kept by its own code": ({ reports: { problems } }) =>
    [...problems].every(([code, { reason }]) => reason.code === code),

  "effects: each has its own id, below the next one": ({ effects: { inFlight, nextId } }) => {
    const ids = [...inFlight.values()].map(({ id }) => id);
    return new Set(ids).size === ids.length && ids.every((id) => id < nextId);
  },
};

const entries = Object.entries(invariants);

/** The sentence of the first invariant that does not hold; undefined: all hold. */
export function brokenInvariant(state: NodeState): string | undefined {
  return entries.find(([, holds]) => !holds(state))?.[0];
}
