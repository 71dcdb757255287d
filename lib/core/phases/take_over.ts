/** A follower's node takes the leadership over from a member whose manager is silent. */
import type { Turn } from "../state/turn.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";
import { decideHandover, silentManager } from "../rules/membership/leader_handover.ts";

/** Codes of the problems that are reported here. */
export const codes = ["manager_silent", "gossip_cut_off"];

/** At the leader: resets the state of the takeover. */
export function leadsItself(turn: Turn): void {
  turn.node.membership.silentManager = undefined;
  for (const code of codes) turn.resolve(code);
}

/** At a follower: true if the leadership is being moved. */
export function takeOver(turn: Turn, own: EtcdAnswer): boolean {
  const { node, view } = turn;
  node.membership.silentManager = silentManager(view, own, node.membership.silentManager);
  const handover = decideHandover(view, own, node.membership.silentManager);
  for (const code of codes) if (handover.kind !== "wait" || handover.reason.code !== code) turn.resolve(code);
  switch (handover.kind) {
    case "nothing":
      return false;
    case "wait":
      turn.report("warn", handover.reason);
      if (handover.atMs !== undefined) turn.wakeAt(handover.atMs);
      return false;
    case "take":
      if (turn.request("cluster", { kind: "moveLeader", to: handover.to, via: handover.via })) {
        turn.recordDecision("moveLeader", handover.reason);
      }
      return true;
    default:
      return handover satisfies never;
  }
}
