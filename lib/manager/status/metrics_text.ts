/** Metrics in the text format of Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/ */
import type { GossipMetrics } from "../../gossip/gossip.ts";
import type { StatusReport } from "./report.ts";

interface Metric {
  readonly name: string;
  readonly type: "gauge" | "counter";
  readonly help: string;
  readonly samples: readonly { labels?: Readonly<Record<string, string>>; value: number }[];
}

export function metricsText(
  report: StatusReport,
  gossip: GossipMetrics | undefined,
  nowWallMs: number,
): string {
  return [...nodeMetrics(report, nowWallMs), ...(gossip === undefined ? [] : gossipMetrics(gossip))]
    .filter(({ samples }) => samples.length > 0).map(metricText).join("");
}

const flag = (value: boolean) => value ? 1 : 0;

const gauge = (name: string, help: string, samples: Metric["samples"]): Metric => ({
  name: `e2d_${name}`,
  type: "gauge",
  help,
  samples,
});

function nodeMetrics(report: StatusReport, nowWallMs: number): Metric[] {
  const { members, snapshots, certificates } = report;
  const lastAt = snapshots.lastAt === undefined ? undefined : Date.parse(snapshots.lastAt);
  return [
    gauge("ready", "1 when this node's member votes, knows a leader and needs no operator.", [{
      value: flag(report.ready),
    }]),
    gauge("phase", "1 for the present phase of this node.", [{ labels: { phase: report.phase }, value: 1 }]),
    gauge("paused", "1 while all automatic action is paused.", [{ value: flag(report.paused) }]),
    gauge("degraded", "1 while the node is ready and redundancy or a promise is reduced.", [{
      value: flag(report.degraded === true),
    }]),
    gauge("backups_failing", "1 while backups fail, do not follow the data, or are missing from the store.", [{
      value: flag(report.reasons.some(({ code }) => code === "backups_failing" || code === "snapshots_gone")),
    }]),
    gauge("held", "1 while e2d hold stops bootstrap and disaster recovery at this node.", [{
      value: flag(report.hold !== undefined),
    }]),
    ...memberMetrics(members),
    gauge(
      "snapshot_age_seconds",
      "Age of the newest snapshot.",
      lastAt === undefined ? [] : [{
        value: Math.max(0, (nowWallMs - lastAt) / 1_000),
      }],
    ),
    gauge(
      "certificate_expiry_seconds",
      "Time until the certificate expires; negative afterwards.",
      certificates.map((each) => ({
        labels: { role: each.role },
        value: (Date.parse(each.until) - nowWallMs) / 1_000,
      })),
    ),
    gauge(
      "gossip_members",
      "Nodes that gossip knows, by state.",
      count(report.gossip.map(({ state }) => state), "state"),
    ),
  ];
}

function memberMetrics(members: StatusReport["members"]): Metric[] {
  return [
    gauge("members", "Members of the cluster by role.", count(members.map(({ role }) => role), "role")),
    gauge(
      "member_reachable",
      "1 when the member answered the last probe.",
      members.flatMap(({ name, reachable }) =>
        reachable === undefined ? [] : [{ labels: { member: name }, value: flag(reachable) }]
      ),
    ),
    gauge(
      "member_db_size_bytes",
      "Size of a member's database file.",
      members.flatMap(({ name, dbSizeBytes }) =>
        dbSizeBytes === undefined ? [] : [{ labels: { member: name }, value: dbSizeBytes }]
      ),
    ),
    gauge(
      "member_raft_lag_entries",
      "Entries a member has not applied yet.",
      members.flatMap(({ name, raftLag }) =>
        raftLag === undefined ? [] : [{ labels: { member: name }, value: raftLag }]
      ),
    ),
  ];
}

function gossipMetrics(metrics: GossipMetrics): Metric[] {
  const found: Metric[] = [];
  for (const [key, value] of Object.entries(metrics)) {
    const name = `e2d_gossip_${key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
    if (typeof value === "number") {
      const type = key === "health" || key.toLowerCase().includes("queued") ? "gauge" : "counter";
      found.push({ name, type, help: `Gossip: ${key}.`, samples: [{ value }] });
    } else if (key === "dropped") {
      found.push({
        name,
        type: "counter",
        help: "Dropped packets and streams by reason.",
        samples: Object.entries(value).map(([reason, value]) => ({ labels: { reason }, value: Number(value) })),
      });
    }
  }
  return found;
}

function count(values: readonly string[], label: string): Metric["samples"] {
  const counts = new Map<string, number>();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].map(([value, count]) => ({ labels: { [label]: value }, value: count }));
}

function metricText({ name, type, help, samples }: Metric): string {
  const lines = samples.map(({ labels = {}, value }) => {
    const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
    return `${name}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value}\n`;
  });
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

const escaped = (text: string) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll('"', '\\"');
