import { parseLogLine } from "./log_line.ts";

/** Why an etcd ended, as far as its own last words tell. */
export type ExitCause =
  | "member_removed"
  | "cluster_mismatch"
  | "data_corrupt"
  | "address_in_use"
  | "disk_full"
  | "data_dir_in_use"
  | "version_too_old"
  | "unknown";

/** Words of etcd 3.4 to 3.7, the most telling first. */
const tells: readonly [ExitCause, RegExp][] = [
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
  data_corrupt: "move the data-dir aside by hand and let this node join or restore anew; never remove it before",
  address_in_use: "find what listens on that port (ss -ltnp), or change --client-addr or --peer-addr",
  disk_full: "make room on the disk of the data-dir, then start again",
  data_dir_in_use: "another etcd runs on this data-dir: stop it first",
  version_too_old: "the data-dir was written by a newer etcd: run that version (--etcd-version)",
  unknown: undefined,
};

/** `lines` are the last ones, oldest first. */
export function exitCause(lines: readonly string[]): ExitCause {
  // What goes well is told in the same words: "initial corruption checking passed".
  const grave = lines.filter((line) => {
    const { level } = parseLogLine(line);
    return level === "warn" || level === "error";
  });
  for (const [cause, pattern] of tells) {
    if (grave.some((line) => pattern.test(line))) return cause;
  }
  return "unknown";
}

/** What an operator can do; undefined where the lines themselves are the best there is. */
export function exitHint(cause: ExitCause): string | undefined {
  return hints[cause];
}
