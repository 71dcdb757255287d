/**
 * Which minor versions of etcd a node may run: never older than the cluster's version, which etcd refuses, and never
 * more than one minor version above the oldest member, which cannot apply what a newer one sends it (an etcd 3.6 beside
 * 3.4 makes the members of 3.4 panic at this and each later start). A version that is not known never allows a newer
 * etcd. Decides by versions alone; who joins or starts is decided elsewhere.
 */
import { newestBeside } from "../evidence/etcd_hazards.ts";
import { versionOf } from "../facts/etcd_version.ts";
import { peerOf } from "../evidence/members.ts";
import type { View } from "../facts/view.ts";
import { legacyClusterToken } from "../evidence/lineage.ts";
import { runningCluster } from "../evidence/running_cluster.ts";
import type { EtcdAnswer, EtcdMember } from "../facts/cluster.ts";
import type { ValidData } from "../facts/data_dir.ts";
import type { EtcdRange } from "../facts/etcd_range.ts";
import { compareMinors, minorOf, oldestMinorOf, parseReportedVersion } from "../../facts/etcd_version.ts";
import { isPresent } from "../facts/peer.ts";

/** Together with nodes of the Go original, which embeds etcd 3.4 and does not report it before it runs. */
export const besideLegacyPeers: EtcdRange = { atLeast: "3.4", atMost: "3.5" };

/** How long after its boot a node waits for the first answer of a member that gossip sees. */
const askMembersMs = 4_000;

/** For a node that joins; undefined: not known yet, so it waits. `cluster` is a linearizable answer. */
export function rangeToJoin(cluster: EtcdAnswer, view: View): EtcdRange | undefined {
  const range = rangeBeside(cluster, view, { unknownRaises: false });
  return typeof range === "string" ? undefined : range;
}

/**
 * For a node that starts on its data; undefined: not known yet. A member that does not answer holds nobody up: the
 * cluster's version bounds its version as well, and a cluster that waited for it could stay without a quorum.
 */
export function rangeToRestart(data: ValidData, view: View): EtcdRange | undefined {
  const cluster = runningCluster(view, data.clusterId);
  if (cluster === undefined || "contradiction" in cluster) return rangeOfData(data, view);
  const beside = rangeBeside(cluster.answer, view, { own: data.memberId, unknownRaises: true });
  if (beside === "asking") return undefined;
  if (beside === "unknown") return rangeOfData(data, view);
  if (data.etcdAtLeast === undefined) return beside;
  const atLeast = laterOf(beside.atLeast, data.etcdAtLeast);
  return { atLeast, atMost: laterOf(beside.atMost, atLeast) };
}

/** Nobody answers: the version that the data records is the cluster's as this member knew it. */
function rangeOfData({ etcdAtLeast }: ValidData, view: View): EtcdRange {
  // In its first seconds a cluster has no version, or one that is older than any etcd.
  if (etcdAtLeast === undefined || compareMinors(etcdAtLeast, firstMinor) < 0) {
    return isLegacyData(view) ? besideLegacyPeers : {};
  }
  return { atLeast: etcdAtLeast, atMost: minorAfter(etcdAtLeast) };
}

/** Data without a record may be an e2d cluster's whose record is lost: that alone makes it nobody else's. */
function isLegacyData({ record: { started }, peers }: View): boolean {
  return started === undefined ? peers.some(({ isLegacy }) => isLegacy) : started.lineage.token === legacyClusterToken;
}

const firstMinor = "3.4";

function rangeBeside(
  cluster: EtcdAnswer,
  view: View,
  { own, unknownRaises }: { own?: string; unknownRaises: boolean },
): EtcdRange | "asking" | "unknown" {
  const others = cluster.members.filter((member) => member.id !== own);
  const versions: string[] = [];
  let unknown = 0;
  for (const member of others) {
    const version = member.id === cluster.memberId ? cluster.version : versionOf(member, view);
    if (version !== undefined) versions.push(version);
    else if (runsNothing(member, view)) continue;
    else if (isAboutToAnswer(member, view)) return "asking";
    else unknown++;
  }
  const agreed = cluster.clusterVersion === undefined ? undefined : minorOf(cluster.clusterVersion);
  const oldest = agreed ?? (unknown === 0 ? oldestMinorOf(versions) : undefined);
  if (oldest === undefined) return "unknown";
  let atMost = unknown > 0 && !unknownRaises ? oldest : minorAfter(oldest);
  for (const version of versions) {
    const parsed = parseReportedVersion(version);
    const beside = parsed === undefined ? oldest : newestBeside(parsed);
    if (compareMinors(beside, atMost) < 0) atMost = laterOf(beside, oldest);
  }
  return { atLeast: oldest, atMost };
}

/**
 * A silent member that was added and never started, or that was this node or a node that reports an empty disk, by
 * address or name: no etcd runs there, and the one that will obeys the same rule. Two empty nodes would otherwise wait
 * for each other's version.
 */
function runsNothing(member: EtcdMember, view: View): boolean {
  if (member.name === "") return true;
  const emptied = view.peers.filter((peer) =>
    peer.state === "alive" && peer.status !== "running" && peer.facts?.data.kind === "none"
  );
  return [view.self, ...emptied].some(({ name, peerUrl }) => member.name === name || member.peerUrls.includes(peerUrl));
}

/** Gossip sees its node, which has only just been asked (probe.ts asks those whose etcd runs, or who hold data). */
function isAboutToAnswer(member: EtcdMember, view: View): boolean {
  if (view.nowMs - view.bootedAtMs >= askMembersMs) return false;
  const peer = peerOf(member, view);
  return peer !== undefined && isPresent(peer) &&
    (peer.status === "running" || peer.facts?.data.kind === "held") &&
    !member.clientUrls.some((url) => view.endpoints.has(url));
}

function minorAfter(minor: string): string {
  const { major, minor: number } = parseReportedVersion(minor)!;
  return `${major}.${number + 1}`;
}

function laterOf(a: string | undefined, b: string | undefined): string {
  return a === undefined || b !== undefined && compareMinors(a, b) < 0 ? b! : a;
}
