/**
 * When the cluster is backed up: by the e2d beside the etcd leader, each interval, when the revision has moved; never
 * from a member that is corrupt or that disagrees with the others. A pause does not stop backups.
 */
import type { EtcdAnswer, View } from "./view.ts";

export interface BackupHistory {
  /** Revision of the last snapshot that this node saved or found; 0: none. */
  readonly revision: number;
  /** When the last attempt ended, good or bad. */
  readonly attemptedAtMs?: number;
  /** True after `compareHashes` found the members to differ. */
  readonly diverged: boolean;
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
  // Of somebody's data, whose is not known: it may be this member's.
  if (own.alarms.includes("CORRUPT") || own.alarms.includes("CORRUPT of 0")) return { kind: "skip", why: "corrupt" };
  if (history.diverged) return { kind: "skip", why: "diverged" };
  if (own.revision <= history.revision) return { kind: "skip", why: "unchanged" };
  // A Go node must be able to restore what is there while one is among us.
  const go = view.peers.some((peer) => peer.go && peer.state === "alive");
  return { kind: "take", format: go ? "go-v1" : "v2" };
}
