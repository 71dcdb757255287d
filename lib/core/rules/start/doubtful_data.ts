/**
 * Own data that must not be started as it is, and for which no running cluster gives new data: damaged, an older copy, or
 * damaged and of a newer life than the cluster that runs. The node waits until an operator approves to continue without it. The
 * data-dir is renamed, never removed.
 */
import { digestOf } from "../../facts/digest.ts";
import { isApproved, livingClusters, planOf, withChoices } from "../../evidence/order.ts";
import { logConflict } from "../../evidence/log_terms.ts";
import { logWentBack } from "../../evidence/log_went_back.ts";
import { supersedes } from "../../evidence/lineage.ts";
import type { RunningCluster } from "../../evidence/running_cluster.ts";
import type { View } from "../../facts/view.ts";
import { unusablePeers } from "../quorum_loss.ts";
import type { DataDir, ValidData } from "../../facts/data_dir.ts";
import type { Lineage } from "../../facts/node_record.ts";
import type { Reason } from "../../facts/reason.ts";

export type DoubtfulOutcome =
  | { readonly kind: "wait"; readonly level: "info" | "error"; readonly reason: Reason }
  | { readonly kind: "quarantine"; readonly label: "damaged" | "removed" | "superseded"; readonly reason: Reason };

/** The same until this disk's data or record changes. */
function digest({ self, record }: View, ...parts: readonly string[]): string {
  return digestOf("give up", self.name, record.nonce, ...parts);
}

const givenUp = (code: string, state: string): DoubtfulOutcome => ({
  kind: "quarantine",
  label: "damaged",
  reason: { code, text: `${state}, and an operator approved to continue without it` },
});

/** No cluster runs that could give this node its data anew. Damaged is not absent: others recover only without it. */
export function decideDamaged(view: View, { what }: Extract<DataDir, { kind: "damaged" }>): DoubtfulOutcome {
  const state = `the data-dir is damaged (${what})`;
  const plan = digest(view, "damaged");
  if (isApproved(view, plan)) return givenUp("data_damaged", state);
  const others = unusablePeers(view);
  const also = others.length === 0 ? "" : `, so is the data of ${others.join(", ")}`;
  const text = `${state}${also}, and no running cluster can give this node its data anew`;
  const label = "rename this node's data-dir and continue as a node without data";
  const hint = "start the other members; if too few of them have valid data, repair this data-dir";
  const reason = withChoices({ code: "data_damaged", text }, [{ plan: planOf(plan), label }], hint);
  return { kind: "wait", level: others.length === 0 ? "info" : "error", reason };
}

/**
 * The running cluster is of an older epoch than this damaged data: it never had what this life wrote. Undefined: it is
 * not, and has the data. The epochs are those of this node's record and of the cluster itself.
 */
export function decideDamagedNewer(
  view: View,
  { what }: Extract<DataDir, { kind: "damaged" }>,
  theirs: Lineage | undefined,
): DoubtfulOutcome | undefined {
  const own = view.record.started?.lineage;
  if (own === undefined || theirs === undefined || !supersedes(own, theirs)) return undefined;
  const state = `the data-dir is damaged (${what}) and of epoch ${own.epoch}, and the running cluster is of epoch ` +
    `${theirs.epoch} of the same lineage`;
  const plan = digest(view, "damaged newer", own.token, theirs.token);
  if (isApproved(view, plan)) return givenUp("damaged_newer_epoch", state);
  const text = `${state}: what epoch ${own.epoch} wrote is not in that cluster`;
  const label = `rename this node's data-dir and join the cluster of epoch ${theirs.epoch}`;
  const hint = `start the members of epoch ${own.epoch}, or repair this data-dir`;
  const choices = [{ plan: planOf(plan), label }];
  return { kind: "wait", level: "error", reason: withChoices({ code: "damaged_newer_epoch", text }, choices, hint) };
}

/** A member that is ahead of its cluster, as the cluster lists it. */
const aheadCases = {
  // A member that was stopped a moment ago may be ahead of answers from before: the next answers end that wait.
  listed: {
    code: "member_ahead",
    approvedCode: "member_ahead",
    level: "info",
    label: "superseded",
    digestName: "member ahead",
  },
  removed: {
    code: "removed_ahead",
    approvedCode: "removed_member",
    level: "error",
    label: "removed",
    digestName: "removed ahead",
  },
} as const;

/**
 * The cluster lacks what this member has applied and what was committed, therefore: it overwrote entries of this member's
 * log (log_terms.ts), or its revision or term is lower, and neither of a cluster ever falls. Disks of that cluster went
 * back in time, and what it acknowledged may be here alone. An etcd that starts on such data serves writes that the others
 * lack. Undefined: nothing shows it.
 */
export function decideMemberAhead(
  view: View,
  data: ValidData,
  { answer }: RunningCluster,
  entry: keyof typeof aheadCases,
): DoubtfulOutcome | undefined {
  const lists = entry === "listed"
    ? `the cluster lists member ${data.memberId}`
    : `the cluster does not list member ${data.memberId} any more`;
  const overwritten = overwrittenText(view);
  if (overwritten !== undefined) return memberAhead(view, data, `${lists}, and ${overwritten}`, entry, "error");
  const answers = livingClusters(view).map((each) => each.answer).filter(({ clusterId }) =>
    clusterId === answer.clusterId
  );
  const revision = Math.max(answer.revision, ...answers.map((each) => each.revision));
  const term = Math.max(answer.raftTerm, ...answers.map((each) => each.raftTerm));
  const ownTerm = data.lastLog?.term ?? 0;
  if (data.revision <= revision && ownTerm <= term) return undefined;
  const behind = data.revision > revision
    ? `its data is at revision ${revision}, this member's at revision ${data.revision}`
    : `it is at raft term ${term}, and this member's log ends in term ${ownTerm}`;
  return memberAhead(view, data, `${lists}, and ${behind}`, entry);
}

/** The same, while no quorum of the cluster answers: another member's log has overwritten entries of this one. */
export function decideOverwritten(view: View, data: ValidData): DoubtfulOutcome | undefined {
  const overwritten = overwrittenText(view);
  return overwritten === undefined ? undefined : memberAhead(view, data, overwritten, "listed", "error");
}

function overwrittenText(view: View): string | undefined {
  const conflict = logConflict(view);
  if (conflict === undefined) return undefined;
  const { index, ownTerm, term, name } = conflict;
  return `entry ${index} of its raft log is of term ${term} (node "${name}"), where this member has applied one of term ` +
    `${ownTerm}`;
}

function memberAhead(
  view: View,
  data: ValidData,
  state: string,
  entry: keyof typeof aheadCases,
  least?: "error",
): DoubtfulOutcome {
  const { code, approvedCode, level, label, digestName } = aheadCases[entry];
  const plan = digest(view, digestName, data.clusterId, data.memberId, String(data.revision));
  if (isApproved(view, plan)) {
    const text = `${state}, and an operator approved to continue without this member's data`;
    return { kind: "quarantine", label, reason: { code: approvedCode, text } };
  }
  const text = `${state}: disks of the cluster went back in time, and acknowledged writes may be on this disk alone`;
  const hint = "look into a copy of this data-dir (etcd on the copy, with --force-new-cluster) and save what the " +
    "cluster lacks; put the newer disks of the other members back if there are any";
  const choices = [{ plan: planOf(plan), label: "quarantine this node's data and join as a new member" }];
  return { kind: "wait", level: least ?? level, reason: withChoices({ code, text }, choices, hint) };
}

/** A log that ends before it once did (log_went_back.ts). Undefined: it may start. */
export function decideLog(view: View, data: ValidData): DoubtfulOutcome | undefined {
  const gap = logWentBack(view);
  if (gap === undefined) return undefined;
  const { ownIndex, seenIndex, witness } = gap;
  const state = `the log of this member ends at ${ownIndex}, and ${witness} saw it reach ${seenIndex}`;
  const plan = digest(view, "log", data.clusterId, data.memberId, String(ownIndex));
  const alone = data.members.filter((member) => !member.isLearner).length <= 1;
  if (isApproved(view, plan)) return alone ? undefined : givenUp("log_went_back", state);
  const label = alone
    ? "start from this older data; what was written later is lost"
    : "rename this node's data-dir and join as a new member";
  const reason = { code: "log_went_back", text: `${state}: it is an older copy and has forgotten acknowledged writes` };
  const choices = [{ plan: planOf(plan), label }];
  return { kind: "wait", level: "error", reason: withChoices(reason, choices, "put the newer disk back") };
}
