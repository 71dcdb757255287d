/**
 * What becomes of the leader's role when etcd continues to lead while the e2d beside it is silent: nobody takes snapshots,
 * replaces members or carries plans on. Another member's node asks etcd to move the leadership to its own member. Only
 * who sees the managers of a majority by gossip does so, and one node at a time, so that a node which gossip alone has
 * cut off takes nothing and no two nodes pass the leadership to and fro.
 */
import { withoutUndefined } from "../../../without_undefined.ts";
import { durationText } from "../../../units.ts";
import { hasAlarm } from "../../../facts/etcd.ts";
import { peerOf } from "../../evidence/members.ts";
import { stopOfChange } from "../stops.ts";
import type { View } from "../../facts/view.ts";
import { type EtcdAnswer, type EtcdMember, quorumOf } from "../../facts/cluster.ts";
import type { Reason } from "../../facts/reason.ts";
import { isPresent } from "../../facts/peer.ts";

/** Since when the manager beside this leader has been silent, as this node watched it. */
export interface SilentManager {
  readonly leaderId: string;
  readonly sinceMs: number;
}

export type Handover =
  | { readonly kind: "nothing" }
  /** Reported until it is over: the role is not filled. */
  | { readonly kind: "wait"; readonly reason: Reason; readonly atMs?: number }
  | { readonly kind: "take"; readonly via: string; readonly to: string; readonly reason: Reason };

/** A manager that restarts is back before that. */
const noticedMs = 10_000;
/** Between the first candidate's turn and the next one's. */
const turnMs = 10_000;

/** True when gossip sees the manager of this member, ours or the original's. */
function managerLives(member: EtcdMember, view: View): boolean {
  const peer = peerOf(member, view);
  return peer !== undefined && isPresent(peer);
}

/** `own` is the own etcd's fresh linearizable answer, and this member follows. */
export function silentManager(
  view: View,
  own: EtcdAnswer,
  before: SilentManager | undefined,
): SilentManager | undefined {
  const leader = own.members.find(({ id }) => id === own.leaderId);
  if (leader === undefined || leader.id === own.memberId || managerLives(leader, view)) return undefined;
  return before?.leaderId === leader.id ? before : { leaderId: leader.id, sinceMs: view.nowMs };
}

export function decideHandover(view: View, own: EtcdAnswer, silent: SilentManager | undefined): Handover {
  if (silent === undefined) return { kind: "nothing" };
  const forMs = view.nowMs - Math.max(silent.sinceMs, view.watchingSinceMs);
  const leader = own.members.find(({ id }) => id === silent.leaderId);
  if (forMs < noticedMs || leader === undefined) return { kind: "nothing" };
  const label = `"${leader.name || leader.id}"`;
  const text = `${label} leads etcd and its e2d is silent: no snapshots, no replacing of members`;
  const wait = (more: string, atMs?: number): Handover => ({
    kind: "wait",
    reason: { code: "manager_silent", text: `${text}; ${more}`, hint: `look at e2d on ${label}: systemctl status e2d` },
    ...withoutUndefined({ atMs }),
  });
  const stop = stopOfChange(view, own);
  if (stop !== undefined) return wait(stop.text);
  const voters = own.members.filter(({ isLearner }) => !isLearner);
  const me = voters.find(({ id }) => id === own.memberId);
  const via = leader.clientUrls[0];
  if (me === undefined || via === undefined || hasAlarm(own, "CORRUPT", own.memberId)) {
    return wait("another member takes over");
  }
  const living = voters.filter((member) => member === me || managerLives(member, view));
  if (living.length < quorumOf(voters.length)) {
    // Of the others' managers nothing is known here: this node may be the one that is cut off.
    const seen = `gossip shows this node the nodes of ${living.length} of ${voters.length} voters`;
    return {
      kind: "wait",
      reason: {
        code: "gossip_cut_off",
        text: `${seen}, while its etcd has a leader and a quorum`,
        hint: "open the gossip port, TCP and UDP, between the members",
      },
    };
  }
  // A node of the original takes nothing over.
  const candidates = living.filter((member) => member === me || peerOf(member, view)?.isLegacy === false)
    .sort((a, b) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0);
  const dueMs = view.settings.healthCheckTimeoutMs + turnMs * candidates.indexOf(me);
  if (forMs < dueMs) {
    return wait(
      `"${candidates[0]!.name}" takes over after ${durationText(view.settings.healthCheckTimeoutMs)}`,
      view.nowMs + dueMs - forMs,
    );
  }
  return {
    kind: "take",
    via,
    to: me.id,
    reason: {
      code: "manager_silent",
      text: `${label} leads etcd and its e2d has been silent for ${durationText(forMs)}: this node takes its role over`,
    },
  };
}
