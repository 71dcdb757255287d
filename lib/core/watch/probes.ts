/** Schedules the probes of etcd members and of the leader's raft, and the lookups in the snapshot store. */
import { freshAnswer, goneForMs, unreachableForMs } from "../evidence/members.ts";
import { leads, runningCluster } from "../evidence/running_cluster.ts";
import { writerWatchMs } from "../rules/bootstrap/awaited.ts";
import { servingWithLeader } from "../state/state.ts";
import type { Turn } from "../state/turn.ts";
import { isPresent } from "../facts/peer.ts";

const urgentProbeIntervalMs = 500;
const leaderProbeIntervalMs = 1_000;
/** Interval at a follower, which decides nothing about the other members: for `e2d status` on that node. */
const followerProbeIntervalMs = 5_000;
/** Interval between the starts of two lookups, which never overlap. */
const lookupIntervalMs = 10_000;
/** Interval while this node serves: the lookup is only reported. */
const lookupIntervalServingMs = 60_000;

/** Recent enough for a removal (raftFreshMs). Read only while a member is missing or silent. */
const raftEveryMs = 1_000;

export function scheduleProbes(turn: Turn): void {
  probeEndpoints(turn);
  probeRaft(turn);
  lookUpSnapshots(turn);
}

function probeEndpoints(turn: Turn): void {
  const { node, now } = turn;
  const targets = new Map<string, number>();
  const running = node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready";
  const serving = servingWithLeader(node);
  if (running) targets.set(node.self.clientUrl, serving ? leaderProbeIntervalMs : urgentProbeIntervalMs / 2);
  const leading = running && leads(freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs));
  // While a plan runs this node may have to restart its own etcd: then it must know the state of the others.
  const all = leading || node.maintenance.plan !== undefined;
  const othersMs = !serving ? urgentProbeIntervalMs : all ? leaderProbeIntervalMs : followerProbeIntervalMs;
  for (const peer of node.gossip.peers) {
    const here = isPresent(peer);
    const worth = peer.status === "running" || peer.facts?.data.kind === "held";
    if (all || here && worth) targets.set(peer.clientUrl, othersMs);
  }
  // Only its etcd reports the cluster of a foreign legacy peer, which may join this cluster later.
  for (const { name, isLegacy, clientUrl } of node.gossip.known) {
    if (isLegacy && node.gossip.foreign.has(name) && !targets.has(clientUrl)) {
      targets.set(clientUrl, followerProbeIntervalMs);
    }
  }
  if (running && node.disk.data.kind === "valid") {
    for (const member of node.disk.data.members) {
      for (const url of member.clientUrls) if (!targets.has(url)) targets.set(url, othersMs);
    }
  }
  // Before this node joins or returns, every listed member must have been probed: its place may be in use.
  if (!running) {
    for (const url of listedUrls(turn)) {
      if (!targets.has(url) && url !== node.self.clientUrl) targets.set(url, urgentProbeIntervalMs);
    }
  }
  const due: string[] = [];
  for (const [url, everyMs] of targets) {
    const last = node.membership.lastProbedAtMs.get(url);
    if (last === undefined || now.monotonicMs - last >= everyMs) due.push(url);
    else turn.wakeAt(last + everyMs);
  }
  if (due.length === 0) return;
  const asked = new Map([...node.membership.lastProbedAtMs].filter(([url]) => targets.has(url)));
  for (const url of due) {
    asked.set(url, now.monotonicMs);
    turn.wakeIn(targets.get(url)!);
  }
  node.membership.lastProbedAtMs = asked;
  turn.emit({ kind: "probe", endpoints: due });
}

/** Client URLs of the members of the running cluster, and those of the own member in the data-dir. */
function listedUrls({ node, view }: Turn): string[] {
  const cluster = runningCluster(view);
  const members = cluster === undefined || "contradiction" in cluster ? [] : [...cluster.answer.members];
  if (node.disk.data.kind === "valid") {
    const { memberId } = node.disk.data;
    members.push(...node.disk.data.members.filter(({ id }) => id === memberId));
  }
  return members.flatMap(({ clientUrls }) => clientUrls);
}

/** At the leader while a member is missing; without an own etcd, while a member with this node's name or id is listed. */
function probeRaft(turn: Turn): void {
  const { node, now } = turn;
  const endpoint = raftEndpoint(turn);
  if (endpoint === undefined) return;
  const last = node.membership.raftProbedMs;
  if (last !== undefined && now.monotonicMs - last < raftEveryMs) return turn.wakeAt(last + raftEveryMs);
  node.membership.raftProbedMs = now.monotonicMs;
  turn.wakeIn(raftEveryMs);
  turn.emit({ kind: "probeRaft", endpoint });
}

function raftEndpoint({ node, view, now }: Turn): string | undefined {
  const { self, disk: { data } } = node;
  if (node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready") {
    const own = freshAnswer(node.membership.endpoints.get(self.clientUrl), now.monotonicMs);
    if (own === undefined || !leads(own)) return undefined;
    // Starts before gossip declares the member dead, so that a removal need not wait for another reading.
    const missing = own.members.some((member) =>
      member.id !== own.memberId && (goneForMs(member, view) !== undefined || unreachableForMs(member, view) > 0)
    );
    return missing ? self.clientUrl : undefined;
  }
  const cluster = runningCluster(view);
  if (cluster === undefined || "contradiction" in cluster) return undefined;
  const { members, leaderId } = cluster.answer;
  const doubtful = members.some((member) =>
    !member.peerUrls.includes(self.peerUrl) &&
    (data.kind === "valid" ? member.id === data.memberId : member.name === self.name)
  );
  return doubtful ? members.find(({ id }) => id === leaderId)?.clientUrls[0] : undefined;
}

function lookUpSnapshots(turn: Turn): void {
  const { node, now } = turn;
  if (!node.settings.snapshots) return;
  // Until the store has a snapshot, the short interval applies: an operator may wait for the first one.
  const everyMs = servingWithLeader(node) && node.snapshots.store.lookup.kind !== "absent"
    ? lookupIntervalServingMs
    : lookupIntervalMs;
  const last = node.snapshots.lookupStartedMs;
  if (node.snapshots.lookupInFlight) return;
  if (last !== undefined && now.monotonicMs - last < everyMs && !confirmsNewest(turn, last)) return;
  node.snapshots.lookupStartedMs = now.monotonicMs;
  node.snapshots.lookupInFlight = true;
  turn.emit({ kind: "lookUpSnapshot" });
}

/** True if a lookup is due that shows whether the newest snapshot has a running writer (`snapshot_writer_alive`). */
function confirmsNewest(turn: Turn, lastMs: number): boolean {
  const { node, now } = turn;
  const { newestSince } = node.snapshots;
  if (servingWithLeader(node) || newestSince === undefined) return false;
  const dueMs = Math.max(newestSince.ms, node.process.watchingSinceMs) + writerWatchMs(node.settings);
  if (lastMs >= dueMs) return false;
  if (now.monotonicMs >= dueMs) return true;
  turn.wakeAt(dueMs);
  return false;
}
