/** Finds the cause of an exit of etcd, and a hint for the operator, in its last log lines. */
import { parseLogLine } from "./log_line.ts";

export type ExitCause =
  | "member_removed"
  | "cluster_mismatch"
  | "data_corrupt"
  | "address_in_use"
  | "disk_full"
  | "data_dir_in_use"
  | "version_too_old"
  | "unknown";

/** Messages of etcd 3.4 to 3.7, the most specific first. */
const patterns: readonly [ExitCause, RegExp][] = [
  ["member_removed", /permanently removed from the cluster|member count is unequal.*removed/i],
  ["disk_full", /no space left on device|disk quota exceeded/i],
  ["address_in_use", /address already in use/i],
  ["data_dir_in_use", /another etcd process is using|file lock/i],
  ["version_too_old", /cannot be downgraded|invalid downgrade|unsupported.*storage version|db is newer/i],
  ["cluster_mismatch", /cluster ?ID mismatch/i],
  [
    "data_corrupt",
    /crc mismatch|checksum mismatch|data inconsistency|corrupt|invalid page type|file size too small|unexpected end of.*wal|failed to recover v3 backend|failed to read WAL|invalid database|freepages|page \d+ already freed|segmentation violation/i,
  ],
];

const hints: Readonly<Record<ExitCause, string | undefined>> = {
  member_removed: undefined,
  cluster_mismatch: "the data-dir belongs to another cluster than its peers: check the peers' addresses",
  data_corrupt:
    "rename the data-dir, start the node again to let it join or restore, and delete the old one only after that",
  address_in_use: "find the process that listens on that port (ss -ltnp), or change --client-addr or --peer-addr",
  disk_full: "free space on the disk of the data-dir: e2d then starts etcd again",
  data_dir_in_use: "another etcd runs on this data-dir: stop it first",
  version_too_old: "the data-dir was written by a newer etcd: run that version (--etcd-version)",
  unknown: undefined,
};

/** `lines` are the last log lines, oldest first. */
export function exitCause(lines: readonly string[]): ExitCause {
  // At info, etcd reports success in similar messages: "initial corruption checking passed".
  const problems = lines.filter((line) => {
    const { level } = parseLogLine(line);
    return level === "warn" || level === "error";
  });
  for (const [cause, pattern] of patterns) {
    if (problems.some((line) => pattern.test(line))) return cause;
  }
  return "unknown";
}

/** What an operator can do; undefined when the log lines are the best hint. */
export function exitHint(cause: ExitCause): string | undefined {
  return hints[cause];
}

const problemMaxChars = 300;

/** The last error, or else the last warning, as text without its time; undefined when there is neither. */
export function lastProblem(lines: readonly string[]): string | undefined {
  const last = lines.map(parseLogLine).findLast(({ level }) => level === "error") ??
    lines.map(parseLogLine).findLast(({ level }) => level === "warn");
  if (last === undefined) return undefined;
  const { error } = last.fields;
  return `${last.message}${typeof error === "string" ? `: ${error}` : ""}`.slice(0, problemMaxChars);
}
