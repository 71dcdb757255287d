/**
 * Builds the status report of a node and its cluster from the core's state alone. The report is plain JSON, an interface of
 * `e2d status --json` and /status, and contains no secrets.
 */
import type { JournalEntry } from "../../core/facts/effect.ts";
import type { CertificateState } from "../../pki/renewal_loop.ts";
import type { DecisionLog } from "./decision_log.ts";
import { effectText } from "./decision_text.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import { codes as redundancyCodes } from "../../core/rules/membership/redundancy.ts";
import type { NodeState } from "../../core/state/state.ts";
import { alarmText, alarmTexts } from "../../facts/etcd.ts";
import type { EtcdAnswer, EtcdMember } from "../../core/facts/cluster.ts";
import type { Hold } from "../../core/facts/settings.ts";
import type { Reason } from "../../core/facts/reason.ts";
import type { StoredLife } from "../../core/facts/snapshot_lookup.ts";

export interface StatusReport {
  readonly name: string;
  readonly phase: string;
  /** True when the own member votes and knows a leader, and nothing on this node needs an operator. */
  readonly ready: boolean;
  /** True when the node is ready and redundancy or a promise is reduced; the reasons at level warn and error name it. */
  readonly degraded?: boolean;
  /** The text of the most severe reason. */
  readonly degradedBy?: string;
  /** Why the node is not ready or degraded, and what it waits for. */
  readonly reasons: readonly ReportedReason[];
  readonly paused: boolean;
  /** The hold of this node; holds of other nodes are in `reasons`. */
  readonly hold?: { since: string; why?: string };
  readonly requiredSize: number;
  readonly clusterId?: string;
  readonly members: readonly MemberReport[];
  /** Present while the own etcd has no leader: the end of this node's data, to compare nodes by. */
  readonly ownData?: OwnDataReport;
  readonly gossip: readonly { name: string; state: string; status: string; kind: "e2d" | "go"; address: string }[];
  readonly snapshots: SnapshotReport;
  readonly certificates: readonly { role: string; path: string; until: string; days: number }[];
  readonly plan?: { id: string; text: string };
}

export interface OwnDataReport {
  /** The last entry of the raft log on disk, committed or not; absent before it was read. */
  readonly lastLog?: { readonly term: number; readonly index: number };
  readonly revision: number;
  /** This member's peer URLs in the data, when they differ from this node's. */
  readonly registeredAt?: readonly string[];
  /** The peer URL of this node. */
  readonly peerUrl: string;
}

/** `error`: an operator must act; `warn`: redundancy or a promise is reduced. */
export interface ReportedReason extends Reason {
  readonly level?: "info" | "warn" | "error";
}

export interface SnapshotReport {
  readonly configured: boolean;
  /** RFC 3339. The newest snapshot of any node; each node looks it up once per minute. */
  readonly lastAt?: string;
  readonly lastRevision: number;
  /** RFC 3339. When that snapshot was verified; absent for snapshots of the Go original. */
  readonly verifiedAt?: string;
  /** Result of the last lookup: `newest` (a snapshot exists), `absent`, `unreadable`, `unknown`, `unconfigured`. */
  readonly catalogue: string;
  readonly why?: string;
}

export interface MemberReport {
  readonly id: string;
  readonly name: string;
  readonly peerUrls: readonly string[];
  /** `removed`: this node has data of the member, and the cluster that answers does not list it. */
  readonly role: "leader" | "voter" | "learner" | "unstarted" | "removed";
  /** Absent before its first answer or failure. */
  readonly reachable?: boolean;
  readonly version?: string;
  readonly dbSizeBytes?: number;
  readonly dbInUseBytes?: number;
  readonly raftIndex?: number;
  /** Number of entries that it has not applied yet. */
  readonly raftLag?: number;
  /** Milliseconds since it was last seen with every committed entry. Absent when that was never seen. */
  readonly dataAgeMs?: number;
  readonly alarms: readonly string[];
  readonly gossip?: string;
}

export interface StatusSources {
  readonly node: NodeState;
  readonly certificates: readonly CertificateState[];
  /** Errors of the last check of the certificates. */
  readonly certificateFailures: readonly string[];
  readonly nowWallMs: number;
  /** Clock.monotonicMs. */
  readonly nowMs: number;
}

const dayMs = 86_400_000;
/** Every member is probed at least every 5 s (lib/core/watch); older answers are ignored. */
const answerMaxAgeMs = 15_000;

export function statusReport(sources: StatusSources): StatusReport {
  const { node, certificates, nowWallMs, nowMs } = sources;
  const { plan } = node.maintenance;
  const own = answerAt(node, node.self.clientUrl);
  const members = membersOf(node, own, nowMs).sort(byName);
  const reasons = reasonsOf(sources, own);
  const ready = node.phase === "serving" && own?.leaderId !== undefined &&
    !reasons.some(({ code }) => notReadyCodes.has(code)) &&
    ![...node.reports.problems.values()].some(({ level, keepsReady }) => level === "error" && !keepsReady);
  return {
    name: node.self.name,
    phase: node.phase,
    ready,
    ...degradation(ready, reasons),
    reasons,
    paused: node.settings.paused,
    ...withoutUndefined({ hold: node.settings.hold && holdReport(node.settings.hold), clusterId: own?.clusterId }),
    requiredSize: node.settings.requiredSize,
    members,
    ...ownData(node, own),
    gossip: node.gossip.peers.map(({ name, state, status, isLegacy, gossipAddr }) => ({
      name,
      state,
      status,
      kind: isLegacy ? "go" : "e2d",
      address: gossipAddr,
    })),
    snapshots: snapshotReport(node),
    certificates: certificates.map(({ role, path, notAfterMs }) => ({
      role,
      path,
      until: iso(notAfterMs),
      days: Math.floor((notAfterMs - nowWallMs) / dayMs),
    })),
    ...withoutUndefined({ plan: plan && { id: plan.id, text: plan.text } }),
  };
}

/** By the own etcd, else by a cluster that has removed the own member, else by the own data. */
function membersOf(node: NodeState, own: EtcdAnswer | undefined, nowMs: number): MemberReport[] {
  const report = (member: EtcdMember) => memberReport(member, { node, own, nowMs });
  if (own?.members.length) return own.members.map(report);
  const { data } = node.disk;
  if (data.kind !== "valid") return [];
  const without =
    [...node.membership.endpoints.values()].flatMap(({ last, atMs }) =>
      last.kind === "answer" && nowMs - atMs < answerMaxAgeMs && last.linearizable &&
        last.clusterId === data.clusterId &&
        !last.members.some(({ id }) => id === data.memberId)
        ? [last.members]
        : []
    )[0];
  if (without === undefined) return data.members.map(report);
  const removed = data.members.filter(({ id }) => id === data.memberId);
  return [...without.map(report), ...removed.map((member) => ({ ...report(member), role: "removed" as const }))];
}

/** Order by name: ids are random. */
export const byName = (a: MemberReport, b: MemberReport) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

const iso = (ms: number) => new Date(ms).toISOString();

const holdReport = ({ sinceWallMs, why }: Hold) => ({
  since: iso(sinceWallMs),
  ...withoutUndefined({ why }),
});

function answerAt(node: NodeState, url: string): EtcdAnswer | undefined {
  const last = node.membership.endpoints.get(url)?.last;
  return last?.kind === "answer" ? last : undefined;
}

/** The newest snapshot of this cluster's life: other lives and clusters may save to the same store. */
function ownNewest(
  { snapshots: { store: { newest } }, disk: { record: { started } } }: NodeState,
): Partial<StoredLife["newest"]> {
  if (started === undefined || newest?.lives === undefined) return newest ?? {};
  const { id, token } = started.lineage;
  const own = newest.lives.find(({ lineage }) => lineage.id === id && lineage.token === token);
  // Just restored: the newest snapshot of the lineage is the one that it was restored from.
  return own?.newest ?? newest.lives.find(({ lineage }) => lineage.id === id)?.newest ?? {};
}

function ownData({ disk: { data }, self }: NodeState, own: EtcdAnswer | undefined): Pick<StatusReport, "ownData"> {
  if (data.kind !== "valid" || own?.leaderId !== undefined) return {};
  const { lastLog, revision, peerUrls } = data;
  const movedFrom = peerUrls.length === 0 || peerUrls.includes(self.peerUrl) ? undefined : peerUrls;
  return {
    ownData: {
      ...withoutUndefined({ lastLog, registeredAt: movedFrom }),
      revision,
      peerUrl: self.peerUrl,
    },
  };
}

function snapshotReport(node: NodeState): SnapshotReport {
  const { settings, snapshots: { store: { lookup }, backup, lastSnapshotAtWallMs } } = node;
  const { takenAtWallMs, revision, verifiedAtWallMs } = ownNewest(node);
  // The last lookup may be older than the snapshot that this node has saved since.
  const ownIsNewer = lastSnapshotAtWallMs !== undefined && backup.revision > (revision ?? -1);
  const lastAtWallMs = ownIsNewer ? lastSnapshotAtWallMs : takenAtWallMs;
  // A snapshot counts as saved only after its verification.
  const verifiedMs = ownIsNewer ? lastSnapshotAtWallMs : verifiedAtWallMs;
  return {
    configured: settings.snapshots,
    ...withoutUndefined({
      lastAt: lastAtWallMs === undefined ? undefined : iso(lastAtWallMs),
      verifiedAt: verifiedMs === undefined ? undefined : iso(verifiedMs),
      why: lookup.kind === "unreadable" ? lookup.why : undefined,
    }),
    lastRevision: ownIsNewer ? backup.revision : revision ?? 0,
    catalogue: ownIsNewer && lookup.kind === "absent" ? "newest" : lookup.kind,
  };
}

function memberReport(
  member: EtcdMember,
  { node, own, nowMs }: { node: NodeState; own: EtcdAnswer | undefined; nowMs: number },
): MemberReport {
  const facts = member.clientUrls.map((url) => node.membership.endpoints.get(url))
    .find((each) => each !== undefined && nowMs - each.atMs < answerMaxAgeMs);
  // The answer may come from another member that has taken over the address.
  const answer = facts?.last.kind === "answer" && facts.last.memberId === member.id ? facts.last : undefined;
  const otherAnswers = facts?.last.kind === "answer" && answer === undefined;
  const currentAtMs = otherAnswers ? undefined : member.clientUrls
    .map((url) => node.membership.endpoints.get(url)?.currentAtMs)
    .find((each) => each !== undefined);
  // By name first: gossip still lists a dead member whose successor has the same address.
  const peer = node.gossip.peers.find(({ name }) => name === member.name) ??
    node.gossip.peers.find(({ peerUrl }) => member.peerUrls.includes(peerUrl));
  return {
    ...memberFacts(member, answer, { leaderId: own?.leaderId, raftIndex: facts?.ownRaftIndex }),
    ...withoutUndefined({
      reachable: facts && answer !== undefined,
      dataAgeMs: currentAtMs === undefined || facts === undefined ? undefined : Math.max(0, nowMs - currentAtMs),
      gossip: peer?.state ?? (member.name === node.self.name ? "self" : undefined),
    }),
    alarms: answer === undefined ? [] : alarmTexts(answer),
  };
}

/** The facts from a member's own answer. `raftIndex`: the cluster's, which the lag is relative to. */
export function memberFacts(
  { id, name, peerUrls, isLearner }: Pick<EtcdMember, "id" | "name" | "peerUrls" | "isLearner">,
  answer:
    | Pick<EtcdAnswer, "version" | "dbSizeBytes" | "dbInUseBytes" | "raftIndex" | "raftAppliedIndex">
    | undefined,
  { leaderId, raftIndex }: { leaderId: string | undefined; raftIndex: number | undefined },
): Omit<MemberReport, "reachable" | "dataAgeMs" | "alarms" | "gossip"> {
  return {
    id,
    name,
    peerUrls,
    role: leaderId === id ? "leader" : isLearner ? "learner" : name === "" ? "unstarted" : "voter",
    ...(answer === undefined ? {} : {
      version: answer.version,
      dbSizeBytes: answer.dbSizeBytes,
      dbInUseBytes: answer.dbInUseBytes,
      raftIndex: answer.raftIndex,
      raftLag: Math.max(0, (raftIndex ?? answer.raftIndex) - answer.raftAppliedIndex),
    }),
  };
}

/** A member that was stopped properly reduces redundancy, too. */
const reduces = ({ level, code }: ReportedReason) =>
  level === "warn" || level === "error" || code === redundancyCodes.silent;

function degradation(
  ready: boolean,
  reasons: readonly ReportedReason[],
): Pick<StatusReport, "degraded" | "degradedBy"> {
  const reducing = ready ? reasons.filter(reduces) : [];
  const worst = reducing.find(({ level }) => level === "error") ?? reducing.find(({ level }) => level === "warn") ??
    reducing[0];
  return { degraded: worst !== undefined, ...withoutUndefined({ degradedBy: worst?.text }) };
}

/** Codes that make a serving node not ready. */
const notReadyCodes = new Set(["no_quorum", "alarm", "certificate_ends", "certificate_fails", "members_differ"]);

/** A failed effect is retried within 10 s, so an older failure is over. */
const failingMs = 30_000;

/** Effects that copy a whole database, or wait for etcd to stop: while one runs, nothing else of this node changes. */
const longEffects: ReadonlySet<string> = new Set(["exportSurvivor", "prepareSource", "restoreData", "provideEtcd"]);

function reasonsOf(
  { node, certificates, certificateFailures, nowMs }: StatusSources,
  own: EtcdAnswer | undefined,
): ReportedReason[] {
  const reasons: ReportedReason[] = [];
  const add = (level: ReportedReason["level"], reason: Reason) => reasons.push({ ...reason, level: level! });
  if (node.reports.waitingFor !== undefined) add(node.reports.waitingLevel, node.reports.waitingFor);
  for (const { reason, level } of node.reports.problems.values()) {
    if (reason.text !== node.reports.waitingFor?.text) add(level, reason);
  }
  for (const { kind } of node.effects.inFlight.values()) {
    if (longEffects.has(kind)) add("info", { code: "step_runs", text: `${effectText[kind]}; this may take minutes` });
  }
  if (node.phase !== "serving") add("info", { code: "not_serving", text: `this node is ${node.phase}` });
  const addAlarm = (text: string, type?: string) =>
    add("error", { code: "alarm", text: `etcd raises the alarm ${text}`, hint: alarmHint(type, node) });
  if (own !== undefined) {
    for (const alarm of own.alarms) addAlarm(alarmText(alarm, own.memberId), alarm.type);
    for (const text of own.statusErrors) addAlarm(text);
  }
  for (const { kind, text, atMs } of node.effects.failing.values()) {
    if (nowMs - atMs < failingMs) add("warn", { code: "failing", text: `${effectText[kind]} fails: ${text}` });
  }
  if (node.snapshots.backup.diverged) {
    add("error", { code: "members_differ", text: "the members' data differ: no snapshot is taken" });
  }
  for (const { role, path, warning } of certificates) {
    if (warning === undefined) continue;
    const text = `the ${role} certificate "${path}" expires soon or has expired`;
    add("warn", { code: "certificate_ends", text });
  }
  for (const text of certificateFailures) add("warn", { code: "certificate_fails", text });
  return reasons;
}

function alarmHint(type: string | undefined, { settings }: NodeState): string {
  if (type !== "NOSPACE") {
    if (settings.paused) {
      return "run e2d resume: the leader's manager then compares the members and replaces the one that differs";
    }
    return "the leader's manager compares the members and replaces the one that differs; e2d why on that node reports what it waits for";
  }
  if (settings.paused) {
    return "run e2d resume: the leader's manager then reclaims space; delete keys if that is not enough";
  }
  return "the leader's manager reclaims space automatically; if that is not enough, delete keys or raise --quota-backend-bytes";
}

/** The recorded decisions for `e2d why`, newest last. */
export function decisionReport(journal: DecisionLog): (JournalEntry & { at: string; lastAt: string; times: number })[] {
  return journal.lines().map(({ entry, atWallMs, lastAtWallMs, times }) => ({
    at: iso(atWallMs),
    lastAt: iso(lastAtWallMs),
    times,
    ...entry,
  }));
}
