/**
 * When the cluster is backed up: by the e2d beside the etcd leader, each interval, when the revision has moved; never
 * from a member that is corrupt or that disagrees with the others. A pause does not stop backups.
 */
import { hasAlarm } from "../../facts/etcd.ts";
import type { View } from "../facts/view.ts";
import type { BackupFailure } from "../facts/peer.ts";
import type { EtcdAnswer } from "../facts/cluster.ts";

export interface BackupHistory {
  /** Revision of the last snapshot that this node saved, as long as the store is not known to have lost it; 0: none. */
  readonly revision: number;
  /** When the last attempt ended, good or bad. */
  readonly attemptedAtMs?: number;
  /** True after `compareHashes` found the members to differ. */
  readonly diverged: boolean;
  /** Attempts that failed since the last success. */
  readonly failure?: BackupFailure;
}

export type BackupDecision =
  | { readonly kind: "take"; readonly format: "v2" | "go-v1" }
  | { readonly kind: "skip"; readonly why: "off" | "not_due" | "unchanged" | "corrupt" | "diverged" };

export function decideBackup(view: View, own: EtcdAnswer, history: BackupHistory): BackupDecision {
  if (!view.settings.snapshots) return { kind: "skip", why: "off" };
  const since = history.attemptedAtMs;
  if (since !== undefined && view.nowMs - since < view.settings.snapshotIntervalMs) {
    return { kind: "skip", why: "not_due" };
  }
  // "0": etcd does not know which member differs, so it may be this one.
  if (hasAlarm(own, "CORRUPT", own.memberId) || hasAlarm(own, "CORRUPT", "0")) return { kind: "skip", why: "corrupt" };
  if (history.diverged) return { kind: "skip", why: "diverged" };
  if (own.revision <= history.revision) return { kind: "skip", why: "unchanged" };
  // A Go node must be able to restore what is there while one is among us.
  const go = view.peers.some((peer) => peer.isLegacy && peer.state === "alive");
  return { kind: "take", format: go ? "go-v1" : "v2" };
}

/** The newest snapshot of the own lineage as this node knows it, and since when the data has been ahead of it. */
export interface BackupLag {
  /** Its hash; "": there is none. */
  readonly newest: string;
  /** Undefined: it holds all there is. */
  readonly aheadSinceMs: number | undefined;
}

/** Each node looks into the store each minute. */
export const lookSlackMs = 120_000;

export const failureTextMax = 300;

/** How long the data may be ahead of the newest snapshot. */
export const backupLimitMs = (intervalMs: number) => 3 * intervalMs + lookSlackMs;

/** The newest snapshot of a life that this node has saved or found in the store. */
export interface KnownSnapshot {
  /** Of the life. */
  readonly token: string;
  readonly revision: number;
  readonly takenAtWallMs: number;
  /** When this node came to know of it, monotonic. */
  readonly atMs: number;
  /** There was a newer one, which is gone. */
  readonly isRest?: true;
}
