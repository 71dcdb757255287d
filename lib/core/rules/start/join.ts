/** How a node without data becomes a member: through any member with a quorum, removing only its own stale member. */
import type { Reason } from "../../facts/reason.ts";
import type { EtcdAnswer, EtcdMember } from "../../facts/cluster.ts";
import type { View } from "../../facts/view.ts";
import { stopOfChange } from "../stops.ts";
import { nameConflictReason } from "../../evidence/name_conflict.ts";
import { changeInProgress, goneForMs } from "../../evidence/members.ts";
import { unlistedCluster } from "../../evidence/foreign_peers.ts";
import { clientEvidence, reportedHung } from "../../evidence/member_evidence.ts";
import { raftContact } from "../../evidence/raft_evidence.ts";
import { durationText } from "../../../units.ts";
import { refusalToRemove } from "../membership/removal_safety.ts";

export type JoinStep =
  | { readonly kind: "wait"; readonly reason: Reason; readonly isStandby?: boolean; readonly level?: "error" }
  | { readonly kind: "removeStaleMember"; readonly member: EtcdMember; readonly reason: Reason }
  | { readonly kind: "add"; readonly reason: Reason }
  /** Listed by our own doing in this life, and never started: start it. */
  | { readonly kind: "start"; readonly member: EtcdMember };

export type JoinWait = Extract<JoinStep, { kind: "wait" }>;

export const joinWait = (code: string, text: string): JoinWait => ({ kind: "wait", reason: { code, text } });

/** For a node without data beside a running cluster. `added` is the member id that this process was given. */
export function decideJoin(view: View, cluster: EtcdAnswer, added: string | undefined): JoinStep {
  const { self, settings } = view;
  const here = cluster.members.find((member) => member.peerUrls.includes(self.peerUrl));
  if (here !== undefined && here.id === added) return { kind: "start", member: here };
  const stop = stopOfChange(view, cluster);
  if (stop !== undefined) return { kind: "wait", reason: stop };
  const named = view.nameConflicts.find(({ name }) => name === self.name);
  if (named !== undefined) return { kind: "wait", level: "error", reason: nameConflictReason(named) };
  const namesake = cluster.members.find((member) => member.name === self.name && member !== here);
  if (namesake !== undefined) {
    const held = nameHeld(namesake, cluster, view);
    if (held !== undefined) return held;
  }
  const stale = here ?? namesake;
  if (stale !== undefined) return decideStale(stale, cluster, view);
  const busy = changeInProgress(cluster.members);
  if (busy !== undefined) {
    const label = busy.name === "" ? busy.peerUrls.join(", ") : busy.name;
    return joinWait("change_runs", `"${label}" is joining; one change at a time`);
  }
  const size = cluster.recordedSize ?? settings.requiredSize;
  if (cluster.members.length >= size) {
    const standby = joinWait("standby", `the cluster has its ${size} members; this node is a standby node`);
    return { ...standby, reason: unlistedCluster(view, cluster.members) ?? standby.reason, isStandby: true };
  }
  const lagging = cluster.members.find((member) => mayListStaleMember(member, cluster, view));
  if (lagging !== undefined) {
    return joinWait("removal_not_applied", `"${lagging.name}" has not confirmed that no member is at ${self.peerUrl}`);
  }
  return {
    kind: "add",
    reason: { code: "place_free", text: `${cluster.members.length} of ${size} members are there` },
  };
}

/**
 * True while a member that runs may still list an earlier member at this node's peer URL. A new etcd asks any member for
 * its own id, by its peer URL: one that has not applied the removal would give it the removed id, and raft would count
 * the empty log as that of the earlier member. A member that is silent for the health-check time-out is not waited for.
 */
function mayListStaleMember(member: EtcdMember, cluster: EtcdAnswer, view: View): boolean {
  if (member.id === cluster.memberId) return false;
  // What a member has applied once it does not forget: an old answer without that address counts.
  const lists = member.clientUrls.flatMap((url) => {
    const last = view.endpoints.get(url)?.last;
    return last?.kind === "answer" && last.memberId === member.id ? [last.members] : [];
  });
  if (lists.some((each) => each.some(({ peerUrls }) => peerUrls.includes(view.self.peerUrl)))) return true;
  if (lists.some((each) => each.length > 0)) return false;
  const evidence = clientEvidence(member, view);
  if (evidence.kind === "unasked") return true;
  const isHere = goneForMs(member, view) === undefined && !reportedHung(member, view);
  return isHere && (evidence.kind === "answers" || evidence.forMs < view.settings.healthCheckTimeoutMs);
}

/**
 * A member of this node's name at another address: a live one keeps the name, whatever this node was started with. A
 * dead one is this node's stale member at its former address, and goes by the evidence for any dead member. Undefined:
 * it is dead.
 */
export function nameHeld(member: EtcdMember, cluster: EtcdAnswer, view: View): JoinWait | undefined {
  const { self, settings } = view;
  const label = `member "${member.name}" (${member.id}) at ${member.peerUrls.join(", ")}`;
  const evidence = clientEvidence(member, view);
  const contact = raftContact(member.id, cluster, view);
  if (evidence.kind === "answers" || contact === "active" || goneForMs(member, view) === undefined) {
    return {
      kind: "wait",
      level: "error",
      reason: {
        code: "name_taken",
        text: `${label} lives and has the name of this node at ${self.peerUrl}`,
        hint: `start this node with another --name, or stop the node at ${member.peerUrls.join(", ")}`,
      },
    };
  }
  if (evidence.kind === "unasked") {
    return joinWait("asking_member", `asking ${evidence.urls.join(", ")} whether ${label} lives`);
  }
  const silentMs = Math.min(evidence.forMs, goneForMs(member, view) ?? 0);
  if (silentMs < settings.healthCheckTimeoutMs) {
    const limit = durationText(settings.healthCheckTimeoutMs);
    return joinWait(
      "member_silent",
      `${label} has this node's name and is silent; it is removed when it was so for ${limit}`,
    );
  }
  if (contact === "unasked") return joinWait("asking_raft", `asking the leader whether raft hears ${label}`);
  return undefined;
}

/** This node's stale member: its disk is empty, and its data will never be back. */
export function decideStale(member: EtcdMember, cluster: EtcdAnswer, view: View): JoinStep {
  const evidence = clientEvidence(member, view);
  if (evidence.kind === "answers") {
    return {
      kind: "wait",
      level: "error",
      reason: {
        code: "address_taken",
        text:
          `member "${member.name}" (${member.id}) answers at ${evidence.url} and is listed at this node's own ${view.self.peerUrl}`,
        hint: "start this node with another --host or --peer-addr and another --name, or stop the other one",
      },
    };
  }
  if (evidence.kind === "unasked") {
    return joinWait(
      "asking_member",
      `asking ${evidence.urls.join(", ")} whether this node's stale member ${member.id} lives`,
    );
  }
  const refusal = refusalToRemove(member, cluster, view);
  if (refusal !== undefined) {
    return joinWait("stale_member_stays", `this node's stale member cannot be removed: ${refusal}`);
  }
  return {
    kind: "removeStaleMember",
    member,
    reason: { code: "stale_member", text: `member ${member.id} was this node, and its data is gone` },
  };
}
