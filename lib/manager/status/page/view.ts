/**
 * Derives what the page shows from the status report: plain values in, plain values out. The browser gets the source of
 * these functions (script.ts), so each may use only its arguments and exported functions of this folder and of units.ts.
 */
import type { decisionReport, MemberReport, StatusReport } from "../report.ts";
import type { StatusSample } from "../history.ts";
import { bytesText, durationText } from "../../../units.ts";

/** `good`: nothing to do. `look`: an operator should act today. `bad`: an operator must act now. `wait`: in progress. */
export type Level = "good" | "look" | "bad" | "wait";

export interface Concern {
  readonly level: Level;
  readonly text: string;
  /** What to do. */
  readonly hint?: string;
}

export interface Verdict {
  readonly level: Level;
  readonly headline: string;
  readonly summary: string;
  /** Worst first. */
  readonly concerns: readonly Concern[];
}

export interface Fact {
  readonly label: string;
  readonly value: string;
  readonly note: string;
  readonly level: Level;
}

export interface Row {
  readonly cells: readonly string[];
  readonly level: Level;
}

export type Decision = ReturnType<typeof decisionReport>[number];

/** The number of voters, of silent voters, and of voters that a quorum needs. */
export function quorumOf(report: StatusReport): { voters: number; silent: number; needed: number } {
  const voters = report.members.filter(({ role }) => role !== "learner" && role !== "removed");
  const silent = voters.filter(({ reachable, role }) => reachable === false || role === "unstarted").length;
  return { voters: voters.length, silent, needed: Math.floor(voters.length / 2) + 1 };
}

export function verdictOf(report: StatusReport): Verdict {
  const concerns = concernsOf(report).sort((a, b) => severity(b.level) - severity(a.level));
  const { voters, silent, needed } = quorumOf(report);
  const tolerated = voters - silent - needed;
  const sentence = voters === 0
    ? "This node does not know the members yet."
    : tolerated < 0
    ? `${voters - silent} of ${voters} voters answer; ${needed} are needed to write.`
    : `${voters - silent === voters ? `All ${voters}` : `${voters - silent} of ${voters}`} voting member${
      voters === 1 ? "" : "s"
    } in place. ${
      tolerated === 0
        ? "No further member may be lost."
        : `${tolerated === 1 ? "One" : tolerated} may be lost without losing writes.`
    }`;
  const worst = concerns[0]?.level ?? "good";
  const noQuorum = concerns.some(({ level }) => level === "bad") && voters > 0 &&
    (tolerated < 0 || report.reasons.some(({ code }) => code === "no_quorum"));
  if (noQuorum) return { level: "bad", headline: "No quorum: writes are stopped", summary: sentence, concerns };
  if (worst === "bad") return { level: "bad", headline: "Act now", summary: sentence, concerns };
  if (report.phase !== "serving" || !report.ready) {
    const headline = report.phase === "serving" ? "Not ready" : `Not serving yet: ${report.phase}`;
    return { level: "wait", headline, summary: sentence, concerns };
  }
  if (worst === "look") return { level: "look", headline: "Degraded", summary: sentence, concerns };
  const headline = report.plan === undefined ? "Healthy" : "Healthy, a plan is running";
  return { level: "good", headline, summary: sentence, concerns };
}

export function severity(level: Level): number {
  return level === "bad" ? 3 : level === "look" ? 2 : level === "wait" ? 1 : 0;
}

export function concernsOf(report: StatusReport): Concern[] {
  return [...reasonConcerns(report), ...memberConcerns(report), ...settingConcerns(report)];
}

export function reasonConcerns(report: StatusReport): Concern[] {
  const found: Concern[] = [];
  const urgent = ["no_quorum", "alarm", "members_differ"];
  const { voters, silent, needed } = quorumOf(report);
  if (voters > 0 && voters - silent < needed && !report.reasons.some(({ code }) => code === "no_quorum")) {
    found.push({
      level: "bad",
      text: "A majority of the voting members does not answer: nothing can be written.",
      hint: "Start one of the silent machines again. Do not delete any data-dir.",
    });
  }
  for (const { code, text, hint, level: urgency } of report.reasons) {
    // The certificates and the pause have their own concerns below.
    if (code === "certificate_ends" && report.certificates.some(({ days }) => days <= 30)) continue;
    if (code === "paused" && report.paused) continue;
    const level = urgent.includes(code) || urgency === "error"
      ? "bad"
      : urgency === "warn" || code === "certificate_ends"
      ? "look"
      : "wait";
    const advice = hint ?? adviceOf(code);
    found.push({ level, text, ...(advice === undefined ? {} : { hint: advice }) });
  }
  return found;
}

export function memberConcerns(report: StatusReport): Concern[] {
  const found: Concern[] = [];
  const { voters, silent, needed } = quorumOf(report);
  for (const { name, id, reachable, role, alarms, gossip } of report.members) {
    const label = name || id;
    for (const alarm of alarms) {
      if (report.reasons.some(({ text }) => text.includes(alarm))) continue;
      found.push({ level: "bad", text: `Member ${label} raises the alarm ${alarm}.`, hint: adviceOf("alarm")! });
    }
    if (reachable === false && role !== "unstarted" && role !== "removed") {
      found.push({
        level: "look",
        text: `Member ${label} does not answer.`,
        hint: report.paused
          ? "Check its machine. Automatic action is paused: it is not replaced."
          : voters - silent < needed
          ? "Check its machine: systemctl status e2d. Without a quorum no member is replaced."
          : "Check its machine: systemctl status e2d. It is replaced automatically if it stays down and a standby node is available.",
      });
    } else if (gossip === "suspect" || gossip === "dead") {
      found.push({
        level: "look",
        text: `Gossip reports member ${label} as ${gossip}.`,
        hint: "Check its e2d and its network.",
      });
    }
  }
  return found;
}

/** Free places, the pause, certificates and snapshots. */
export function settingConcerns(report: StatusReport): Concern[] {
  const found: Concern[] = [];
  if (report.phase === "serving" && report.members.length > 0 && report.members.length < report.requiredSize) {
    found.push({
      level: "look",
      text: `${report.members.length} of ${report.requiredSize} members: the cluster is incomplete.`,
      hint: "Start e2d on another machine with the same command; it joins automatically.",
    });
  }
  if (report.paused) {
    found.push({
      level: "look",
      text: "Automatic action is paused: no member is replaced, no plan continues.",
      hint: "Run e2d resume on a node to continue.",
    });
  }
  for (const { role, path, days } of report.certificates) {
    if (days > 30) continue;
    found.push({
      level: days <= 2 ? "bad" : "look",
      text: days < 0 ? `The ${role} certificate has expired.` : `The ${role} certificate expires in ${daysText(days)}.`,
      hint: `Renew ${path}.`,
    });
  }
  const { configured, why } = report.snapshots;
  if (why !== undefined) {
    found.push({
      level: "look",
      text: `The snapshot store cannot be read: ${why}`,
      hint: "e2d snapshot list shows details.",
    });
  }
  if (!configured) {
    found.push({
      level: "good",
      text: "No snapshot store is configured: after the loss of a majority nothing can be restored.",
      hint: "Set --snapshot-backup-url.",
    });
  }
  return found;
}

export function adviceOf(code: string): string | undefined {
  switch (code) {
    case "no_quorum":
      return "Start one of the silent machines again. Do not delete any data-dir.";
    case "alarm":
      return "NOSPACE: the leader's node reclaims space automatically; delete keys or raise the quota if that is not enough. " +
        "CORRUPT: a member whose data differs from that of all others is replaced automatically; e2d why reports what is missing.";
    case "members_differ":
      return "Compare the members before anything else; e2d why reports the findings.";
    case "paused":
      return "Run e2d resume on a node to continue.";
    default:
      return undefined;
  }
}

/**
 * The five facts at the top of the page. `nowMs`: the node's wall clock; undefined while the node does not answer.
 */
export function factsOf(report: StatusReport, nowMs: number | undefined): Fact[] {
  const leader = report.members.find(({ role }) => role === "leader");
  const versions = [...new Set(report.members.map(({ version }) => version).filter((each) => each !== undefined))];
  const { lastAt, lastRevision, verifiedAt, configured } = report.snapshots;
  const soonest = [...report.certificates].sort((a, b) => a.days - b.days)[0];
  return [
    leader === undefined
      ? { label: "Leader", value: "none known", note: "", level: report.phase === "serving" ? "bad" : "wait" }
      : { label: "Leader", value: leader.name || leader.id, note: leader.peerUrls[0] ?? "", level: "good" },
    {
      label: "etcd",
      value: versions.length === 0 ? "unknown" : versions.sort().join(", "),
      note: versions.length > 1 ? "members differ in version" : "",
      level: "good",
    },
    {
      label: "Last snapshot",
      value: !configured
        ? "no store"
        : lastAt === undefined
        ? "none yet"
        : nowMs === undefined
        ? clockText(Date.parse(lastAt))
        : ago(nowMs - Date.parse(lastAt)),
      note: lastAt === undefined
        ? ""
        : `revision ${lastRevision}, ${verifiedAt === undefined ? "never verified" : "verified"}`,
      level: "good",
    },
    soonest === undefined
      ? { label: "Certificates", value: "none", note: "this node runs without TLS", level: "good" }
      : {
        label: "Certificates",
        value: soonest.days < 0 ? "ended" : daysText(soonest.days),
        note: `until the ${soonest.role} certificate expires`,
        level: soonest.days <= 2 ? "bad" : soonest.days <= 30 ? "look" : "good",
      },
    {
      label: "Automatic action",
      value: report.paused ? "paused" : "on",
      note: report.plan === undefined ? "no change is planned" : `plan ${report.plan.id}: ${report.plan.text}`,
      level: report.paused ? "look" : "good",
    },
  ];
}

export function snapshotsText({ snapshots: { configured, lastAt, verifiedAt, catalogue } }: StatusReport): string {
  if (!configured) return "No store is configured.";
  if (lastAt !== undefined) {
    const verified = verifiedAt === undefined ? "never verified" : `verified at ${clockText(Date.parse(verifiedAt))}`;
    return `The last was taken at ${clockText(Date.parse(lastAt))}, ${verified}.`;
  }
  switch (catalogue) {
    case "absent":
      return "The store has no snapshots.";
    case "unreadable":
      return "The store cannot be read.";
    case "unknown":
      return "The store was not read yet.";
    default:
      return "No snapshot is known.";
  }
}

/** A bound on rows: the names come from the network. */
export function rowsMost(): number {
  return 64;
}

export function memberRows(report: StatusReport): Row[] {
  return report.members.slice(0, rowsMost()).map((member) => ({
    cells: [
      member.name || "(unstarted)",
      member.role,
      memberState(member),
      member.version ?? "–",
      member.dbSizeBytes === undefined ? "–" : bytesText(member.dbSizeBytes),
      member.dbInUseBytes === undefined ? "–" : bytesText(member.dbInUseBytes),
      member.raftLag === undefined ? "–" : String(member.raftLag),
      member.dataAgeMs === undefined ? "–" : durationText(member.dataAgeMs),
      member.gossip ?? "unknown",
      member.alarms.length === 0 ? "none" : member.alarms.join(", "),
      member.id,
      member.peerUrls.join(", "),
    ],
    level: memberLevel(member),
  }));
}

export function memberState({ reachable, role, alarms }: MemberReport): string {
  if (alarms.length > 0) return "alarm";
  if (role === "unstarted") return "not started";
  if (role === "removed") return "removed";
  return reachable === undefined ? "not asked" : reachable ? "answers" : "silent";
}

export function memberLevel({ reachable, alarms, gossip, role }: MemberReport): Level {
  if (role === "removed") return "look";
  if (alarms.length > 0 || reachable === false) return "bad";
  if (gossip === "dead" || gossip === "suspect") return "look";
  return role === "learner" || role === "unstarted" || reachable === undefined ? "wait" : "good";
}

/** Gossip nodes that are no members: standby nodes, and nodes that have left. */
export function otherRows(report: StatusReport): Row[] {
  return report.gossip.filter(({ name }) => !report.members.some((member) => member.name === name))
    .slice(0, rowsMost()).map(({ name, state, status, kind, address }) => ({
      cells: [name, state, status, kind === "go" ? "Go e2d" : "e2d", address],
      level: state === "alive" ? "good" : "wait",
    }));
}

export function certificateRows(report: StatusReport): Row[] {
  return report.certificates.map(({ role, path, until, days }) => ({
    cells: [role, days < 0 ? "ended" : daysText(days), until.slice(0, 16).replace("T", " "), path],
    level: days <= 2 ? "bad" : days <= 30 ? "look" : "good",
  }));
}

/** Newest first. */
export function decisionRows(decisions: readonly Decision[], most: number): Row[] {
  return decisions.slice(-most).reverse().map(({ lastAt, times, what, outcome, reason, facts, level }) => ({
    cells: [
      `${lastAt.slice(0, 10)} ${lastAt.slice(11, 19)}`,
      what,
      outcome,
      `${reason.text}${times > 1 ? ` (${times} times)` : ""}`,
      Object.entries(facts).map(([name, value]) => `${name}=${value}`).join(" ") || "–",
    ],
    level: level === "error" ? "bad" : level === "warn" ? "look" : "good",
  }));
}

/** Snapshots of the last hour, newest first: the age decreases when one is taken. */
export function snapshotRows(samples: readonly StatusSample[], most: number): Row[] {
  const taken: number[] = [];
  for (const { atWallMs, snapshotAgeMs } of samples) {
    if (snapshotAgeMs === undefined) continue;
    const at = atWallMs - snapshotAgeMs;
    // Small changes of the wall clock are not snapshots.
    if (taken.length === 0 || at - taken.at(-1)! > 1_000) taken.push(at);
  }
  return taken.map((at, index): Row => ({
    cells: [clockText(at), index === 0 ? "–" : durationText(at - taken[index - 1]!)],
    level: "good",
  })).reverse().slice(0, most);
}

/** Time of day in UTC, as in the logs. */
export function clockText(ms: number): string {
  return Number.isFinite(ms) ? `${new Date(ms).toISOString().slice(11, 19)} UTC` : "–";
}

export function daysText(days: number): string {
  return days === 1 ? "1 day" : `${days} days`;
}

export function ago(ms: number): string {
  return Number.isFinite(ms) ? `${durationText(ms)} ago` : "–";
}
