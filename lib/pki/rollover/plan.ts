/** The whole rollover as an ordered list of steps for operators, with their state. */
import {
  blockersOfDrop,
  blockersOfEnd,
  blockersOfReissue,
  type MemberTrust,
  type RolloverFiles,
  type RolloverPhase,
  rolloverPhase,
} from "./rollover.ts";

export interface RolloverView {
  files: RolloverFiles;
  /** Undefined: the members were not probed. */
  members: readonly MemberTrust[] | undefined;
}

export interface RolloverStep {
  phase: "prepare" | "trust" | "reissue" | "drop";
  what: string;
  /** "unknown" when the members were not probed, or when only the operator can know. */
  isDone(view: RolloverView): "yes" | "no" | "unknown";
}

const phaseOrder: readonly RolloverPhase["kind"][] = [
  "none",
  "prepared",
  "trusted",
  "reissuing",
  "reissued",
  "dropped",
];

const reached = (phase: RolloverPhase["kind"]) => (view: RolloverView) =>
  phaseOrder.indexOf(rolloverPhase(view.files).kind) >= phaseOrder.indexOf(phase) ? "yes" : "no";

const unblocked = (blockers: (members: readonly MemberTrust[]) => string[]) => (view: RolloverView) =>
  view.members === undefined ? "unknown" : blockers(view.members).length === 0 ? "yes" : "no";

const operatorKnows = () => "unknown" as const;

/** The steps in order; a step may begin when all previous steps are done on every member. */
export const rolloverPlan: readonly RolloverStep[] = [
  {
    phase: "prepare",
    what:
      "e2d pki rollover prepare, on one machine; copy ca-next.crt and ca-next.key (0600) to the folder of ca.crt on every member",
    isDone: reached("prepared"),
  },
  {
    phase: "trust",
    what: "e2d pki rollover trust, on every member: ca.crt trusts both authorities",
    isDone: reached("trusted"),
  },
  {
    phase: "trust",
    what:
      "restart e2d on one member after the other, each time until it is healthy: etcd reads the new ca.crt, gossip " +
      "accepts both keys, new snapshots are encrypted for both keys",
    isDone: unblocked(blockersOfReissue),
  },
  {
    phase: "trust",
    what: "give the new ca.crt, which holds both authorities, to every other client of etcd (a Kubernetes API server)",
    isDone: operatorKnows,
  },
  {
    phase: "reissue",
    what:
      "e2d pki rollover reissue, on every member: the next authority signs its pairs and replaces ca.key; etcd uses " +
      "them without a restart, gossip and snapshots use the next key within seconds; the old key stays as ca-old-….key",
    isDone: reached("reissued"),
  },
  {
    phase: "reissue",
    what: "give certificates of the next authority to every other client of etcd (e2d pki gencerts creates them)",
    isDone: operatorKnows,
  },
  {
    phase: "drop",
    what: "e2d pki rollover drop, on every member: ca.crt trusts only the next authority",
    isDone: reached("dropped"),
  },
  {
    phase: "drop",
    what: "restart e2d on one member after the other: etcd and gossip refuse the old authority",
    isDone: unblocked(blockersOfEnd),
  },
  {
    phase: "drop",
    what: "keep ca-old-….key for as long as a snapshot from before the rollover may have to be restored",
    isDone: operatorKnows,
  },
];

/** The reasons why a phase may not begin on any member yet; empty when it may. */
export function blockersOf(phase: "trust" | "reissue" | "drop", members: readonly MemberTrust[]): string[] {
  switch (phase) {
    case "trust":
      // Trusting an additional CA excludes no member.
      return [];
    case "reissue":
      return blockersOfReissue(members);
    case "drop":
      return blockersOfDrop(members);
    default:
      return phase satisfies never;
  }
}
