/**
 * A change of the cluster as data: ordered, idempotent operations, each with a check whether it is done already. The
 * plan is written to etcd (`/_e2d/plan`) before its first operation and taken out after its last, so that the next
 * leader's e2d finishes what the last began. The check looks at the cluster, never at a note of what was done.
 */
import type { EndpointFacts, EtcdAnswer, EtcdMember } from "./view.ts";

export type Operation =
  /** Take a verified snapshot, newer than the plan. */
  | { readonly kind: "snapshot" }
  /** Let another voter lead, if this member leads. */
  | { readonly kind: "moveLeaderFrom"; readonly memberId: string }
  | { readonly kind: "remove"; readonly memberId: string; readonly name: string }
  /** A member of that peer URL is listed. Carried out by the joiner itself; the leader's e2d waits for it. */
  | { readonly kind: "add"; readonly peerUrl: string }
  /** The member of that peer URL is a voter. */
  | { readonly kind: "promote"; readonly peerUrl: string }
  /** The cluster record says this size. */
  | { readonly kind: "resize"; readonly from: number; readonly to: number }
  /** The member's e2d restarts it with an etcd of this minor version ("3.6"). */
  | { readonly kind: "upgrade"; readonly memberId: string; readonly to: string }
  /** etcd makes its data and its protocol those of this minor version, one below what runs. */
  | { readonly kind: "allowDowngrade"; readonly to: string }
  /** The member's database file, of this size when the plan was made, gives its free space back. */
  | { readonly kind: "defragment"; readonly memberId: string; readonly sizeBytes: number };

export interface Plan {
  /** Random; names the plan for people and approvals. */
  readonly id: string;
  readonly purpose: "replace" | "scale" | "upgrade" | "defrag";
  /** One sentence for people. */
  readonly text: string;
  readonly createdAtWallMs: number;
  readonly operations: readonly Operation[];
}

/** What the checks look at. */
export interface PlanView {
  readonly members: readonly EtcdMember[];
  readonly leaderId: string | undefined;
  readonly recordedSize: number | undefined;
  readonly lastSnapshotAtWallMs: number | undefined;
  readonly endpoints: ReadonlyMap<string, EndpointFacts>;
}

export function isDone(operation: Operation, view: PlanView, plan: Plan): boolean {
  switch (operation.kind) {
    case "snapshot":
      return view.lastSnapshotAtWallMs !== undefined && view.lastSnapshotAtWallMs >= plan.createdAtWallMs;
    case "moveLeaderFrom":
      return isSmall(view, plan) || (view.leaderId !== undefined && view.leaderId !== operation.memberId);
    case "remove":
      return isSmall(view, plan) || !view.members.some((member) => member.id === operation.memberId);
    case "add":
      return isFull(view, plan) || view.members.some((member) => member.peerUrls.includes(operation.peerUrl));
    case "promote":
      return isFull(view, plan) ||
        view.members.some((member) => !member.isLearner && member.peerUrls.includes(operation.peerUrl));
    case "resize":
      return view.recordedSize === operation.to;
    case "upgrade": {
      const member = view.members.find((each) => each.id === operation.memberId);
      // A member that has gone since needs no other version: its successor brings its own.
      if (member === undefined) return true;
      return lastAnswerOf(member, view)?.version.startsWith(`${operation.to}.`) === true;
    }
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

/** What the first of its addresses that was asked has said; undefined: nothing, or no answer. */
function lastAnswerOf({ clientUrls }: EtcdMember, { endpoints }: PlanView): EtcdAnswer | undefined {
  const last = clientUrls.map((url) => endpoints.get(url)?.last).find((each) => each !== undefined);
  return last?.kind === "answer" ? last : undefined;
}

function sizeAimedAt(plan: Plan): number | undefined {
  return plan.operations.find((each) => each.kind === "resize")?.to;
}

/** A member that died meanwhile has made the cluster small enough already: nobody else need go, or give up its lead. */
function isSmall(view: PlanView, plan: Plan): boolean {
  const target = sizeAimedAt(plan);
  return target !== undefined && view.members.length <= target;
}

/** Every place is taken, if by other spares than the plan named: first come, first served. */
function isFull(view: PlanView, plan: Plan): boolean {
  const target = sizeAimedAt(plan);
  return target !== undefined && view.members.filter((member) => !member.isLearner).length >= target;
}

/** The first operation that is not done; undefined: the plan is finished. */
export function nextOperation(plan: Plan, view: PlanView): Operation | undefined {
  return plan.operations.find((operation) => !isDone(operation, view, plan));
}
