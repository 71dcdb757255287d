/**
 * The older snapshot that an operator can restore by hand when the newest one is damaged. Only names it: nothing here or
 * elsewhere restores it automatically.
 */
import { E2dError, isE2dError } from "../errors.ts";
import { type History, readHistory, type SnapshotPlace } from "./history.ts";
import { chooseLife, type HistoryEntry } from "./lives.ts";

const isWhole = ({ damage }: HistoryEntry) => damage === undefined;

/**
 * Adds the newest older whole snapshot to the hint of an error: of the life that stands for the place, else of the youngest
 * other life that has one.
 */
export function withOlder(error: E2dError, place: SnapshotPlace, { lives }: History, damagedKey?: string): E2dError {
  const chosen = chooseLife(lives)?.life;
  const entries = [...chosen === undefined ? [] : [chosen], ...lives.toReversed()].flatMap((life) => life.entries);
  const older = entries.find((entry) => isWhole(entry) && entry.key !== damagedKey);
  if (older === undefined) return error;
  const { takenAt, revision } = older.manifest;
  const restore = ["e2d snapshot restore", place.restoreArguments, `--snapshot ${older.key.split("/").at(-1)}`];
  const hint =
    `the newest older readable snapshot is "${older.key}" of ${takenAt.slice(0, 19)}Z at revision ${revision}: ` +
    `restore it by hand: ${restore.filter((part) => part !== undefined).join(" ")}`;
  return new E2dError(error.code, error.message, {
    cause: error.cause,
    hint: error.hint === undefined ? hint : `${error.hint}; or: ${hint}`,
  });
}

/** Errors of one snapshot, which an older one need not have. */
const damageCodes = new Set([
  "snapshot_corrupt",
  "snapshot_damaged",
  "snapshot_manifest_mismatch",
  "snapshot_size",
  "snapshot_trailing",
  "snapshot_truncated",
  "snapshot_unsealed",
  "manifest_unauthentic",
]);

/**
 * Returns the error of a selected snapshot that failed its checks, with a hint that names the newest older one. Returns
 * other errors unchanged. Never throws.
 *
 * @param damagedKey key of the object that failed
 */
export async function explainDamage(
  error: unknown,
  place: SnapshotPlace,
  damagedKey: string,
  signal?: AbortSignal,
): Promise<unknown> {
  if (!isE2dError(error) || !damageCodes.has(error.code)) return error;
  const history = await readHistory(place, signal).catch(() => undefined);
  return history === undefined ? error : withOlder(error, place, history, damagedKey);
}
