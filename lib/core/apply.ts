/** Events into facts: what came in is noted, nothing is decided. */
import type { AnsweredEffect } from "./effect.ts";
import type { DoneValue, Event } from "./event.ts";
import { type Draft, isCalm, type Node, nonceOf } from "./node.ts";
import { retryAfterMs, type Turn } from "./turn.ts";
import type { EndpointFacts, EtcdAnswer, EtcdProbe, Settings, Source } from "./view.ts";

/** Endpoints and members remembered at most; beyond that the oldest are forgotten. */
const endpointsMax = 64;
const defragRestMs = 60_000;
const downgradeRestMs = 10_000;
const roomRestMs = 300_000;
const formerNoncesMax = 8;
const exitRestMaxMs = 30_000;
/** Half a minute of starts that come to nothing. */
const exitsMax = 6;

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
      node.exits++;
      node.etcd = {
        kind: "exited",
        atMs: now.monotonicMs,
        code: event.code,
        cause: event.cause,
        count: node.exits,
      };
      // It ran: if its data is gone now, its identity is spent.
      node.committing = undefined;
      node.added = undefined;
      etcdGone(turn);
      turn.rest("local", Math.min(exitRestMaxMs, retryAfterMs * 2 ** Math.min(node.exits - 1, 6)));
      turn.notice("error", "etcd exited", {
        code: "etcd_exited",
        text: `etcd ended by itself with ${event.code} (${event.cause})`,
      });
      if (node.exits >= exitsMax) giveUp(turn, event.cause);
      return;
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
  if (gone && node.record.started !== undefined && node.committing === undefined) {
    // Etcd ran here and its data is gone: this disk is a new founder, and no promise binds it any more.
    forgetRecord(turn);
    turn.notice("warn", "data lost", {
      code: "data_lost",
      text: "the record says that etcd ran here, and the data-dir is gone: this node starts as a new one",
    });
  }
}

function forgetRecord(turn: Turn): void {
  const { node } = turn;
  const formerNonces = [...node.record.formerNonces ?? [], node.record.nonce].slice(-formerNoncesMax);
  node.record = { nonce: nonceOf(node.seed, node.nonces++), formerNonces, pledges: [] };
  node.recordKept = false;
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
      .flatMap(({ name, peerUrls }) => peerUrls.slice(0, 1).map((peerUrl) => ({ name, peerUrl })));
    node.lastCluster = { voters, atMs: now.monotonicMs };
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

function leaderless(turn: Turn): void {
  const { node, now } = turn;
  if (node.etcd.kind === "starting" || node.etcd.kind === "ready") node.leaderlessSinceMs ??= now.monotonicMs;
}

function etcdChanged(turn: Turn, state: "starting" | "ready" | "stopped"): void {
  const { node, now } = turn;
  switch (state) {
    case "starting":
      if (node.etcd.kind === "ready") return;
      node.etcd = { kind: "starting", sinceMs: now.monotonicMs };
      node.leaderlessSinceMs ??= now.monotonicMs;
      return;
    case "ready":
      if (node.etcd.kind !== "ready") node.etcd = { kind: "ready", sinceMs: now.monotonicMs };
      node.exits = 0;
      node.committing = undefined;
      return;
    case "stopped":
      node.etcd = { kind: "stopped" };
      etcdGone(turn);
      return;
    default:
      return state satisfies never;
  }
}

/** A service manager may start this process again, and a human sees that it does not stay up. */
function giveUp(turn: Turn, cause: string): void {
  const { node } = turn;
  node.ending = {
    code: 1,
    reason: {
      code: "etcd_dies",
      text: `etcd ended ${node.exits} times in a row before it was ready (${cause})`,
      hint: "its last lines say why; the data-dir was not touched",
    },
  };
  turn.enter("leaving", node.ending.reason);
}

/** Etcd does not run any more: what it said of itself is void, and the data-dir is to be looked at again. */
function etcdGone(turn: Turn): void {
  const { node } = turn;
  node.leaderlessSinceMs = undefined;
  node.recordChecked = false;
  node.data = { kind: "unknown" };
  const endpoints = new Map(node.endpoints);
  endpoints.delete(node.self.clientUrl);
  node.endpoints = endpoints;
  if (!node.deeds.has("local")) turn.emit({ kind: "inspectData" });
}

function take(turn: Turn, id: number): AnsweredEffect | undefined {
  const { node } = turn;
  for (const [slot, effect] of node.deeds) {
    if (effect.id !== id) continue;
    const deeds = new Map(node.deeds);
    deeds.delete(slot);
    node.deeds = deeds;
    const rests = new Map(node.rests);
    rests.delete(slot);
    node.rests = rests;
    return effect;
  }
  return undefined;
}

function answered(turn: Turn, id: number, value: DoneValue): void {
  const { node, now } = turn;
  const slot = [...node.deeds].find(([, effect]) => effect.id === id)?.[0];
  const effect = take(turn, id);
  if (effect === undefined || slot === undefined) return;
  if (node.failing.has(slot)) node.failing = new Map([...node.failing].filter(([each]) => each !== slot));
  switch (effect.kind) {
    case "writeRecord":
      node.record = effect.record;
      node.recordKept = true;
      return;
    case "moveDataAside":
      // A recovery in progress keeps its promise in memory and writes it again; all else begins anew.
      if (node.committing === undefined) forgetRecord(turn);
      node.added = undefined;
      node.data = { kind: "unknown" };
      turn.emit({ kind: "inspectData" });
      return;
    case "startEtcd":
      node.committing = undefined;
      if (node.etcd.kind !== "ready" && node.etcd.kind !== "exited") etcdChanged(turn, "starting");
      return;
    case "stopEtcd":
      etcdChanged(turn, "stopped");
      return;
    case "prepareSource":
      if (value.kind === "sourceVerified" && node.progress.founding?.digest === effect.founding.digest) {
        node.progress = { ...node.progress, verified: value.hash };
      }
      return;
    case "exportSurvivor":
      if (value.kind === "exported" && node.progress.founding?.digest === effect.founding.digest) {
        const { hash, revision, url } = value;
        node.progress = { ...node.progress, offer: { hash, revision, url } };
      }
      return;
    case "restoreData": {
      const { digest, source } = effect.founding;
      node.restored = digest;
      turn.notice("warn", "restored", { code: "restored", text: restoredText(node, source) });
      return;
    }
    case "provideEtcd":
      node.provided = effect.atLeast;
      return;
    case "memberAdd":
      if (value.kind === "memberAdded") node.added = value.memberId;
      askAgain(turn);
      return;
    case "memberRemove":
    case "memberUpdate":
    case "memberPromote":
    case "moveLeader":
      askAgain(turn);
      return;
    case "checkRecord":
      node.recordChecked = true;
      if (value.kind === "recordChecked") checkSize(turn, value.size, value.formerSizes);
      return;
    case "allowDowngrade":
      // The members look only each few seconds whether they may.
      turn.rest("cluster", downgradeRestMs);
      askAgain(turn);
      return;
    case "upgradeEtcd":
      turn.notice("info", "upgraded", { code: "plan_goes_on", text: `this member runs etcd ${effect.to} now` });
      askAgain(turn);
      return;
    case "changeRecord":
    case "defragment":
      askAgain(turn);
      return;
    case "makeRoom":
      if (value.kind === "roomMade") {
        turn.notice("warn", "room made", { code: "room_made", text: `the database was full: ${value.detail}` });
      }
      // One that fills at once again is not stopped again at once.
      turn.rest("care", defragRestMs);
      askAgain(turn);
      return;
    case "hashMembers":
      if (value.kind === "membersHashed") {
        const { revision, voters } = effect;
        node.hashes = { revision, voters, hashes: value.hashes, atMs: now.monotonicMs };
      }
      return;
    case "disarmCorrupt":
      askAgain(turn);
      return;
    case "writePlan":
      node.plan = effect.plan;
      if (effect.plan !== undefined && node.requested?.id === effect.plan.id) node.requested = undefined;
      return;
    case "clearVolatile":
      node.cleared = true;
      return;
    case "compareHashes":
      node.compared = true;
      if (value.kind === "hashesCompared" && !value.equal) {
        node.backup = { ...node.backup, diverged: true };
        turn.notice("error", "members differ", { code: "members_differ", text: `HashKV differs: ${value.detail}` });
      }
      return;
    case "takeSnapshot":
      node.backup = {
        ...node.backup,
        attemptedAtMs: now.monotonicMs,
        revision: value.kind === "snapshotTaken"
          ? Math.max(node.backup.revision, value.revision)
          : node.backup.revision,
      };
      if (value.kind === "snapshotTaken" && value.saved) node.lastSnapshotAtWallMs = now.wallMs;
      return;
    default:
      return effect satisfies never;
  }
}

/** After a restore everybody asks what is missing. */
function restoredText({ catalogue }: Draft, source: Source): string {
  if (source.kind === "empty") return "the data-dir was made anew";
  const what = source.kind === "survivor" ? `the data of "${source.name}"` : "a snapshot";
  const takenAt = source.kind === "snapshot" && catalogue.kind === "newest" && catalogue.hash === source.hash
    ? ` of ${new Date(catalogue.takenAtWallMs).toISOString().slice(0, 19)}Z`
    : "";
  return `the data-dir was made from ${what}${takenAt}, revision ${source.revision}: what was written later is not in it`;
}

function checkSize(turn: Turn, size: number, formerSizes: readonly number[]): void {
  const { node } = turn;
  const own = node.settings.requiredSize;
  if (size === own) return;
  if (formerSizes.includes(own)) {
    node.settings = { ...node.settings, requiredSize: size };
    turn.notice("info", "size adopted", {
      code: "size_adopted",
      text: `the cluster was scaled from ${own} to ${size}; this node follows`,
    });
    return;
  }
  node.ending = {
    code: 1,
    reason: {
      code: "size_contradicts_record",
      text: `-n ${own} contradicts the cluster's record, which says ${size}`,
      hint: `start this node with -n ${size}, or change the cluster with "e2d scale"`,
    },
  };
  turn.enter("leaving", node.ending.reason);
}

/** What the members said before a change is old news: ask them all again at once. */
function askAgain(turn: Turn): void {
  const { node } = turn;
  node.asked = new Map();
  node.voidedAtMs = turn.now.monotonicMs;
  node.endpoints = new Map([...node.endpoints].map(([url, facts]) => [url, { ...facts, atMs: -Infinity }]));
}

function failed(turn: Turn, id: number, code: string, message: string): void {
  const { node, now } = turn;
  const slot = [...node.deeds].find(([, effect]) => effect.id === id)?.[0];
  const effect = take(turn, id);
  if (effect === undefined || slot === undefined) return;
  node.failing = new Map(node.failing).set(slot, { kind: effect.kind, text: message, atMs: now.monotonicMs });
  turn.notice("warn", `${effect.kind} failed`, { code, text: message });
  // A learner that is nearly there is asked about often: waiting costs the cluster its third vote.
  turn.rest(slot, effect.kind === "memberPromote" ? retryAfterMs / 4 : retryAfterMs);
  switch (effect.kind) {
    case "startEtcd":
      // It never ran, so what was begun (a founding, a join) may be begun again in the same way.
      node.etcd = { kind: "stopped" };
      etcdGone(turn);
      return;
    case "moveDataAside":
    case "stopEtcd":
      turn.emit({ kind: "inspectData" });
      return;
    case "prepareSource":
    case "exportSurvivor":
    case "provideEtcd":
      // What has to be fetched from elsewhere is not there a second later.
      turn.rest(slot, 10 * retryAfterMs);
      return;
    case "takeSnapshot":
      node.backup = { ...node.backup, attemptedAtMs: now.monotonicMs };
      return;
    case "defragment":
      // It may still go on at that member.
      turn.rest(slot, defragRestMs);
      askAgain(turn);
      return;
    case "makeRoom":
      // Each time forgets revisions and stops members: not as often as there is no room.
      turn.rest(slot, roomRestMs);
      askAgain(turn);
      return;
    case "writePlan":
      // Somebody else's plan may be there, which has to be known before the next is written.
      node.planReadMs = undefined;
      askAgain(turn);
      return;
    default:
      askAgain(turn);
      return;
  }
}
