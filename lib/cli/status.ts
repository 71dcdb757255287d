/**
 * `e2d status` and `e2d why`: fetches the reports of a running node from its status address and prints them. With
 * `--endpoints` it prints the report of status_endpoints.ts instead.
 */
import { E2dError } from "../errors.ts";
import type { HostPort } from "../ports.ts";
import type {
  decisionReport,
  MemberReport,
  OwnDataReport,
  SnapshotReport,
  StatusReport,
} from "../manager/status/report.ts";
import type { EtcdTls } from "../etcd/client/channel.ts";
import { hostText, isLoopback } from "../manager/addresses.ts";
import { systemClock } from "../sys/clock.ts";
import { bytesText, durationText } from "../units.ts";
import { definedFields } from "./defined_fields.ts";
import type { EndpointsReport } from "./status_endpoints.ts";
import type { Terminal } from "./terminal.ts";

export interface StatusFlags {
  readonly statusAddr: HostPort;
  /** The CA that signed the node's server certificate, if the node serves its status over TLS. */
  readonly caCert?: string | undefined;
  readonly json: boolean;
  readonly watch?: boolean;
  /** Client URLs of members, to query instead of a node. */
  readonly endpoints?: readonly string[] | undefined;
  readonly tls?: EtcdTls | undefined;
}

const watchEveryMs = 2_000;
const requestTimeoutMs = 10_000;

/** Resolves with 0 if the node is ready, or with `endpoints` if the cluster is healthy; otherwise with 1. */
export async function status(flags: StatusFlags, terminal: Terminal): Promise<number> {
  for (;;) {
    const { report, text, healthy } = await fetchReport(flags);
    const shown = flags.json ? `${JSON.stringify(report, null, 2)}\n` : text;
    terminal.out(flags.watch && !flags.json ? `\x1b[2J\x1b[H${shown}` : shown);
    if (!flags.watch) return healthy ? 0 : 1;
    await new Promise((resolve) => setTimeout(resolve, watchEveryMs));
  }
}

async function fetchReport(
  { endpoints, tls, ...flags }: StatusFlags,
): Promise<{ report: unknown; text: string; healthy: boolean }> {
  if (endpoints === undefined || endpoints.length === 0) {
    const report = await fetchJson<StatusReport>(flags, "/status");
    return { report, text: statusText(report, systemClock.wallMs()), healthy: report.ready };
  }
  const { queryEndpoints } = await import("./status_endpoints.ts");
  const report = await queryEndpoints({ endpoints, tls });
  return { report, text: endpointsText(report), healthy: report.healthy };
}

export async function why(flags: StatusFlags, terminal: Terminal): Promise<number> {
  const lines = await fetchJson<ReturnType<typeof decisionReport>>(flags, "/why");
  if (flags.json) terminal.out(`${JSON.stringify(lines, null, 2)}\n`);
  else terminal.out(lines.map(journalLine).join(""));
  return 0;
}

async function fetchJson<T>({ statusAddr, caCert }: StatusFlags, path: string): Promise<T> {
  // On a loopback address a node answers over plain HTTP, even if it has certificates.
  const trusted = isLoopback(statusAddr.host) ? undefined : caCert;
  const url = `${trusted ? "https" : "http"}://${hostText(statusAddr)}${path}`;
  let response: Response;
  try {
    const client = trusted ? Deno.createHttpClient({ caCerts: [await Deno.readTextFile(trusted)] }) : undefined;
    response = await fetch(url, {
      signal: AbortSignal.timeout(requestTimeoutMs),
      ...definedFields({ client }),
    });
  } catch (cause) {
    throw new E2dError("node_unreachable", `Cannot query the node at ${hostText(statusAddr)}: it does not answer`, {
      cause,
      hint: "check that e2d runs there; a node listens on 127.0.0.1 only, unless its own --status-addr is set; pass " +
        "--status-addr HOST:PORT for another node, and --ca-cert if that node has certificates",
    });
  }
  if (!response.ok) {
    throw new E2dError("node_refused", `Cannot query the node at ${hostText(statusAddr)}: status ${response.status}`, {
      hint: "the node may still be starting: run the command again in a few seconds",
    });
  }
  return await response.json() as T;
}

/** The report as text. `nowWallMs` is the wall clock of this machine; ages are relative to it. */
export function statusText(report: StatusReport, nowWallMs: number): string {
  const { members, gossip, snapshots, certificates } = report;
  const why = report.degradedBy === undefined ? "" : ` (${report.degradedBy})`;
  const lines = [
    `${report.name}: ${report.phase}, ${
      report.ready ? report.degraded === true ? `ready, DEGRADED${why}` : "ready" : "not ready"
    }${report.paused ? ", PAUSED" : ""}${report.hold === undefined ? "" : ", HELD"}` +
    `, -n ${report.requiredSize}${report.clusterId === undefined ? "" : `, cluster ${report.clusterId}`}`,
    ...report.reasons.map(({ text, hint }) => `  ${text}${hint === undefined ? "" : ` (${hint})`}`),
  ];
  if (report.ownData !== undefined) lines.push(ownDataLine(report.ownData));
  if (report.plan !== undefined) lines.push(`  plan ${report.plan.id}: ${report.plan.text}`);
  if (members.length > 0) {
    lines.push("", ...memberTable(members));
  }
  const others = gossip.filter(({ name }) => !members.some((member) => member.name === name));
  if (others.length > 0) {
    lines.push(
      "",
      "Known by gossip only:",
      ...others.map(({ name, state, address }) => `  ${name} ${state} ${address}`),
    );
  }
  lines.push(
    "",
    snapshots.configured ? snapshotsLine(snapshots, nowWallMs) : "Snapshots: no store is configured",
  );
  for (const { role, path, days } of certificates) lines.push(`Certificate ${role} ${path}: ${days} days left`);
  return `${lines.join("\n")}\n`;
}

function ownDataLine({ lastLog, revision, registeredAt, peerUrl }: OwnDataReport): string {
  const log = lastLog === undefined ? "not read yet" : `ends at term ${lastLog.term}, index ${lastLog.index}`;
  const moved = registeredAt === undefined
    ? ""
    : `; member registered at ${registeredAt.join(", ")}, this node is at ${peerUrl}`;
  return `  this node's data: raft log ${log}; database at revision ${revision}${moved}`;
}

export function endpointsText({ clusterId, healthy, quorum, members, reasons }: EndpointsReport): string {
  const verdict = healthy ? "healthy" : quorum ? "degraded" : "no quorum";
  const lines = [
    `cluster ${clusterId}: ${verdict}`,
    ...reasons.map((reason) => `  ${reason}`),
    "",
    ...memberTable(members),
  ];
  return `${lines.join("\n")}\n`;
}

function memberTable(members: readonly MemberReport[]): string[] {
  const leaderIndex = members.find(({ role }) => role === "leader")?.raftIndex;
  const head = ["NAME", "ADDRESS", "ID", "ROLE", "VERSION", "DB", "IN USE", "LAG", "DATA AGE", "GOSSIP", "ALARMS"];
  return table(head, members.map((member) => memberRow(member, leaderIndex)));
}

function memberRow(member: MemberReport, leaderIndex: number | undefined): string[] {
  const { name, peerUrls, id, role, reachable, version, dbSizeBytes, dbInUseBytes, raftLag, dataAgeMs } = member;
  // The column LAG shows how far a voter is behind; of a learner the operator needs the progress of its catching up.
  const progress = role === "learner" && raftLag !== undefined && leaderIndex
    ? ` ${Math.max(0, Math.floor(100 * (1 - raftLag / leaderIndex)))} %`
    : "";
  return [
    name || "(unstarted)",
    peerHost(peerUrls),
    id,
    role + progress + (reachable === false ? ", silent" : ""),
    version ?? "",
    dbSizeBytes === undefined ? "" : bytesText(dbSizeBytes),
    dbInUseBytes === undefined ? "" : bytesText(dbInUseBytes),
    raftLag === undefined ? "" : String(raftLag),
    dataAgeMs === undefined ? "" : durationText(dataAgeMs),
    member.gossip ?? "",
    member.alarms.join(","),
  ];
}

/** The host of the first peer URL, which identifies the machine; names may be random. Empty without a valid URL. */
function peerHost([url = ""]: readonly string[]): string {
  return URL.canParse(url) ? new URL(url).hostname.replace(/^\[|\]$/g, "") : "";
}

function snapshotsLine(
  { lastAt, lastRevision, verifiedAt, catalogue, why }: SnapshotReport,
  nowWallMs: number,
): string {
  const age = (at: string) => durationText(nowWallMs - Date.parse(at));
  const last = lastAt !== undefined
    ? `last ${age(lastAt)} ago, at revision ${lastRevision}, ` +
      (verifiedAt === undefined ? "never verified" : `verified ${age(verifiedAt)} ago`)
    : catalogue === "absent"
    ? "the store holds none"
    : "the store was not read yet";
  return `Snapshots: ${last}${why === undefined ? "" : `; the store cannot be read: ${why}`}`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  return [head, ...rows].map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join("  ").trimEnd());
}

function journalLine({ at, times, what, outcome, reason, facts }: ReturnType<typeof decisionReport>[number]): string {
  const details = Object.entries(facts).map(([name, value]) => `${name}=${value}`).join(" ");
  return `${at.slice(0, 19)}Z ${what.padEnd(7)} ${outcome}: ${reason.text} [${reason.code}]` +
    `${details === "" ? "" : ` ${details}`}${times > 1 ? ` (${times} times)` : ""}\n`;
}
