/**
 * Which members leave the cluster, decided beside the etcd leader only: dead members, and learners that make no
 * progress. One at a time, never while another change runs, never against quorum, never while raft hears the member.
 * And how a joiner gets in: through any member with a quorum, because the Go original beside the leader would not add
 * it. A joiner removes only its own stale member, and none that may live.
 */
import { nodesOf } from "../../evidence/member_evidence.ts";
import { answerOf, changeInProgress, goneForMs, peerOf, unreachableForMs } from "../../evidence/members.ts";
import { raftContact } from "../../evidence/raft_evidence.ts";
import { durationText } from "../../../units.ts";
import type { View } from "../../facts/view.ts";
import { reportedHung } from "../../evidence/member_evidence.ts";
import { refusalToRemove } from "./removal_safety.ts";
import type { EtcdAnswer, EtcdMember } from "../../facts/cluster.ts";
import type { Reason } from "../../facts/reason.ts";
import { isPresent } from "../../facts/peer.ts";

export type MembershipAction =
  | { readonly kind: "remove"; readonly member: EtcdMember; readonly reason: Reason }
  | { readonly kind: "promote"; readonly member: EtcdMember; readonly reason: Reason }
  | { readonly kind: "wait"; readonly reason: Reason; readonly level?: "error" }
  | { readonly kind: "nothing" };

/** A learner whose process is gone is not waited for as long as one that merely makes no progress. */
const unstartedGoneMs = 10_000;

/** For the e2d beside the leader. `own` is its own etcd's fresh, linearizable answer. */
export function decideReplacement(view: View, own: EtcdAnswer): MembershipAction {
  if (view.settings.paused) return { kind: "nothing" };
  const busy = changeInProgress(own.members);
  if (busy !== undefined) return decideInProgress(busy, view, own);

  const gone = own.members.filter((member) =>
    member.id !== own.memberId && (goneForMs(member, view) !== undefined || reportedHung(member, view))
  );
  let waiting: Extract<MembershipAction, { kind: "wait" }> | undefined;
  for (const member of gone) {
    const action = decideGone(member, view, own);
    if (action.kind === "remove") return action;
    // A wait at level error comes first.
    if (waiting === undefined || action.level === "error" && waiting.level === undefined) waiting = action;
  }
  return waiting ?? { kind: "nothing" };
}

/** A member that gossip holds for gone, or whose own node reports that its etcd hangs. */
function decideGone(
  member: EtcdMember,
  view: View,
  own: EtcdAnswer,
): Extract<MembershipAction, { kind: "wait" | "remove" }> {
  const timeoutMs = view.settings.healthCheckTimeoutMs;
  const limit = durationText(timeoutMs);
  const how = howGone(member, view);
  const known = nodesOf(member, view).length > 0;
  // Gossip's verdict needs its own time; the time-out runs from the moment etcd stopped answering. A member that
  // gossip never saw must be missing for the whole time-out.
  const due = unreachableForMs(member, view) >= timeoutMs && (known || goneForMs(member, view)! >= timeoutMs);
  if (!due) {
    const text = `"${member.name}" ${how}; it is removed when etcd has not reached it for ${limit}`;
    return { kind: "wait", reason: { code: "member_silent", text } };
  }
  // Raft may work where nothing else of an etcd does; its own node knows better.
  const contact = reportedHung(member, view) ? "inactive" : raftContact(member.id, own, view);
  if (contact === "active") {
    const text =
      `"${member.name}" answers neither gossip nor clients for ${limit} or more, and raft hears it: it votes and stays`;
    const hint =
      `open its gossip and client ports between the members; if its node is to go, run "etcdctl member remove ${member.id}"`;
    return { kind: "wait", level: "error", reason: { code: "member_reachable_by_raft", text, hint } };
  }
  if (contact === "unasked") {
    const text = `"${member.name}" is gone by gossip and by etcd; asking the own etcd whether raft hears it`;
    return { kind: "wait", reason: { code: "asking_raft", text } };
  }
  const refusal = refusalToRemove(member, own, view);
  if (refusal !== undefined) {
    const text = `"${member.name}" is gone and stays a member, because ${refusal}`;
    return { kind: "wait", reason: { code: "removal_unsafe", text } };
  }
  const text = `"${member.name}" ${how}, and etcd has not reached it for ${limit} or more`;
  return { kind: "remove", member, reason: { code: "member_dead", text } };
}

const howGone = (member: EtcdMember, view: View) =>
  reportedHung(member, view) ? "reports that its etcd hangs" : "is gone by gossip";

function decideInProgress(member: EtcdMember, view: View, own: EtcdAnswer): MembershipAction {
  const { settings, nowMs } = view;
  const label = member.name === "" ? member.peerUrls.join(", ") : member.name;
  const peer = peerOf(member, view);
  const alive = peer !== undefined && isPresent(peer);
  const answer = answerOf(member, view);

  if (member.isLearner && answer !== undefined && answer.isLearner && answer.leaderId === own.memberId) {
    const behind = own.raftIndex - answer.raftAppliedIndex;
    if (behind <= Math.max(10, own.raftIndex * 0.05)) {
      return { kind: "promote", member, reason: { code: "caught_up", text: `learner "${label}" has caught up` } };
    }
  }
  const facts = member.clientUrls.map((url) => view.endpoints.get(url))
    .find((each) => each !== undefined && (each.last.kind !== "answer" || each.last.memberId === member.id));
  // Without a leader nothing is replicated: a time without one is no failure of the joiner.
  const led = view.leaderSinceMs ?? view.nowMs;
  const since = Math.max(view.watchingSinceMs, led, facts?.progressAtMs ?? 0, firstSeenMs(member, view));
  const stalledMs = nowMs - since;
  // A node with an empty disk at the address of a listed member removes that stale member itself.
  const limitMs = alive ? settings.learnerStallTimeoutMs : Math.max(unstartedGoneMs, settings.healthCheckTimeoutMs);
  if (stalledMs < limitMs) {
    return { kind: "wait", reason: { code: "change_runs", text: `"${label}" is joining; one change at a time` } };
  }
  const refusal = refusalToRemove(member, own, view);
  if (refusal !== undefined) {
    return {
      kind: "wait",
      reason: { code: "removal_unsafe", text: `"${label}" never joined and stays, because ${refusal}` },
    };
  }
  return {
    kind: "remove",
    member,
    reason: { code: "joiner_stalled", text: `"${label}" made no progress for ${Math.round(stalledMs / 1000)} s` },
  };
}

function firstSeenMs(member: EtcdMember, view: View): number {
  return view.memberSinceMs.get(member.id) ?? view.nowMs;
}
