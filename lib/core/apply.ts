/** Events into facts: what came in is noted, nothing is decided. */
import { answered, checkSize, failed, forgetRecord } from "./deeds.ts";
import type { Event } from "./event.ts";
import { isCalm, type Node } from "./node.ts";
import { withoutLost } from "./lineage.ts";
import { etcdChanged, etcdExited, leaderless } from "./own_etcd.ts";
import type { Turn } from "./turn.ts";
import type { EndpointFacts, EtcdAnswer, EtcdProbe, Settings } from "./view.ts";

/** Endpoints and members remembered at most; beyond that the oldest are forgotten. */
const endpointsMax = 64;

export function apply(turn: Turn, event: Event): void {
  const { node, now } = turn;
  switch (event.kind) {
    case "boot":
      node.bootedAtMs = now.monotonicMs;
      node.watchingSinceMs = now.monotonicMs;
      turn.emit({ kind: "inspectData" });
      return;
    case "dataInspected":
      return dataInspected(turn, event);
    case "gossip":
      node.peers = event.peers;
      if (event.joined) node.gossipJoinedAtMs ??= now.monotonicMs;
      return;
    case "probed":
      return probed(turn, event.endpoint, event.probe);
    case "catalogue":
      node.store = {
        look: event.catalogue,
        newest: event.catalogue.kind === "newest" ? event.catalogue : node.store.newest,
      };
      // While this node serves the look is for people: what is founded from is looked at when that comes.
      if (!isCalm(node)) node.catalogue = event.catalogue;
      return;
    case "etcd":
      return etcdChanged(turn, event.state);
    case "etcdExited":
      return etcdExited(turn, event);
    case "done":
      return answered(turn, event.id, event.value);
    case "failed":
      return failed(turn, event.id, event.code, event.message);
    case "plan":
      node.plan = event.plan;
      return;
    case "settings":
      tellOperator(turn, event.settings);
      // The size is the cluster's own once it has a record; settings change it only before.
      node.settings = node.recordChecked
        ? { ...event.settings, requiredSize: node.settings.requiredSize }
        : event.settings;
      if (!event.settings.snapshots) node.catalogue = { kind: "unconfigured" };
      else if (node.catalogue.kind === "unconfigured") node.catalogue = { kind: "unknown" };
      return;
    case "request":
      // A plan is made for the cluster as it was: behind another one it would be out of date.
      if (node.plan === undefined) node.requested = event.plan;
      else {
        turn.notice("warn", "plan refused", {
          code: "plan_exists",
          text: `"${event.plan.text}" is refused while "${node.plan.text}" is not done`,
        });
      }
      return;
    case "timer":
      node.timerAtMs = undefined;
      return;
    case "stop":
      if (node.phase === "leaving") return;
      node.ending = { code: 0, reason: { code: "asked_to_stop", text: "asked to stop" } };
      turn.enter("leaving", node.ending.reason);
      return;
    default:
      return event satisfies never;
  }
}

/** What an operator did is part of the diary. */
function tellOperator(turn: Turn, { paused, approved }: Settings): void {
  const before = turn.node.settings;
  if (paused !== before.paused) {
    const text = paused ? "automatic action is paused" : "automatic action goes on";
    turn.notice("warn", paused ? "paused" : "resumed", { code: "asked_by_operator", text });
  }
  for (const plan of approved.filter((each) => !before.approved.includes(each))) {
    turn.notice("warn", "approved", { code: "asked_by_operator", text: `restore plan ${plan} is approved` });
  }
}

function dataInspected(turn: Turn, event: Extract<Event, { kind: "dataInspected" }>): void {
  const { node } = turn;
  // An answer to a question from before etcd was started says nothing about now.
  if (node.etcd.kind === "starting" || node.etcd.kind === "ready" || node.deeds.has("local")) return;
  node.data = event.data;
  const gone = event.data.kind === "absent" || event.data.kind === "empty";
  if (event.record !== undefined) {
    node.record = event.record;
    node.recordKept = true;
  }
  const { seen } = node.record;
  if (node.lastCluster === undefined && seen !== undefined) {
    node.lastCluster = { clusterId: seen.clusterId, voters: seen.voters, atMs: turn.now.monotonicMs };
  }
  const { started, lost } = node.record;
  if (event.data.kind === "valid" && started === undefined && lost !== undefined) {
    if (event.data.clusterId === seen?.clusterId) node.record = withoutLost({ ...node.record, started: lost });
  }
  if (gone && started !== undefined && node.committing === undefined) {
    // Etcd ran here and its data is gone: this disk is a new founder, and no promise binds it any more.
    forgetRecord(turn);
    node.record = { ...node.record, lost: started };
    turn.notice("warn", "data lost", {
      code: "data_lost",
      text: "the record says that etcd ran here, and the data-dir is gone: this node starts as a new one",
    });
  }
}

/** `EndpointFacts.currentAtMs`. */
function currentAt(
  { endpoints, self }: Node,
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
  const before = node.endpoints.get(endpoint);
  const nowMs = now.monotonicMs;
  const own = endpoint === node.self.clientUrl ? probe : node.endpoints.get(node.self.clientUrl)?.last;
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
  const endpoints = new Map(node.endpoints).set(endpoint, next);
  for (const url of endpoints.keys()) {
    if (endpoints.size <= endpointsMax) break;
    endpoints.delete(url);
  }
  node.endpoints = endpoints;
  if (probe.kind !== "answer") {
    if (endpoint === node.self.clientUrl) leaderless(turn);
    return;
  }
  noteMembers(turn, probe);
  if (endpoint === node.self.clientUrl && (node.etcd.kind === "starting" || node.etcd.kind === "ready")) {
    ownAnswer(turn, probe);
  }
}

function noteMembers(turn: Turn, answer: EtcdAnswer): void {
  const { node, now } = turn;
  if (answer.linearizable && answer.leaderId !== undefined) {
    const voters = answer.members.filter((member) => !member.isLearner)
      .flatMap(({ name, peerUrls }) => peerUrls.slice(0, 1).map((peerUrl) => ({ name, peerUrl })))
      .sort((a, b) => a.peerUrl < b.peerUrl ? -1 : 1);
    node.lastCluster = { clusterId: answer.clusterId, voters, atMs: now.monotonicMs };
  }
  if (!answer.linearizable || answer.members.every((member) => node.memberSinceMs.has(member.id))) return;
  const listed = new Set(answer.members.map((member) => member.id));
  const since = new Map([...node.memberSinceMs].filter(([id]) => listed.has(id)));
  for (const id of listed) if (!since.has(id)) since.set(id, now.monotonicMs);
  node.memberSinceMs = since;
}

function ownAnswer(turn: Turn, answer: EtcdAnswer): void {
  const { node } = turn;
  const members = answer.members.length > 0 ? answer.members : membersByOthers(turn, answer);
  node.data = {
    kind: "valid",
    name: node.self.name,
    memberId: answer.memberId,
    clusterId: answer.clusterId,
    peerUrls: members.find((member) => member.id === answer.memberId)?.peerUrls ?? [node.self.peerUrl],
    members,
    revision: answer.revision,
    raftTerm: answer.raftTerm,
    raftIndex: answer.raftIndex,
  };
  if (answer.leaderId === undefined) leaderless(turn);
  else node.leaderlessSinceMs = undefined;
  // A scaling changes the record under the feet of nodes that were started with the former size.
  const { recordedSize, formerSizes } = answer;
  if (recordedSize !== undefined && formerSizes.includes(node.settings.requiredSize)) {
    checkSize(turn, recordedSize, formerSizes);
  }
}

/** A learner does not list members: another member of its cluster does. */
function membersByOthers(turn: Turn, own: EtcdAnswer): EtcdAnswer["members"] {
  const { node } = turn;
  for (const { last } of node.endpoints.values()) {
    if (last.kind !== "answer" || last.clusterId !== own.clusterId || !last.linearizable) continue;
    if (last.members.some((member) => member.id === own.memberId)) return last.members;
  }
  return [];
}
