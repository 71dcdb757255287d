/**
 * A store with a newer snapshot of the own life than the present disks. A committed write is on a quorum of healthy disks:
 * one of them was rolled back, or its database lags its log. The only consequence is that a node waits for the disks that
 * have not answered, up to `--quorum-loss-timeout`.
 */
import { digestOf } from "../facts/digest.ts";
import { lineageOfData } from "./lineage.ts";
import { countDisks, hasWaited, isApproved, type LifeVerdict, planOf, withChoices } from "./order.ts";
import type { View } from "../facts/view.ts";
import type { ValidData } from "../facts/data_dir.ts";
import type { SnapshotLookup } from "../facts/snapshot_lookup.ts";
import type { Lineage } from "../facts/node_record.ts";
import { isPresent } from "../facts/peer.ts";
import { quotedNames } from "../facts/reason.ts";

/** How long a node that misses a disk of its life waits for the first lookup in the store. */
const askStoreMs = 5_000;

/** Revision of the newest snapshot of that very life; 0: the store shows none. */
export function storedRevision(lookup: SnapshotLookup, { id, token }: Lineage): number {
  if (lookup.kind !== "newest") return 0;
  const shown = lookup.lives ?? [{ lineage: lookup.lineage, newest: lookup }];
  const own = shown.filter(({ lineage }) => lineage?.id === id && lineage.token === token);
  return Math.max(0, ...own.map(({ newest }) => newest.revision));
}

/** No member of the own life runs, and a disk of it is missing. */
export function judgeStoredRevision(view: View, data: ValidData): LifeVerdict {
  const own = lineageOfData(data.clusterId, view.record);
  const { silent } = countDisks(view, data);
  if (own.epoch === 0 || !view.settings.snapshots) return { kind: "alone" };
  // Also where fewer disks than a quorum are in sight: their etcds reach members that gossip does not show here.
  if (silent.length === 0) return { kind: "alone" };
  if (view.snapshotLookup.kind === "unknown") {
    if (view.nowMs - view.bootedAtMs >= askStoreMs) return { kind: "alone" };
    const text = "asking the store whether it holds newer data of this cluster than the disks here";
    return { kind: "waits", level: "info", reason: { code: "asking_store", text } };
  }
  const stored = storedRevision(view.snapshotLookup, own);
  const here = Math.max(data.revision, ...revisionsHere(view, data));
  if (stored <= here) return { kind: "alone" };
  const missing = quotedNames(silent);
  const text = `the store holds revision ${stored} of this cluster's life, and the newest disk here is at revision ` +
    `${here}: a disk went back in time`;
  const digest = digestOf("start behind store", own.token, String(stored));
  if (hasWaited(view) || isApproved(view, digest)) {
    return { kind: "stands", reason: { code: "quorum_behind_store", text } };
  }
  const choices = [{ plan: planOf(digest), label: `start from revision ${here} without ${missing}` }];
  const hint = `start ${missing}: its disk may hold what is missing`;
  const reason = withChoices({ code: "quorum_behind_store", text: `${text}; waiting for ${missing}` }, choices, hint);
  return { kind: "waits", level: "info", reason };
}

function revisionsHere({ peers }: View, { clusterId }: ValidData): number[] {
  return peers.filter(isPresent).flatMap(({ facts }) =>
    facts?.data.kind === "held" && facts.data.clusterId === clusterId ? [facts.data.revision] : []
  );
}
