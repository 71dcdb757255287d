/** What a node tells of itself and its cluster, made from the core's state alone: plain JSON, no secrets in it. */
import type { JournalEntry } from "../core/effect.ts";
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
  readonly nowWallMs: number;
  /** Clock.monotonicMs. */
  readonly nowMs: number;
}

const dayMs = 86_400_000;
/** Every member is asked at least each five seconds (core/probe.ts); of an older answer nothing is said. */
const heardLatelyMs = 15_000;

export function statusReport({ node, certificates, nowWallMs, nowMs }: StatusSources): StatusReport {
  const own = answerAt(node, node.self.clientUrl);
  const members = (own?.members.length ? own.members : node.data.kind === "valid" ? node.data.members : [])
    .map((member) => memberReport(member, { node, own, nowMs })).sort(byName);
  const reasons = reasonsOf(node, own, certificates);
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
const grave = new Set(["no_quorum", "alarm", "certificate_ends", "members_differ"]);

function reasonsOf(node: Node, own: EtcdAnswer | undefined, certificates: readonly CertificateState[]): Reason[] {
  const reasons: Reason[] = [];
  if (node.waitingFor !== undefined) reasons.push(node.waitingFor);
  if (node.phase !== "serving") reasons.push({ code: "not_serving", text: `this node is ${node.phase}` });
  for (const alarm of own?.alarms ?? []) {
    reasons.push({ code: "alarm", text: `etcd raises the alarm ${alarm}`, hint: alarmHint(alarm, node) });
  }
  if (node.backup.diverged) {
    reasons.push({ code: "members_differ", text: "the members' data differ: no snapshot is taken" });
  }
  for (const { role, path, warning } of certificates) {
    if (warning === undefined) continue;
    reasons.push({ code: "certificate_ends", text: `the ${role} certificate "${path}" is about to end or has ended` });
  }
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
