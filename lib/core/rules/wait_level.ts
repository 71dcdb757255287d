/**
 * How urgent a wait is: the one table of it, by reason code. A wait that time, or another node's next step, ends is an INFO.
 * One that nothing but an operator ends is an ERROR: at once where it cannot be a passing state of nodes that start one
 * after another, otherwise once it has lasted.
 */
import type { JournalEntry } from "../facts/effect.ts";
import type { Settings } from "../facts/settings.ts";

type Level = JournalEntry["level"];
type Grade =
  | "error"
  | "warn"
  /** ERROR once it has lasted for {@link lastingMs}. */
  | "lasting"
  /** The same, under `--quorum-loss-timeout never`: no time-out ends it. */
  | "lasting_without_timeout";

/** Nodes of one cluster that are started together have found each other, and have looked at disk and store, by then. */
export const lastingMs = 30_000;

export const grades: Readonly<Record<string, Grade>> = {
  held: "warn",

  cluster_seen: "error",
  gossip_key_differs: "error",
  gossip_key_missing: "error",
  other_life_stored: "error",
  other_lineage_stored: "error",
  peer_without_gossip_key: "error",
  restore_asks: "error",
  restore_never: "error",
  snapshot_too_old: "error",
  snapshot_unreadable: "error",
  stored_fork: "error",
  survivor_behind: "error",
  two_clusters: "error",

  snapshot_contradiction: "lasting",
  data_unreadable: "lasting",
  member_ahead: "lasting",
  mixed_restore: "lasting",
  mixed_too_many: "lasting",
  newer_epoch_silent: "lasting",
  peer_data_unusable: "lasting",
  pledged_elsewhere: "lasting",
  quorum_behind_store: "lasting",
  same_address_twice: "lasting",
  size_contradiction: "lasting",
  standby_unlisted: "lasting",
  too_many_silent: "lasting",

  cluster_silent: "lasting_without_timeout",
  disks_awaited: "lasting_without_timeout",
  members_awaited: "lasting_without_timeout",
  newer_epoch_stored: "lasting_without_timeout",
  newer_epoch_waits: "lasting_without_timeout",
};

/** True when a wait for this reason becomes an ERROR with time. */
export function escalates(code: string, { quorumLossTimeoutMs }: Pick<Settings, "quorumLossTimeoutMs">): boolean {
  const grade = grades[code];
  return grade === "lasting" || grade === "lasting_without_timeout" && quorumLossTimeoutMs === "never";
}

const ranks: readonly Level[] = ["info", "warn", "error"];

/** What a wait is reported at that a rule graded `asked`, and that has lasted for `forMs` if it escalates. */
export function levelOfWait(code: string, asked: Level, settings: Settings, forMs: number): Level {
  const grade = grades[code];
  const own = grade === "error" || grade === "warn"
    ? grade
    : escalates(code, settings) && forMs >= lastingMs
    ? "error"
    : "info";
  return ranks.indexOf(own) > ranks.indexOf(asked) ? own : asked;
}
