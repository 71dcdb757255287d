/** What a node tells of itself and its cluster, made from the core's state alone: plain JSON, no secrets in it. */
import type { AnsweredEffect, JournalEntry } from "../core/effect.ts";
import type { Node } from "../core/node.ts";
import type { EtcdAnswer, EtcdMember, Reason } from "../core/view.ts";
import type { CertificateState } from "../pki/renewal_loop.ts";
import type { Journal } from "./journal.ts";

export interface StatusReport {
  readonly name: string;
  readonly phase: string;
  /** True when the own member votes and knows a leader, and nothing on this node needs a human. */
  readonly ready: boolean;
  /** Why not, or what is waited for, in words. */
  readonly reasons: readonly Reason[];
  readonly paused: boolean;
  readonly requiredSize: number;
  readonly clusterId?: string;
  readonly members: readonly MemberReport[];
  readonly gossip: readonly { name: string; state: string; status: string; kind: "e2d" | "go"; address: string }[];
  readonly snapshots: SnapshotReport;
  readonly certificates: readonly { role: string; path: string; until: string; days: number }[];
  readonly plan?: { id: string; text: string };
}

export interface SnapshotReport {
  readonly configured: boolean;
  /** RFC 3339. Of the newest snapshot, whoever saved it; each node looks into the store each minute. */
  readonly lastAt?: string;
  readonly lastRevision: number;
  /** RFC 3339. When that snapshot was read back from the store and found whole; absent for the original's. */
  readonly verifiedAt?: string;
  /** Of the last look: `newest` (there is one), `absent`, `unreadable`, `unknown`, `unconfigured`. */
  readonly catalogue: string;
  readonly why?: string;
}

export interface MemberReport {
  readonly id: string;
  readonly name: string;
  readonly peerUrls: readonly string[];
  readonly role: "leader" | "voter" | "learner" | "unstarted";
  /** Undefined while nothing was heard of it. */
  readonly reachable?: boolean;
  readonly version?: string;
  readonly dbSizeBytes?: number;
  readonly dbInUseBytes?: number;
  readonly raftIndex?: number;
  /** Entries that it has not applied yet. */
  readonly raftLag?: number;
  /** How old its data is: ms since it last had all that was committed. Absent where nobody here has seen that. */
  readonly dataAgeMs?: number;
  readonly alarms: readonly string[];
  readonly gossip?: string;
}

export interface StatusSources {
  readonly node: Node;
  readonly certificates: readonly CertificateState[];
  /** What could not be read or renewed of them at the last look, in words. */
  readonly certificateFailures: readonly string[];
  readonly nowWallMs: number;
  /** Clock.monotonicMs. */
  readonly nowMs: number;
}

const dayMs = 86_400_000;
/** Every member is asked at least each five seconds (core/probe.ts); of an older answer nothing is said. */
const heardLatelyMs = 15_000;

export function statusReport(sources: StatusSources): StatusReport {
  const { node, certificates, nowWallMs, nowMs } = sources;
  const own = answerAt(node, node.self.clientUrl);
  const members = (own?.members.length ? own.members : node.data.kind === "valid" ? node.data.members : [])
    .map((member) => memberReport(member, { node, own, nowMs })).sort(byName);
  const reasons = reasonsOf(sources, own);
  return {
    name: node.self.name,
    phase: node.phase,
    ready: node.phase === "serving" && own?.leaderId !== undefined && !reasons.some(({ code }) => grave.has(code)),
    reasons,
    paused: node.settings.paused,
    requiredSize: node.settings.requiredSize,
    ...(own === undefined ? {} : { clusterId: own.clusterId }),
    members,
    gossip: node.peers.map(({ name, state, status, go, gossipAddr }) => ({
      name,
      state,
      status,
      kind: go ? "go" : "e2d",
      address: gossipAddr,
    })),
    snapshots: snapshotReport(node),
    certificates: certificates.map(({ role, path, notAfterMs }) => ({
      role,
      path,
      until: iso(notAfterMs),
      days: Math.floor((notAfterMs - nowWallMs) / dayMs),
    })),
    ...(node.plan === undefined ? {} : { plan: { id: node.plan.id, text: node.plan.text } }),
  };
}

/** Ids are by chance; names are how people look for a member. */
export const byName = (a: MemberReport, b: MemberReport) => a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

const iso = (ms: number) => new Date(ms).toISOString();

function answerAt(node: Node, url: string): EtcdAnswer | undefined {
  const last = node.endpoints.get(url)?.last;
  return last?.kind === "answer" ? last : undefined;
}

function snapshotReport({ settings, store: { look, newest }, backup, lastSnapshotAtWallMs }: Node): SnapshotReport {
  const { takenAtWallMs, revision, verifiedAtWallMs } = newest ?? {};
  // What this node has just saved, the next look will find.
  const ownIsNewer = lastSnapshotAtWallMs !== undefined && backup.revision > (revision ?? -1);
  const lastAtWallMs = ownIsNewer ? lastSnapshotAtWallMs : takenAtWallMs;
  return {
    configured: settings.snapshots,
    ...(lastAtWallMs === undefined ? {} : { lastAt: iso(lastAtWallMs) }),
    lastRevision: ownIsNewer ? backup.revision : revision ?? 0,
    // Saving ends with reading back.
    ...(ownIsNewer
      ? { verifiedAt: iso(lastSnapshotAtWallMs) }
      : verifiedAtWallMs === undefined
      ? {}
      : { verifiedAt: iso(verifiedAtWallMs) }),
    catalogue: ownIsNewer && look.kind === "absent" ? "newest" : look.kind,
    ...(look.kind === "unreadable" ? { why: look.why } : {}),
  };
}

function memberReport(
  member: EtcdMember,
  { node, own, nowMs }: { node: Node; own: EtcdAnswer | undefined; nowMs: number },
): MemberReport {
  const facts = member.clientUrls.map((url) => node.endpoints.get(url))
    .find((each) => each !== undefined && nowMs - each.atMs < heardLatelyMs);
  const answer = facts?.last.kind === "answer" ? facts.last : undefined;
  const currentAtMs = member.clientUrls.map((url) => node.endpoints.get(url)?.currentAtMs)
    .find((each) => each !== undefined);
  // A successor may have the address of the dead one, which gossip knows for a while yet.
  const peer = node.peers.find(({ name }) => name === member.name) ??
    node.peers.find(({ peerUrl }) => member.peerUrls.includes(peerUrl));
  return {
    ...memberFacts(member, answer, { leaderId: own?.leaderId, raftIndex: facts?.ownRaftIndex }),
    ...(facts === undefined ? {} : { reachable: answer !== undefined }),
    ...(currentAtMs === undefined || facts === undefined ? {} : { dataAgeMs: Math.max(0, nowMs - currentAtMs) }),
    alarms: answer?.alarms ?? [],
    ...(peer === undefined ? member.name === node.self.name ? { gossip: "self" } : {} : { gossip: peer.state }),
  };
}

/** What a member's own answer tells of it; `raftIndex` is the cluster's, from which its lag is counted. */
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

/** Codes that make a serving node not ready. */
const grave = new Set(["no_quorum", "alarm", "certificate_ends", "certificate_fails", "members_differ"]);

/** What failed is tried again within ten seconds; older news is none. */
const failingMs = 30_000;

/** What a deed is to an operator. */
const deedText: Record<AnsweredEffect["kind"], string> = {
  writeRecord: "writing the node's record",
  moveDataAside: "moving the data-dir aside",
  startEtcd: "starting etcd",
  provideEtcd: "getting an etcd",
  stopEtcd: "stopping etcd",
  prepareSource: "fetching what the cluster is to start from",
  exportSurvivor: "exporting this node's data",
  restoreData: "restoring the data-dir",
  memberAdd: "adding this node to the members",
  memberRemove: "removing a member",
  memberPromote: "promoting a learner",
  memberUpdate: "telling the cluster this node's address",
  moveLeader: "moving the lead",
  checkRecord: "comparing -n with the cluster's record",
  changeRecord: "changing the cluster's record",
  upgradeEtcd: "changing etcd's version",
  allowDowngrade: "asking etcd to go back a version",
  defragment: "defragmenting a member",
  makeRoom: "making room in the database",
  hashMembers: "comparing the members",
  disarmCorrupt: "disarming an alarm",
  writePlan: "writing the plan",
  clearVolatile: "clearing what belonged to the cluster before the restore",
  compareHashes: "comparing the members",
  takeSnapshot: "taking a snapshot",
};

function reasonsOf(
  { node, certificates, certificateFailures, nowMs }: StatusSources,
  own: EtcdAnswer | undefined,
): Reason[] {
  const reasons: Reason[] = [];
  if (node.waitingFor !== undefined) reasons.push(node.waitingFor);
  if (node.phase !== "serving") reasons.push({ code: "not_serving", text: `this node is ${node.phase}` });
  for (const alarm of own?.alarms ?? []) {
    reasons.push({ code: "alarm", text: `etcd raises the alarm ${alarm}`, hint: alarmHint(alarm, node) });
  }
  for (const { kind, text, atMs } of node.failing.values()) {
    if (nowMs - atMs < failingMs) reasons.push({ code: "failing", text: `${deedText[kind]} fails: ${text}` });
  }
  if (node.backup.diverged) {
    reasons.push({ code: "members_differ", text: "the members' data differ: no snapshot is taken" });
  }
  for (const { role, path, warning } of certificates) {
    if (warning === undefined) continue;
    reasons.push({ code: "certificate_ends", text: `the ${role} certificate "${path}" is about to end or has ended` });
  }
  for (const text of certificateFailures) reasons.push({ code: "certificate_fails", text });
  return reasons;
}

function alarmHint(alarm: string, { settings }: Node): string {
  if (!alarm.startsWith("NOSPACE")) {
    if (settings.paused) {
      return "e2d resume lets the leader's node compare the members and replace the one that differs";
    }
    return "the leader's node compares the members and replaces the one that differs; its e2d why tells what is missing";
  }
  if (settings.paused) return "e2d resume lets the leader's node make room; keys can be deleted meanwhile";
  return "the leader's node makes room; where that is not enough delete keys, or raise --quota-backend-bytes";
}

/** The last decisions, newest last, for `e2d why`. */
export function journalReport(journal: Journal): (JournalEntry & { at: string; lastAt: string; times: number })[] {
  return journal.lines().map(({ entry, atWallMs, lastAtWallMs, times }) => ({
    at: iso(atWallMs),
    lastAt: iso(lastAtWallMs),
    times,
    ...entry,
  }));
}
