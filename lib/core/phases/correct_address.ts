/**
 * Registers this member's current address while its etcd runs: etcd was started without a quorum, or the leadership moved
 * before the member list was changed. A member without a leader is registered through any member that has one: raft
 * messages use the connections that each etcd opens itself.
 */
import { decideAddressChange } from "../rules/start/address_change.ts";
import { freshAnswer } from "../evidence/members.ts";
import { stopOfChange } from "../rules/stops.ts";
import { runningCluster } from "../evidence/running_cluster.ts";
import type { Turn } from "../state/turn.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";

export function correctAddress(turn: Turn): void {
  const { node, view } = turn;
  if (node.disk.data.kind !== "valid") return;
  if (stopOfChange(view) !== undefined) return;
  const { memberId } = node.disk.data;
  const list = currentList(turn);
  const listed = list?.answer.members.find((member) => member.id === memberId);
  if (list === undefined || listed === undefined) return;
  if (listed.peerUrls.includes(node.self.peerUrl)) return resolve(turn);
  const change = decideAddressChange(view, listed, list.answer);
  if (change.kind === "wait") {
    if (change.level === "error" && change.reason.code !== "name_taken") {
      turn.report("error", change.reason, { keepsReady: true });
    }
    return;
  }
  resolve(turn);
  if (turn.request("cluster", { kind: "memberUpdate", via: list.via, memberId, peerUrl: change.peerUrl })) {
    turn.recordDecision("updateAddress", change.reason, { peerUrl: change.peerUrl });
  }
}

function resolve(turn: Turn): void {
  turn.resolve("member_runs_twice");
  turn.resolve("address_taken");
}

/** The member list of the own cluster with a quorum: from the own etcd, else from a member that has a leader. */
function currentList({ node, view, now }: Turn): { via: readonly string[]; answer: EtcdAnswer } | undefined {
  if (node.disk.data.kind !== "valid") return undefined;
  const own = freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
  if (own?.linearizable && own.leaderId !== undefined) return { via: [node.self.clientUrl], answer: own };
  const cluster = runningCluster(view);
  if (cluster === undefined || "contradiction" in cluster) return undefined;
  return cluster.answer.clusterId === node.disk.data.clusterId ? cluster : undefined;
}
