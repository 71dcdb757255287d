/** The whole rollover as an ordered list for people: what is done, what is next, what only they can do. */
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
  /** undefined: the members were not asked. */
  members: readonly MemberTrust[] | undefined;
}

export interface RolloverStep {
  phase: "prepare" | "trust" | "reissue" | "drop";
  what: string;
  /** "unknown" where it takes asking the members, or nobody can know but the operator. */
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

/** In order; a step may begin when all before it are done on every member. */
export const rolloverPlan: readonly RolloverStep[] = [
  {
    phase: "prepare",
    what:
      "e2d pki rollover prepare, on one machine; copy ca-next.crt and ca-next.key (0600) beside every member's ca.crt",
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
      "restart e2d on one member after the other, each time until it is healthy: etcd takes the new ca.crt up, gossip " +
      "accepts the next key beside the present one, new snapshots are sealed for both keys",
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
      "e2d pki rollover reissue, on every member: its pairs and ca.key become the next authority's; etcd takes them " +
      "up without a restart, gossip and snapshots the next key within seconds; the old one is kept as ca-old-….key",
    isDone: reached("reissued"),
  },
  {
    phase: "reissue",
    what: "give certificates of the next authority to every other client of etcd (e2d pki gencerts makes them)",
    isDone: operatorKnows,
  },
  {
    phase: "drop",
    what: "e2d pki rollover drop, on every member: ca.crt trusts the next authority alone",
    isDone: reached("dropped"),
  },
  {
    phase: "drop",
    what: "restart e2d on one member after the other: etcd and gossip refuse what is the old authority's",
    isDone: unblocked(blockersOfEnd),
  },
  {
    phase: "drop",
    what: "keep ca-old-….key for as long as a snapshot from before the rollover may have to be restored",
    isDone: operatorKnows,
  },
];

/** What must be true of every member before a phase may begin on any. */
export function blockersOf(phase: "trust" | "reissue" | "drop", members: readonly MemberTrust[]): string[] {
  switch (phase) {
    case "trust":
      // Trusting one authority more shuts nobody out.
      return [];
    case "reissue":
      return blockersOfReissue(members);
    case "drop":
      return blockersOfDrop(members);
    default:
      return phase satisfies never;
  }
}
