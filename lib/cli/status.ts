/** `e2d status` and `e2d why`: what a running node tells over its status address. */
import { E2dError } from "../errors.ts";
import type { HostPort } from "../ports.ts";
import type { journalReport, MemberReport, SnapshotReport, StatusReport } from "../manager/status_report.ts";
import type { EtcdTls } from "../etcd/client_channel.ts";
import { hostText, isLoopback } from "../manager/addresses.ts";
import { systemClock } from "../sys/clock.ts";
import { bytesText, durationText } from "../units.ts";
import type { EndpointsReport } from "./status_endpoints.ts";
import type { Terminal } from "./terminal.ts";

export interface StatusFlags {
  readonly statusAddr: HostPort;
  /** Set where the node serves its status by TLS. */
  readonly caCert?: string | undefined;
  readonly json: boolean;
  readonly watch?: boolean;
  /** Client URLs of members, which are asked instead of a node. */
  readonly endpoints?: readonly string[] | undefined;
  readonly tls?: EtcdTls | undefined;
}

const watchEveryMs = 2_000;
const askTimeoutMs = 10_000;

/** Resolves with 0 when the node is ready, or with `endpoints` when the cluster is healthy; else 1. */
export async function status(flags: StatusFlags, terminal: Terminal): Promise<number> {
  for (;;) {
    const { report, text, good } = await look(flags);
    const shown = flags.json ? `${JSON.stringify(report, null, 2)}\n` : text;
    terminal.out(flags.watch && !flags.json ? `\x1b[2J\x1b[H${shown}` : shown);
    if (!flags.watch) return good ? 0 : 1;
    await new Promise((resolve) => setTimeout(resolve, watchEveryMs));
  }
}

async function look(
  { endpoints, tls, ...flags }: StatusFlags,
): Promise<{ report: unknown; text: string; good: boolean }> {
  if (endpoints === undefined || endpoints.length === 0) {
    const report = await ask<StatusReport>(flags, "/status");
    return { report, text: statusText(report, systemClock.wallMs()), good: report.ready };
  }
  const { askEndpoints } = await import("./status_endpoints.ts");
  const report = await askEndpoints({ endpoints, tls });
  return { report, text: endpointsText(report), good: report.healthy };
}

export async function why(flags: StatusFlags, terminal: Terminal): Promise<number> {
  const lines = await ask<ReturnType<typeof journalReport>>(flags, "/why");
  if (flags.json) terminal.out(`${JSON.stringify(lines, null, 2)}\n`);
  else terminal.out(lines.map(journalLine).join(""));
  return 0;
}

async function ask<T>({ statusAddr, caCert }: StatusFlags, path: string): Promise<T> {
  // On the loopback a node answers in the clear, also one that has certificates.
  const trusted = isLoopback(statusAddr.host) ? undefined : caCert;
  const url = `${trusted ? "https" : "http"}://${hostText(statusAddr)}${path}`;
  let response: Response;
  try {
    const client = trusted ? Deno.createHttpClient({ caCerts: [await Deno.readTextFile(trusted)] }) : undefined;
    response = await fetch(url, {
      signal: AbortSignal.timeout(askTimeoutMs),
      ...(client === undefined ? {} : { client }),
    });
  } catch (cause) {
    throw new E2dError("node_unreachable", `Cannot ask the node at ${hostText(statusAddr)}: it does not answer`, {
      cause,
      hint: "is e2d running there? It answers on 127.0.0.1 alone unless its own --status-addr says otherwise; here " +
        "--status-addr names the node to ask; with certificates away from this machine pass --ca-cert",
    });
  }
  if (!response.ok) {
    throw new E2dError("node_refused", `Cannot ask the node at ${hostText(statusAddr)}: status ${response.status}`, {
      hint: "it has just started: ask again in a moment",
    });
  }
  return await response.json() as T;
}

/** `nowWallMs` is this machine's wall clock: ages are counted from it. */
export function statusText(report: StatusReport, nowWallMs: number): string {
  const { members, gossip, snapshots, certificates } = report;
  const lines = [
    `${report.name}: ${report.phase}, ${report.ready ? "ready" : "not ready"}${report.paused ? ", PAUSED" : ""}` +
    `, -n ${report.requiredSize}${report.clusterId === undefined ? "" : `, cluster ${report.clusterId}`}`,
    ...report.reasons.map(({ text, hint }) => `  ${text}${hint === undefined ? "" : ` (${hint})`}`),
  ];
  if (report.plan !== undefined) lines.push(`  plan ${report.plan.id}: ${report.plan.text}`);
  if (members.length > 0) {
    lines.push("", ...memberTable(members));
  }
  const others = gossip.filter(({ name }) => !members.some((member) => member.name === name));
  if (others.length > 0) {
    lines.push(
      "",
      "Known by gossip alone:",
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

export function endpointsText({ clusterId, healthy, quorum, members, reasons }: EndpointsReport): string {
  const verdict = healthy ? "healthy" : quorum ? "works, but needs a look" : "no quorum";
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
  // A voter that lags is told by its lag; of a learner one wants to know how long it will take.
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

/** Names may say nothing to people; the machine's address does. Empty when there is none. */
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

function journalLine({ at, times, what, outcome, reason, facts }: ReturnType<typeof journalReport>[number]): string {
  const found = Object.entries(facts).map(([name, value]) => `${name}=${value}`).join(" ");
  return `${at.slice(0, 19)}Z ${what.padEnd(7)} ${outcome}: ${reason.text} [${reason.code}]` +
    `${found === "" ? "" : ` ${found}`}${times > 1 ? ` (${times} times)` : ""}\n`;
}
