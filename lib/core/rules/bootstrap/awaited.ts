/**
 * Stronger evidence that a bootstrap waits for: disks that have not been reported on, a cluster that was seen running, and
 * a writer of the newest snapshot that may live. Each wait ends with the quorum-loss time-out (the writer's with the
 * snapshot intervals) or by an operator's approval of the plan. It never treats a silent disk as an empty one.
 */
import { durationText } from "../../../units.ts";
import { hasWaited, planOf, withChoices } from "../../evidence/order.ts";
import { isGivenUp, lostData } from "../../evidence/lineage.ts";
import type { View } from "../../facts/view.ts";
import type { BootstrapMember, BootstrapPlan } from "../../facts/node_record.ts";
import { quotedNames, type Reason } from "../../facts/reason.ts";
import { takenAtWallMs } from "./source.ts";

/** Why the plan must wait although its initial members have gathered; undefined: nothing stronger is missing. */
export function evidenceAwaited(
  view: View,
  plan: BootstrapPlan,
  candidates: readonly BootstrapMember[],
): Reason | undefined {
  return clusterSilent(view, candidates, plan) ?? disksAwaited(view, plan) ?? writerAlive(view, plan);
}

/**
 * Disks that may hold data: addresses that the operator or gossip names and that do not answer, and data that a record
 * names and that is not mounted. They get the quorum-loss time-out, or an operator approves the plan without them.
 */
function disksAwaited(view: View, plan: BootstrapPlan): Reason | undefined {
  if (hasWaited(view)) return undefined;
  // An operator who names a new cluster gives up data that a record names as lost.
  const isNewCluster = view.settings.newCluster !== undefined && plan.source.kind === "empty";
  const silent = silentDisks(view, isNewCluster);
  if (silent.length === 0) return undefined;
  const { quorumLossTimeoutMs } = view.settings;
  const until = quorumLossTimeoutMs === "never"
    ? "an operator approves"
    : `${durationText(quorumLossTimeoutMs)} have passed`;
  const what = plan.source.kind === "empty" ? "an empty cluster is bootstrapped" : "a snapshot is restored";
  const text = `${quotedNames(silent)} may hold data and must answer before ${what}, or until ${until}`;
  const choice = { plan: planOf(plan.digest), label: `continue without them: ${what}` };
  const hint = "start them, or take the addresses of machines that are gone out of the bootstrap list";
  return withChoices({ code: "disks_awaited", text }, [choice], hint);
}

/** A snapshot younger than this many snapshot intervals may have a living writer. */
const youngIntervals = 3;
/** A living writer whose data changes saves the next snapshot within this many intervals. */
const watchIntervals = 2;

/** How long a snapshot must stay the newest before its writer counts as gone. */
export const writerWatchMs = ({ snapshotIntervalMs }: View["settings"]) => watchIntervals * snapshotIntervalMs;

/**
 * The snapshot is so young that the cluster which saved it may run elsewhere: a restore would make a copy beside it. A
 * snapshot that stays the newest for {@link watchIntervals} has no writer whose data changes. Only the time up to the
 * last lookup in the store counts: the time since then shows nothing.
 */
function writerAlive(view: View, plan: BootstrapPlan): Reason | undefined {
  const takenMs = takenAtWallMs(view, plan.source);
  if (takenMs === undefined) return undefined;
  const { snapshotIntervalMs } = view.settings;
  const askedMs = view.newestAskedMs ?? view.nowMs;
  const watchedMs = askedMs - Math.max(view.newestSinceMs ?? view.nowMs, view.watchingSinceMs);
  if (view.nowWallMs - (view.nowMs - askedMs) - takenMs >= youngIntervals * snapshotIntervalMs) return undefined;
  if (watchedMs >= writerWatchMs(view.settings)) return undefined;
  const text = "the newest snapshot is very recent, so its cluster may run elsewhere; waiting for " +
    `${durationText(writerWatchMs(view.settings))} without a newer one`;
  const choice = { plan: planOf(plan.digest), label: "restore it now" };
  const hint = "stop the other cluster, or give this one a --snapshot-backup-url of its own";
  return withChoices({ code: "snapshot_writer_alive", text }, [choice], hint);
}

/** Gossip addresses and names of data that may hold data and are silent. `isNewCluster`: lost data does not count. */
function silentDisks(view: View, isNewCluster: boolean): string[] {
  const silent = new Set(view.settings.seeds);
  silent.delete(view.self.gossipAddr);
  for (const { gossipAddr, state, facts, name } of view.peers) {
    const lost = facts?.data.kind === "none" && facts.data.lost !== undefined;
    // The last facts of a silent peer still count: it had no data.
    const empty = facts?.data.kind === "none" && !lost;
    if (state === "alive" || empty) silent.delete(gossipAddr);
    else silent.add(gossipAddr);
    if (lost && !isNewCluster) silent.add(`the data of ${name}`);
  }
  if (lostData(view.record) !== undefined && !isNewCluster) silent.add(`the data of ${view.self.name}`);
  return [...silent];
}

/**
 * Voters of the last cluster that this node saw running and that are not present. Even one of them may still be a
 * cluster: the nodes that are present hold no data and may have been removed since. The missing voters get the
 * quorum-loss time-out, as they do from survivors.
 */
function clusterSilent(view: View, candidates: readonly BootstrapMember[], plan: BootstrapPlan): Reason | undefined {
  const { lastCluster, nowMs, watchingSinceMs, record, settings, peers, self } = view;
  const timeoutMs = settings.quorumLossTimeoutMs;
  if (lastCluster === undefined || record.seen !== undefined && isGivenUp(settings, record.seen)) return undefined;
  if (timeoutMs !== "never" && nowMs - Math.max(lastCluster.atMs, watchingSinceMs) >= timeoutMs) return undefined;
  // A voter whose node is present while its data is not mounted does not count as present.
  const unmounted = new Set(lostData(record) === undefined ? [] : [self.name]);
  for (const { name, facts } of peers) {
    if (facts?.data.kind === "none" && facts.data.lost !== undefined) unmounted.add(name);
  }
  const missing = lastCluster.voters.filter((voter) =>
    !candidates.some((each) =>
      (each.peerUrl === voter.peerUrl || each.name === voter.name) && !unmounted.has(each.name)
    )
  );
  if (missing.length === 0) return undefined;
  const text = `a cluster of ${quotedNames(missing.map(({ name }) => name))} was seen running and may still run`;
  const choice = { plan: planOf(plan.digest), label: "bootstrap without it" };
  const hint = "start its members, or mount their disks: they get --quorum-loss-timeout; to give it up, pass " +
    "--new-cluster NAME to all";
  return withChoices({ code: "cluster_silent", text }, [choice], hint);
}
