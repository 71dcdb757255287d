/**
 * The progress of a plan: its operations are ordered and idempotent, and each has a check whether it is done. The plan is
 * written to etcd (`/_e2d/plan`) before its first operation and deleted after its last, so that the node of the next leader
 * finishes it. The checks use the state of the cluster, never a record of what was done.
 */
import type { EndpointFacts, EtcdAnswer, EtcdMember } from "../facts/cluster.ts";
import type { Operation, Plan } from "../facts/plan.ts";

/** The facts that the checks use. */
export interface PlanView {
  readonly members: readonly EtcdMember[];
  readonly leaderId: string | undefined;
  readonly recordedSize: number | undefined;
  readonly lastSnapshotAtWallMs: number | undefined;
  /** As reported by the own member; undefined: not known. */
  readonly clusterVersion: string | undefined;
  readonly endpoints: ReadonlyMap<string, EndpointFacts>;
}

/** True if the operation has no effect any more. */
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
      // A member that was removed since needs no upgrade: its replacement installs the right version.
      if (member === undefined) return true;
      return runs(member, operation.to, view);
    }
    case "clusterVersion":
      return view.members.every((member) => runs(member, operation.to, view)) && isRaised(operation.to, view);
    case "allowDowngrade":
      return view.members.every((member) => {
        const last = lastAnswerOf(member, view);
        if (last === undefined) return false;
        // A member that runs the version already needs no downgrade; etcd ends the downgrade when all members run it.
        return last.version.startsWith(`${operation.to}.`) ||
          last.storageVersion?.startsWith(`${operation.to}.`) === true;
      });
    case "defragment": {
      const member = view.members.find((each) => each.id === operation.memberId);
      if (member === undefined) return true;
      const last = lastAnswerOf(member, view);
      if (last === undefined) return false;
      // Writes during the defragmentation may have increased the file again, but not its reclaimable space.
      const freeBytes = last.dbSizeBytes - last.dbInUseBytes;
      return last.dbSizeBytes < operation.sizeBytes || freeBytes * 10 < last.dbSizeBytes;
    }
    default:
      return operation satisfies never;
  }
}

/** False also if the member's version is not known. */
function runs(member: EtcdMember, minor: string, view: PlanView): boolean {
  return lastAnswerOf(member, view)?.version.startsWith(`${minor}.`) === true;
}

/** Since 3.6 each member's storage version follows the cluster version: it is evidence if that one is not known. */
function isRaised(minor: string, view: PlanView): boolean {
  const { clusterVersion, members } = view;
  if (clusterVersion !== undefined) return clusterVersion.startsWith(`${minor}.`);
  return members.every((member) => lastAnswerOf(member, view)?.storageVersion?.startsWith(`${minor}.`) === true);
}

/** The last answer at the first of the member's URLs that was probed; undefined: none. */
function lastAnswerOf({ id, clientUrls }: EtcdMember, { endpoints }: PlanView): EtcdAnswer | undefined {
  const last = clientUrls.map((url) => endpoints.get(url)?.last).find((each) => each !== undefined);
  return last?.kind === "answer" && last.memberId === id ? last : undefined;
}

function targetSizeOf(plan: Plan): number | undefined {
  return plan.operations.find((each) => each.kind === "resize")?.to;
}

/** A removed dead member may have made the cluster small enough: no other member must be removed. */
function targetSizeNotExceeded(view: PlanView, plan: Plan): boolean {
  const target = targetSizeOf(plan);
  return target !== undefined && view.members.length <= target;
}

/** True if the cluster has all its voters, also if other standby nodes than those in the plan have joined. */
function targetSizeReached(view: PlanView, plan: Plan): boolean {
  const target = targetSizeOf(plan);
  return target !== undefined && view.members.filter((member) => !member.isLearner).length >= target;
}

/**
 * The first operation that is not done; undefined: the plan is done. A member that joined after the plan was made is
 * upgraded like the others before the plan waits for the cluster version.
 */
export function nextOperation(plan: Plan, view: PlanView): Operation | undefined {
  const next = plan.operations.find((operation) => !isDone(operation, view, plan));
  if (next?.kind !== "clusterVersion") return next;
  const behind = view.members.find((member) => !runs(member, next.to, view));
  return behind === undefined ? next : { kind: "upgrade", memberId: behind.id, to: next.to };
}
