/**
 * A change of the cluster as data: ordered, idempotent operations, each with a check whether it is done already. The
 * plan is written to etcd (`/_e2d/plan`) before its first operation and taken out after its last, so that the next
 * leader's e2d finishes what the last began. The check looks at the cluster, never at a note of what was done.
 */
import type { EndpointFacts, EtcdAnswer, EtcdMember } from "../facts/cluster.ts";
import type { Operation, Plan } from "../facts/plan.ts";

/** What the checks look at. */
export interface PlanView {
  readonly members: readonly EtcdMember[];
  readonly leaderId: string | undefined;
  readonly recordedSize: number | undefined;
  readonly lastSnapshotAtWallMs: number | undefined;
  /** As the own member has it; undefined: not known. */
  readonly clusterVersion: string | undefined;
  readonly endpoints: ReadonlyMap<string, EndpointFacts>;
}

export function isDone(operation: Operation, view: PlanView, plan: Plan): boolean {
  switch (operation.kind) {
    case "snapshot":
      return view.lastSnapshotAtWallMs !== undefined && view.lastSnapshotAtWallMs >= plan.createdAtWallMs;
    case "moveLeaderFrom":
      return targetSizeNotExceeded(view, plan) || (view.leaderId !== undefined && view.leaderId !== operation.memberId);
    case "remove":
      return targetSizeNotExceeded(view, plan) || !view.members.some((member) => member.id === operation.memberId);
    case "add":
      return targetSizeReached(view, plan) ||
        view.members.some((member) => member.peerUrls.includes(operation.peerUrl));
    case "promote":
      return targetSizeReached(view, plan) ||
        view.members.some((member) => !member.isLearner && member.peerUrls.includes(operation.peerUrl));
    case "resize":
      return view.recordedSize === operation.to;
    case "upgrade": {
      const member = view.members.find((each) => each.id === operation.memberId);
      // A member that has gone since needs no other version: its successor brings its own.
      if (member === undefined) return true;
      return runs(member, operation.to, view);
    }
    case "clusterVersion":
      return view.members.every((member) => runs(member, operation.to, view)) && isRaised(operation.to, view);
    case "allowDowngrade":
      return view.members.every((member) => {
        const last = lastAnswerOf(member, view);
        if (last === undefined) return false;
        // Who runs it already needs no leave; etcd ends the downgrade when all do.
        return last.version.startsWith(`${operation.to}.`) ||
          last.storageVersion?.startsWith(`${operation.to}.`) === true;
      });
    case "defragment": {
      const member = view.members.find((each) => each.id === operation.memberId);
      if (member === undefined) return true;
      const last = lastAnswerOf(member, view);
      if (last === undefined) return false;
      // What was written meanwhile may have made it larger again, but not with free space.
      const freeBytes = last.dbSizeBytes - last.dbInUseBytes;
      return last.dbSizeBytes < operation.sizeBytes || freeBytes * 10 < last.dbSizeBytes;
    }
    default:
      return operation satisfies never;
  }
}

/** False as well while it is not known. */
function runs(member: EtcdMember, minor: string, view: PlanView): boolean {
  return lastAnswerOf(member, view)?.version.startsWith(`${minor}.`) === true;
}

/** From 3.6 on each member's data follows the cluster's version, which is proof where that itself is not known. */
function isRaised(minor: string, view: PlanView): boolean {
  const { clusterVersion, members } = view;
  if (clusterVersion !== undefined) return clusterVersion.startsWith(`${minor}.`);
  return members.every((member) => lastAnswerOf(member, view)?.storageVersion?.startsWith(`${minor}.`) === true);
}

/** What the first of its addresses that was asked has said; undefined: nothing, or no answer. */
function lastAnswerOf({ id, clientUrls }: EtcdMember, { endpoints }: PlanView): EtcdAnswer | undefined {
  const last = clientUrls.map((url) => endpoints.get(url)?.last).find((each) => each !== undefined);
  return last?.kind === "answer" && last.memberId === id ? last : undefined;
}

function sizeAimedAt(plan: Plan): number | undefined {
  return plan.operations.find((each) => each.kind === "resize")?.to;
}

/** A member that died meanwhile has made the cluster small enough already: nobody else need go, or give up its lead. */
function targetSizeNotExceeded(view: PlanView, plan: Plan): boolean {
  const target = sizeAimedAt(plan);
  return target !== undefined && view.members.length <= target;
}

/** Every place is taken, if by other spares than the plan named: first come, first served. */
function targetSizeReached(view: PlanView, plan: Plan): boolean {
  const target = sizeAimedAt(plan);
  return target !== undefined && view.members.filter((member) => !member.isLearner).length >= target;
}

/**
 * The first operation that is not done; undefined: the plan is finished. A member that the plan does not name, because
 * it joined meanwhile, is upgraded like the others before the cluster's version is waited for.
 */
export function nextOperation(plan: Plan, view: PlanView): Operation | undefined {
  const next = plan.operations.find((operation) => !isDone(operation, view, plan));
  if (next?.kind !== "clusterVersion") return next;
  const behind = view.members.find((member) => !runs(member, next.to, view));
  return behind === undefined ? next : { kind: "upgrade", memberId: behind.id, to: next.to };
}
