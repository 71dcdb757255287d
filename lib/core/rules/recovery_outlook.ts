/**
 * What a node without a leader reports: since when, what it means, and whether disaster recovery begins automatically.
 * A time is named only while nothing but time is missing; whatever else stops a recovery is named in its place. Decides
 * nothing: quorum.ts decides when a quorum counts as lost.
 */
import { allMovedReason } from "../evidence/moved_members.ts";
import { clientEvidence } from "../evidence/member_evidence.ts";
import { goneForMs, unreachableForMs } from "../evidence/members.ts";
import { gatheredText } from "./gathering.ts";
import { diskWithoutMember } from "./quorum_loss.ts";
import { stopOfBootstrap } from "./stops.ts";
import type { ValidData } from "../facts/data_dir.ts";
import type { View } from "../facts/view.ts";
import { type EtcdMember, quorumOf } from "../facts/cluster.ts";
import { type GossipPeer, isPresent } from "../facts/peer.ts";
import { quotedNames } from "../facts/reason.ts";

/** Several elections. Until then a leader that is missing is no news. */
export const electionsMs = 10_000;

/** A member that its operator stopped is expected back for this long. */
const plannedStopMs = 120_000;

export const clockText = ({ nowMs, nowWallMs }: View, atMs: number) =>
  new Date(nowWallMs + atMs - nowMs).toISOString().slice(11, 19);

/** Until when a member that left gossip in order is expected back; undefined: it did not, is back, or overdue. */
export function leftInOrderUntilMs(member: EtcdMember, view: View): number | undefined {
  if (view.peers.some((peer) => isOf(peer, member) && peer.state !== "left")) return undefined;
  const { quorumLossTimeoutMs } = view.settings;
  const graceMs = quorumLossTimeoutMs === "never" ? plannedStopMs : Math.min(plannedStopMs, quorumLossTimeoutMs / 2);
  const untilMs = [...view.rememberedPeers ?? []].flatMap(([name, { peerUrl, leftAtMs }]) =>
    leftAtMs === undefined || !isOf({ name, peerUrl }, member)
      ? []
      : [Math.max(leftAtMs, view.watchingSinceMs) + graceMs]
  );
  const lastMs = Math.max(...untilMs);
  return lastMs > view.nowMs ? lastMs : undefined;
}

/** Names of voters that left gossip in order a moment ago, when it is they who are missing for a quorum. */
export function stoppedInOrder(view: View): string[] {
  if (view.data.kind !== "valid") return [];
  const voters = votersOf(view.data.members);
  const stopped = voters.filter((member) => leftInOrderUntilMs(member, view) !== undefined);
  return voters.length - stopped.length < quorumOf(voters.length) ? stopped.map(({ name }) => name) : [];
}

export type RecoveryOutlook =
  /** Of the monotonic clock: when the quorum counts as lost if nothing changes. */
  | { readonly kind: "at"; readonly atMs: number }
  /** `needsOperator`: nothing that is under way ends it. */
  | { readonly kind: "blocked"; readonly text: string; readonly hint: string; readonly needsOperator: boolean };

const bringBack = "bring members back";

type Blocked = Extract<RecoveryOutlook, { kind: "blocked" }>;

const blocked = (text: string, hint = bringBack, needsOperator = false): Blocked => ({
  kind: "blocked",
  text,
  hint,
  needsOperator,
});

interface VoterCount {
  readonly kind: "counted";
  /** Names of the voters whose disks are here. */
  readonly holding: readonly string[];
  readonly moved: readonly { readonly member: EtcdMember; readonly at: string }[];
  /** When the time-out of every missing voter is over. */
  readonly atMs: number;
}

/** Where the disk of each voter is, and until when those that are missing are waited for. */
function countVoters(view: View, data: ValidData, timeoutMs: number): VoterCount | Blocked {
  const { nowMs, peers } = view;
  const holding: string[] = [];
  const moved: { readonly member: EtcdMember; readonly at: string }[] = [];
  let atMs = Math.max(view.leaderlessSinceMs ?? nowMs, view.watchingSinceMs) + timeoutMs;
  for (const member of votersOf(data.members)) {
    if (member.id === data.memberId) {
      holding.push(member.name);
      if (!member.peerUrls.includes(view.self.peerUrl)) moved.push({ member, at: view.self.peerUrl });
      continue;
    }
    // A disk may be in another machine than its member's.
    const holders = peers.filter((peer) =>
      isPresent(peer) && peer.facts?.data.kind === "held" && peer.facts.data.memberId === member.id &&
      peer.facts.data.clusterId === data.clusterId
    );
    if (holders.length > 0) {
      holding.push(member.name);
      if (!holders.some(({ peerUrl }) => member.peerUrls.includes(peerUrl))) {
        moved.push({ member, at: holders[0]!.peerUrl });
      }
      continue;
    }
    const here = peers.filter((peer) => isOf(peer, member) && isPresent(peer));
    const disks = here.flatMap((peer) => diskWithoutMember(peer, view) ?? []);
    if (disks.includes("empty")) continue;
    if (disks.includes("unmounted")) {
      const sinceMs = Math.max(view.watchingSinceMs, ...here.map((peer) => peer.sinceMs));
      atMs = Math.max(atMs, sinceMs + timeoutMs);
      continue;
    }
    if (here.length > 0) return blocked(`"${member.name}" is there and did not report what data it holds`);
    if (clientEvidence(member, view).kind === "answers") {
      return blocked(`etcd of "${member.name}" answers`, `look at the network to "${member.name}"`);
    }
    const silentMs = unreachableForMs(member, view);
    atMs = Math.max(atMs, nowMs + timeoutMs - Math.min(goneForMs(member, view) ?? 0, silentMs));
  }
  return { kind: "counted", holding, moved, atMs };
}

/** When this survivor takes part in a recovery, or what keeps it from that. The conditions are those of quorum.ts. */
export function recoveryOutlook(view: View): RecoveryOutlook {
  const { settings, data, nowMs, peers } = view;
  const timeoutMs = settings.quorumLossTimeoutMs;
  if (!settings.gossip) return blocked("this node has no peers", "look into the log of etcd", true);
  if (timeoutMs === "never") return blocked("--quorum-loss-timeout never", bringBack, true);
  const stop = stopOfBootstrap(view);
  if (stop !== undefined) return blocked(stop.text, `${bringBack}, or ${stop.hint ?? "end that stop"}`);
  if (data.kind !== "valid") return blocked("this node is looking at its data");
  const voters = votersOf(data.members);
  const count = countVoters(view, data, timeoutMs);
  if (count.kind === "blocked") return count;
  const { holding, moved, atMs } = count;
  const isQuorum = holding.length >= quorumOf(voters.length);
  if (isQuorum && holding.length - moved.length < quorumOf(voters.length)) {
    const { text, hint } = allMovedReason(moved);
    return blocked(text, hint, true);
  }
  if (isQuorum) {
    return blocked(
      `${quotedNames(holding)} hold data and are a quorum once their etcd answers`,
      `find out why etcd does not answer on ${
        quotedNames(holding.filter((name) => name !== data.name))
      }: e2d status there`,
    );
  }
  const gathered = 1 +
    peers.filter(({ state, isLegacy, facts }) => state === "alive" && !isLegacy && facts !== undefined).length;
  if (atMs <= nowMs && gathered < settings.requiredSize) {
    return blocked(
      gatheredText(gathered, view),
      `start ${settings.requiredSize - gathered} more with the same settings, or ${bringBack}`,
      true,
    );
  }
  if (atMs <= nowMs) {
    return blocked("other survivors do not agree yet that the quorum is lost", "look at e2d status of them");
  }
  return { kind: "at", atMs };
}

const votersOf = (members: readonly EtcdMember[]) => members.filter((member) => !member.isLearner);
const isOf = (peer: Pick<GossipPeer, "name" | "peerUrl">, { name, peerUrls }: EtcdMember) =>
  peerUrls.includes(peer.peerUrl) || name !== "" && name === peer.name;
