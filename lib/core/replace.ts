/**
 * Who has to leave the cluster, decided beside the etcd leader only: dead members, and learners that never get
 * anywhere. One at a time, never while another change runs, never against quorum. And how a joiner gets in: itself,
 * through any member with a quorum, because a Go node beside the leader would not do it.
 */
import { answerOf, changeInProgress, goneForMs, peerOf, refusalToRemove, unreachableForMs } from "./quorum.ts";
import { durationText } from "../units.ts";
import type { EtcdAnswer, EtcdMember, Reason, View } from "./view.ts";

export type ClusterDeed =
  | { readonly kind: "remove"; readonly member: EtcdMember; readonly reason: Reason }
  | { readonly kind: "promote"; readonly member: EtcdMember; readonly reason: Reason }
  | { readonly kind: "wait"; readonly reason: Reason }
  | { readonly kind: "nothing" };

/** A learner whose process is gone is not waited for as long as one that merely makes no progress. */
const unstartedGoneMs = 10_000;

/** True when this node's own etcd leads, and proves by a linearizable read that it still does. */
export function leads(own: EtcdAnswer | undefined): boolean {
  return own !== undefined && own.linearizable && !own.isLearner && own.leaderId === own.memberId;
}

/** For the e2d beside the leader. `own` is its own etcd's fresh, linearizable answer. */
export function decideReplacement(view: View, own: EtcdAnswer): ClusterDeed {
  if (view.settings.paused) return { kind: "nothing" };
  const busy = changeInProgress(own.members);
  if (busy !== undefined) return decideInProgress(busy, view, own);

  const timeoutMs = view.settings.healthCheckTimeoutMs;
  const gone = own.members.filter((member) => member.id !== own.memberId && goneForMs(member, view) !== undefined);
  let waiting: Reason | undefined;
  for (const member of gone) {
    const silentMs = unreachableForMs(member, view);
    const known = view.peers.some((peer) => member.peerUrls.includes(peer.peerUrl) || peer.name === member.name);
    // Gossip's verdict needs its own time; the time-out runs from the moment etcd stopped answering. A member that
    // gossip never saw must be missing for the whole time-out.
    const due = silentMs >= timeoutMs && (known || goneForMs(member, view)! >= timeoutMs);
    if (!due) {
      waiting ??= {
        code: "member_silent",
        text: `"${member.name}" is gone by gossip; it is removed when etcd has not reached it for ${
          durationText(timeoutMs)
        }`,
      };
      continue;
    }
    const refusal = refusalToRemove(member, own, view);
    if (refusal !== undefined) {
      waiting = { code: "removal_unsafe", text: `"${member.name}" is gone and stays a member, because ${refusal}` };
      continue;
    }
    return {
      kind: "remove",
      member,
      reason: {
        code: "member_dead",
        text: `"${member.name}" is gone by gossip and by etcd for ${durationText(timeoutMs)} or more`,
      },
    };
  }
  return waiting === undefined ? { kind: "nothing" } : { kind: "wait", reason: waiting };
}

function decideInProgress(member: EtcdMember, view: View, own: EtcdAnswer): ClusterDeed {
  const { settings, nowMs } = view;
  const label = member.name === "" ? member.peerUrls.join(", ") : member.name;
  const peer = peerOf(member, view);
  const alive = peer !== undefined && (peer.state === "alive" || peer.state === "suspect");
  const answer = answerOf(member, view);

  if (member.isLearner && answer !== undefined && answer.isLearner && answer.leaderId === own.memberId) {
    const behind = own.raftIndex - answer.raftAppliedIndex;
    if (behind <= Math.max(10, own.raftIndex * 0.05)) {
      return { kind: "promote", member, reason: { code: "caught_up", text: `learner "${label}" has caught up` } };
    }
  }
  const facts = member.clientUrls.map((url) => view.endpoints.get(url)).find((each) => each !== undefined);
  const since = Math.max(view.watchingSinceMs, facts?.progressAtMs ?? 0, firstSeenMs(member, view));
  const stalledMs = nowMs - since;
  // An empty disk under a listed member's address is its former self's end, and its own node sees to that.
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

export type JoinStep =
  | { readonly kind: "wait"; readonly reason: Reason; readonly spare?: boolean }
  | { readonly kind: "removeFormerSelf"; readonly member: EtcdMember; readonly reason: Reason }
  | { readonly kind: "add"; readonly reason: Reason }
  /** Listed by our own doing in this life, and never started: start it. */
  | { readonly kind: "start"; readonly member: EtcdMember };

/** For a node without data beside a running cluster. `added` is the member id that this process was given. */
export function decideJoin(view: View, cluster: EtcdAnswer, added: string | undefined): JoinStep {
  const { self, settings } = view;
  // The address is the member's identity; a name is, too, once nothing answers at the address it had.
  const listed = cluster.members.find((member) => member.peerUrls.includes(self.peerUrl)) ??
    cluster.members.find((member) => member.name === self.name && answerOf(member, view) === undefined);
  if (listed !== undefined && listed.id === added) return { kind: "start", member: listed };
  if (settings.paused) return { kind: "wait", reason: { code: "paused", text: "paused: not joining until resumed" } };
  if (listed !== undefined) {
    const refusal = refusalToRemove(listed, cluster, view);
    if (refusal !== undefined) {
      return {
        kind: "wait",
        reason: { code: "former_self_stays", text: `this node's former member cannot be removed: ${refusal}` },
      };
    }
    return {
      kind: "removeFormerSelf",
      member: listed,
      reason: { code: "former_self", text: `member ${listed.id} was this node, and its data is gone` },
    };
  }
  const busy = changeInProgress(cluster.members);
  if (busy !== undefined) {
    const label = busy.name === "" ? busy.peerUrls.join(", ") : busy.name;
    return { kind: "wait", reason: { code: "change_runs", text: `"${label}" is joining; one change at a time` } };
  }
  const size = cluster.recordedSize ?? settings.requiredSize;
  if (cluster.members.length >= size) {
    return {
      kind: "wait",
      spare: true,
      reason: { code: "spare", text: `the cluster has its ${size} members; this node is a spare` },
    };
  }
  return {
    kind: "add",
    reason: { code: "place_free", text: `${cluster.members.length} of ${size} members are there` },
  };
}
