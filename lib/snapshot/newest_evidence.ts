/**
 * Whether a manifest that cannot be read, or the file at the key, may be newer than the newest snapshot of the history.
 * Must never return "no" where a name or a header leaves it open: a restore then waits.
 */
import { E2dError } from "../errors.ts";
import type { StoredInfo } from "../storage/store.ts";
import { type CopiedSnapshot, readHeadCopy } from "./head_copy.ts";
import { type History, type NameClaim, type SnapshotPlace, sumOf, type UnreadManifest } from "./history.ts";
import { clocksDifferMs, decidingEntries, isSameLife, type Life, lifeTag } from "./lives.ts";

/**
 * Returns the file at the key if the Go original wrote it and it is newer than the history: a Go node writes only the key.
 * Undefined: it is a copy of a snapshot of the history, or older. E2dError `history_incomplete`: it is a copy of a snapshot
 * that may be newer, so the listing of the history is stale or incomplete.
 */
export async function newerAtKey(
  place: SnapshotPlace,
  { entries, lives, head }: History,
  chosen: Life,
  signal?: AbortSignal,
): Promise<StoredInfo | E2dError | undefined> {
  if (head === undefined) return undefined;
  const newestMs = Math.max(...decidingEntries(entries).map(({ manifest }) => Date.parse(manifest.takenAt)));
  const writtenSince = head.modifiedMs > newestMs + clocksDifferMs;
  const copied = await readHeadCopy(place, signal);
  if (copied !== undefined) {
    if (entries.some(({ manifest }) => copied.isOf(manifest))) return undefined;
    if (!writtenSince && !copyMayBeNewest(copied, chosen, lives)) return undefined;
    return incomplete(place, `"${place.key}" is a copy of a snapshot that no listed manifest describes`);
  }
  if (!writtenSince) return undefined;
  const alike = entries.filter(({ manifest }) => manifest.size === head.size);
  const sum = alike.length === 0 ? undefined : await sumOf(place.store, head, signal);
  return alike.some(({ manifest }) => manifest.sha256 === sum) ? undefined : head;
}

/** False if every life that the manifest can belong to, by its name, has a newer whole snapshot or was succeeded. */
export function mayBeNewest({ claim }: Pick<UnreadManifest, "claim">, chosen: Life, lives: readonly Life[]): boolean {
  if (claim === undefined) return true;
  const { tag, takenAtMs, revision } = claim;
  const candidates = lives.filter((life) =>
    tag === undefined ? life.bornAtMs <= takenAtMs + clocksDifferMs : lifeTag(life) === tag
  );
  if (candidates.length > 0) {
    return !candidates.every((life) => isNewer(life, { takenAtMs, revision }) || succeeded(life, chosen, takenAtMs));
  }
  // A life without any other object.
  return chosen.bornAtMs <= takenAtMs + clocksDifferMs;
}

/**
 * The same for the copy at the key, whose header names the life but not the branch. A branch whose newest snapshot has a
 * higher revision cannot have saved this lower one later.
 */
function copyMayBeNewest({ lineage, claim }: CopiedSnapshot, chosen: Life, lives: readonly Life[]): boolean {
  if (claim === undefined) return true;
  const branches = lives.filter((life) => isSameLife(life.lineage, lineage));
  if (branches.length === 0) return mayBeNewest({ claim: { ...claim, tag: "" } }, chosen, lives);
  if (branches.every((life) => succeeded(life, chosen, claim.takenAtMs))) return false;
  return !branches.some((life) => isNewer(life, claim)) ||
    branches.some(({ entries: [newest] }) =>
      newest!.damage !== undefined || newest!.manifest.revision <= claim.revision
    );
}

/** True if the newest snapshot of this branch is whole and newer than the claim. */
function isNewer({ entries }: Life, { takenAtMs, revision }: Omit<NameClaim, "tag">): boolean {
  const { damage, manifest } = entries[0]!;
  return damage === undefined && manifest.revision > revision && Date.parse(manifest.takenAt) > takenAtMs;
}

const succeeded = (life: Life, chosen: Life, takenAtMs: number) =>
  life !== chosen && life.lineage.epoch < chosen.lineage.epoch && chosen.bornAtMs > takenAtMs + clocksDifferMs;

export const incomplete = ({ store, key }: SnapshotPlace, why: string) =>
  new E2dError("history_incomplete", `Cannot tell which snapshot is the newest of "${key}" in ${store.name}: ${why}`, {
    hint:
      "retry, and bring removed objects back; or restore by hand: e2d snapshot restore; or pass --new-cluster NAME to begin empty",
  });
