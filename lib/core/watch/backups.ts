/**
 * Reports on every node that the cluster's backups fail: by the failed attempts of the leader's node, and by the age of the
 * own lineage's newest snapshot while the data changes. The report never makes a node not ready.
 */
import { ownLineage } from "../evidence/lineage.ts";
import { freshAnswer } from "../evidence/members.ts";
import { durationText } from "../../units.ts";
import type { View } from "../facts/view.ts";
import { leads } from "../evidence/running_cluster.ts";
import type { Turn } from "../state/turn.ts";
import type { BackupFailure } from "../facts/peer.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";
import { type BackupLag, backupLimitMs } from "../rules/backup.ts";

/** A single attempt may fail because the store restarts. */
const attemptsMin = 2;
/** A delay of this many limits is an error. */
const errorTimes = 4;

/** What the leader's node publishes of its failed attempts. */
export function backupFailure({ node }: Turn): BackupFailure | undefined {
  const { failure } = node.snapshots.backup;
  return failure !== undefined && failure.attempts >= attemptsMin ? failure : undefined;
}

/** Called in each turn. */
export function watchBackups(turn: Turn): void {
  const { node, view, now } = turn;
  if (!node.settings.snapshots || node.settings.newCluster !== undefined && node.phase !== "serving") {
    return turn.resolve(code);
  }
  const own = freshAnswer(node.membership.endpoints.get(node.self.clientUrl), now.monotonicMs);
  if (own !== undefined && !leads(own) && node.snapshots.backup.failure !== undefined) {
    // Another member leads: its node saves the snapshots.
    const { failure: _, ...rest } = node.snapshots.backup;
    node.snapshots.backup = rest;
  }
  if (own !== undefined && node.phase === "serving") noteLag(turn, own.revision);
  const failing = failingNode(view, node.self.name, backupFailure(turn));
  const limitMs = backupLimitMs(node.settings.snapshotIntervalMs);
  const aheadMs = node.phase === "serving" && node.snapshots.backupLag.aheadSinceMs !== undefined
    ? now.monotonicMs - Math.max(node.snapshots.backupLag.aheadSinceMs, node.process.watchingSinceMs)
    : 0;
  if (failing === undefined && aheadMs < limitMs) return turn.resolve(code);
  const level = aheadMs >= errorTimes * limitMs ? "error" : "warn";
  const text = textOf(failing, node.snapshots.store, node.snapshots.backupLag, limitMs);
  turn.report(level, { code, text, hint }, { keepsReady: true });
}

const code = "backups_failing";
const hint = 'check the store, its credentials and its free space; "e2d snapshot list" reads it from this machine';

function noteLag({ node, now, view }: Turn, revision: number): void {
  const newest = ownNewest(node.snapshots.store.newest, view);
  // The lookup may be older than the snapshot that this node has saved since.
  const saved = Math.max(newest?.revision ?? 0, node.snapshots.backup.revision);
  const hash = newest?.hash ?? "";
  if (revision <= saved) node.snapshots.backupLag = { newest: hash, aheadSinceMs: undefined };
  else if (node.snapshots.backupLag.newest !== hash || node.snapshots.backupLag.aheadSinceMs === undefined) {
    node.snapshots.backupLag = { newest: hash, aheadSinceMs: now.monotonicMs };
  }
}

type Newest = Extract<SnapshotLookup, { kind: "newest" }>;

/** A snapshot of another lineage does not protect this cluster. The original's files name no lineage: they count. */
function ownNewest(newest: Newest | undefined, view: View): Newest | undefined {
  const own = ownLineage(view);
  const theirs = newest?.lineage;
  return theirs === undefined || own === undefined || theirs.id === own.id ? newest : undefined;
}

function failingNode(
  { peers }: View,
  self: string,
  own: BackupFailure | undefined,
): { name: string; failure: BackupFailure } | undefined {
  if (own !== undefined) return { name: self, failure: own };
  for (const { name, state, facts } of peers) {
    if (state === "alive" && facts?.backupFailure !== undefined) return { name, failure: facts.backupFailure };
  }
  return undefined;
}

/** The text must not change from turn to turn, because each change is logged. */
function textOf(
  failing: { name: string; failure: BackupFailure } | undefined,
  { lookup, newest }: { lookup: SnapshotLookup; newest: Newest | undefined },
  { newest: ownHash }: BackupLag,
  limitMs: number,
): string {
  const last = newest === undefined || newest.hash !== ownHash
    ? "the store holds no snapshot of this cluster"
    : `the newest snapshot is of ${new Date(newest.takenAtWallMs).toISOString().slice(0, 19)}Z`;
  if (failing !== undefined) return `backups fail at "${failing.name}" (${failing.failure.text}); ${last}`;
  const why = lookup.kind === "unreadable" ? `; the store cannot be read: ${lookup.why}` : "";
  return `${last}, and data that changed more than ${durationText(limitMs)} ago is not saved${why}`;
}
