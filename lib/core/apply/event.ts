/** Applies events to the state. Decides nothing. */
import { withoutUndefined } from "../../without_undefined.ts";
import { applyDone, applyFailed, checkSize, forgetRecord } from "./effect_result.ts";
import { noteLogLine } from "../watch/etcd.ts";
import { noteApproved } from "../commands/approve.ts";
import { addCommand, noteProbed } from "../commands/commands.ts";
import type { Event } from "../facts/event.ts";
import { withDataBack } from "../evidence/lineage.ts";
import { etcdChanged, etcdExited, markLeaderless } from "./own_etcd.ts";
import { withAnswer } from "../evidence/log_went_back.ts";
import { withReading } from "../evidence/raft_evidence.ts";
import { noteOwnRead, noteStoredRevision } from "../watch/store_ahead.ts";
import { noteStored } from "../watch/stored_backup.ts";
import { type NodeState, servingWithLeader } from "../state/state.ts";
import { noteDataDir } from "../watch/data_dir.ts";
import { noteTerms } from "../watch/log_terms.ts";
import { noteNameConflicts } from "../watch/name_conflicts.ts";
import type { Turn } from "../state/turn.ts";
import { reportOtherLife } from "../watch/two_lives.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";
import type { DataDir } from "../facts/data_dir.ts";
import type { EndpointFacts, EtcdAnswer, EtcdProbe } from "../facts/cluster.ts";
import type { StartedData } from "../facts/node_record.ts";

/** The maximum number of endpoints in the state; beyond it the ones probed longest ago are forgotten. */
const endpointsMax = 64;

export function applyEvent(turn: Turn, event: Event): void {
  const { node, now } = turn;
  switch (event.kind) {
    case "boot":
      node.process.bootedAtMs = now.monotonicMs;
      node.process.watchingSinceMs = now.monotonicMs;
      turn.emit({ kind: "inspectData" });
      return;
    case "dataInspected":
      return dataInspected(turn, event);
    case "gossip":
      node.gossip.known = event.peers;
      node.gossip.gossipKeys = event.keys ?? node.gossip.gossipKeys;
      noteNameConflicts(turn, event.conflicts ?? []);
      if (event.joined) node.gossip.gossipJoinedAtMs ??= now.monotonicMs;
      return;
    case "probed":
      noteProbed(turn, event.endpoint, event.askedMs);
      // The answer of a distant member may arrive seconds after the change that invalidated it.
      if (event.askedMs !== undefined && event.askedMs < node.membership.probesInvalidatedAtMs) return;
      return probed(turn, event.endpoint, event.probe);
    case "raftProbed":
      node.membership.raft = withReading(node.membership.raft, event.probe, now.monotonicMs);
      return;
    case "snapshotLookedUp":
      return applyLookup(turn, event.lookup);
    case "etcd":
      return etcdChanged(turn, event.state);
    case "etcdLogged":
      return noteLogLine(turn, event.busy);
    case "etcdExited":
      return etcdExited(turn, event);
    case "dataDirLooked":
      return noteDataDir(turn, event);
    case "done":
      return applyDone(turn, event.id, event.value);
    case "failed":
      return applyFailed(turn, event.id, event.code, event.message);
    case "plan":
      node.maintenance.plan = event.plan;
      return;
    case "settings":
      noteApproved(turn, event.settings.approved);
      // Once the cluster has a record, its size counts instead of the setting; the pause is never taken from the settings.
      node.settings = {
        ...event.settings,
        ...(node.membership.clusterRecordVerified ? { requiredSize: node.settings.requiredSize } : {}),
        paused: node.settings.paused,
        approved: node.settings.approved,
      };
      if (!event.settings.snapshots) node.snapshots.lookup = { kind: "unconfigured" };
      else if (node.snapshots.lookup.kind === "unconfigured") node.snapshots.lookup = { kind: "unknown" };
      return;
    case "command":
      return addCommand(turn, event.id, event.command);
    case "timer":
      node.process.timerAtMs = undefined;
      return;
    case "stop":
      if (node.phase === "leaving") return;
      node.process.ending = { code: 0, reason: { code: "asked_to_stop", text: "stop requested" } };
      turn.enter("leaving", node.process.ending.reason);
      return;
    default:
      return event satisfies never;
  }
}

function applyLookup(turn: Turn, lookup: Exclude<SnapshotLookup, { kind: "unknown" }>): void {
  const { node, now } = turn;
  node.snapshots.lookupInFlight = false;
  // A store that cannot be read may still contain the snapshot; an empty one does not.
  const kept = lookup.kind === "unreadable" ? node.snapshots.store.newest : undefined;
  node.snapshots.store = { lookup, newest: lookup.kind === "newest" ? lookup : kept };
  const askedMs = node.snapshots.lookupStartedMs ?? now.monotonicMs;
  if (lookup.kind === "newest") {
    const { hash } = lookup;
    const since = node.snapshots.newestSince?.hash === hash ? node.snapshots.newestSince.ms : now.monotonicMs;
    node.snapshots.newestSince = { hash, ms: since, askedMs };
  }
  reportOtherLife(turn, lookup);
  noteStored(turn, lookup, askedMs);
  noteStoredRevision(turn, lookup);
  // While this node serves, a lookup is only reported: the source of a bootstrap is looked up when the bootstrap begins.
  if (!servingWithLeader(node)) node.snapshots.lookup = lookup;
}

function dataInspected(turn: Turn, event: Extract<Event, { kind: "dataInspected" }>): void {
  const { node } = turn;
  noteLog(turn, event.data);
  // The inspection may have started before etcd: its result is out of date.
  const isRunning = node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready" ||
    node.effects.inFlight.has("local");
  noteTerms(turn, event.data, isRunning);
  if (isRunning) return;
  node.disk.data = event.data;
  const gone = event.data.kind === "absent" || event.data.kind === "empty";
  if (event.record !== undefined) {
    node.disk.record = event.record;
    node.disk.recordPersisted = true;
  }
  const { seen } = node.disk.record;
  if (node.membership.lastCluster === undefined && seen !== undefined) {
    node.membership.lastCluster = { clusterId: seen.clusterId, voters: seen.voters, atMs: turn.now.monotonicMs };
  }
  const { started } = node.disk.record;
  if (event.data.kind === "valid") node.disk.record = withDataBack(node.disk.record, event.data.clusterId);
  if (gone && started !== undefined && node.bootstrap.committing === undefined) dataGone(turn, started);
}

/** The record states that this disk has data, and it has none. */
function dataGone(turn: Turn, started: StartedData): void {
  const { node } = turn;
  const { started: _, ...record } = node.disk.record;
  const pledge = record.pledges.at(-1);
  if (pledge?.initialMembers.some(({ name, nonce }) => name === node.self.name && nonce === record.nonce)) {
    // A pledge is newer than the data beside it and is deleted before etcd runs on its data: no etcd ran under it yet.
    node.disk.record = pledge.token === started.lineage.token ? record : { ...record, lost: started };
    node.disk.recordPersisted = false;
    turn.notice("warn", "pledge kept", {
      code: "pledge_kept",
      text: `the data-dir is absent, and this node keeps its pledge to the bootstrap ${pledge.digest.slice(0, 8)}`,
    });
    return;
  }
  // etcd ran on this disk and its data is absent: the node starts as a new one, and no pledge binds it any more.
  const { former } = record;
  forgetRecord(turn);
  node.disk.record = { ...node.disk.record, lost: started, ...withoutUndefined({ former }) };
  turn.notice("warn", "data lost", {
    code: "data_lost",
    text: "the record states that etcd ran here, and the data-dir is absent: this node starts as a new one",
  });
}

/** Stores the end of the own raft log, read while etcd runs without a leader: nothing is appended then. */
function noteLog({ node }: Turn, found: DataDir): void {
  if (found.kind !== "valid" || node.ownEtcd.leaderlessSinceMs === undefined || node.disk.data.kind !== "valid") return;
  const { memberId, lastLog } = found;
  if (memberId === node.disk.data.memberId && lastLog !== undefined) node.disk.data = { ...node.disk.data, lastLog };
}

/** `EndpointFacts.currentAtMs`. */
function currentAt(
  { membership: { endpoints }, self }: NodeState,
  answer: EtcdAnswer | undefined,
  before: EndpointFacts | undefined,
  nowMs: number,
): Pick<EndpointFacts, "currentAtMs"> {
  const own = endpoints.get(self.clientUrl)?.last;
  const caughtUp = answer?.isLearner && own?.kind === "answer" && own.leaderId === own.memberId &&
    answer.raftAppliedIndex >= own.raftIndex;
  if (answer !== undefined && answer.linearizable || caughtUp) return { currentAtMs: nowMs };
  return before?.currentAtMs === undefined ? {} : { currentAtMs: before.currentAtMs };
}

function probed(turn: Turn, endpoint: string, probe: EtcdProbe): void {
  const { node, now } = turn;
  const before = node.membership.endpoints.get(endpoint);
  const nowMs = now.monotonicMs;
  const own = endpoint === node.self.clientUrl ? probe : node.membership.endpoints.get(node.self.clientUrl)?.last;
  let next: EndpointFacts;
  if (probe.kind === "answer") {
    const moved = before === undefined || probe.raftAppliedIndex > before.appliedIndex;
    next = {
      last: probe,
      atMs: nowMs,
      failures: 0,
      appliedIndex: probe.raftAppliedIndex,
      progressAtMs: moved ? nowMs : before.progressAtMs,
      ...currentAt(node, probe, before, nowMs),
      ...(own?.kind === "answer" ? { ownRaftIndex: own.raftIndex } : {}),
    };
  } else {
    next = {
      last: probe,
      atMs: nowMs,
      failingSinceMs: before?.failingSinceMs ?? nowMs,
      failures: (before?.failures ?? 0) + 1,
      appliedIndex: before?.appliedIndex ?? 0,
      progressAtMs: before?.progressAtMs ?? nowMs,
      ...currentAt(node, undefined, before, nowMs),
    };
  }
  const endpoints = new Map(node.membership.endpoints);
  // Map order: the endpoint that was probed last is forgotten last.
  endpoints.delete(endpoint);
  endpoints.set(endpoint, next);
  for (const url of endpoints.keys()) {
    if (endpoints.size <= endpointsMax) break;
    endpoints.delete(url);
  }
  node.membership.endpoints = endpoints;
  if (probe.kind !== "answer") {
    if (endpoint === node.self.clientUrl) markLeaderless(turn);
    return;
  }
  noteMembers(turn, probe);
  node.membership.memberAnswers = withAnswer(node.membership.memberAnswers, probe, nowMs);
  if (
    endpoint === node.self.clientUrl && (node.ownEtcd.etcd.kind === "starting" || node.ownEtcd.etcd.kind === "ready")
  ) {
    ownAnswer(turn, probe);
  }
}

function noteMembers(turn: Turn, answer: EtcdAnswer): void {
  const { node, now } = turn;
  if (answer.linearizable && answer.leaderId !== undefined) {
    const voters = answer.members.filter((member) => !member.isLearner)
      .flatMap(({ name, peerUrls }) => peerUrls.slice(0, 1).map((peerUrl) => ({ name, peerUrl })))
      .sort((a, b) => a.peerUrl < b.peerUrl ? -1 : 1);
    node.membership.lastCluster = {
      clusterId: answer.clusterId,
      voters,
      ...(typeof answer.lineage === "object" ? { lineageId: answer.lineage.id, token: answer.lineage.token } : {}),
      atMs: now.monotonicMs,
    };
  }
  if (!answer.linearizable || answer.members.every((member) => node.membership.memberSinceMs.has(member.id))) return;
  const listed = new Set(answer.members.map((member) => member.id));
  const since = new Map([...node.membership.memberSinceMs].filter(([id]) => listed.has(id)));
  for (const id of listed) if (!since.has(id)) since.set(id, now.monotonicMs);
  node.membership.memberSinceMs = since;
}

function ownAnswer(turn: Turn, answer: EtcdAnswer): void {
  const { node } = turn;
  const members = answer.members.length > 0 ? answer.members : membersByOthers(turn, answer);
  node.disk.data = {
    kind: "valid",
    name: node.self.name,
    memberId: answer.memberId,
    clusterId: answer.clusterId,
    peerUrls: members.find((member) => member.id === answer.memberId)?.peerUrls ?? [node.self.peerUrl],
    members,
    revision: answer.revision,
    raftTerm: answer.raftTerm,
    raftIndex: answer.raftIndex,
    // Without a leader the log does not grow: its end stays valid.
    ...(answer.leaderId === undefined && node.disk.data.kind === "valid" && node.disk.data.lastLog !== undefined
      ? { lastLog: node.disk.data.lastLog }
      : {}),
  };
  if (answer.linearizable) noteOwnRead(turn);
  if (answer.leaderId === undefined) markLeaderless(turn);
  else {
    node.ownEtcd.leaderlessSinceMs = undefined;
    node.ownEtcd.leaderSinceMs ??= turn.now.monotonicMs;
    node.disk.logReadMs = undefined;
  }
  // A scaling changes the record while nodes run that were started with the former size.
  const { recordedSize, formerSizes } = answer;
  if (recordedSize !== undefined && formerSizes.includes(node.settings.requiredSize)) {
    checkSize(turn, recordedSize, formerSizes);
  }
}

/** The member list of a learner, which does not return one itself: from another member of its cluster. */
function membersByOthers(turn: Turn, own: EtcdAnswer): EtcdAnswer["members"] {
  const { node } = turn;
  for (const { last } of node.membership.endpoints.values()) {
    if (last.kind !== "answer" || last.clusterId !== own.clusterId || !last.linearizable) continue;
    if (last.members.some((member) => member.id === own.memberId)) return last.members;
  }
  return [];
}
