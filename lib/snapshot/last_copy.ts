/**
 * Keeps the file at the key before a save replaces it, if it is the last copy of a snapshot. Must never remove a kept copy.
 */
import { E2dError, isE2dError } from "../errors.ts";
import type { Store, StoredInfo } from "../storage/store.ts";
import { observe } from "../streams/observe.ts";
import { historyOf } from "./absence.ts";
import { readHeadCopy } from "./head_copy.ts";
import { type History, type SnapshotPlace, sumOf } from "./history.ts";

/** Of a publication: how it computes checksums. */
export interface Hashing {
  readonly sha256: () => { update(data: Uint8Array): unknown; digest(form: "hex"): string };
  readonly signal?: AbortSignal | undefined;
}

/**
 * Returns the file at the key if the history has no whole object of its snapshot: the object or its manifest was removed or
 * damaged, or the Go original wrote the file. A header identifies the snapshot; a file without
 * one counts as a copy if the history has an object with the same bytes.
 */
export async function lastCopy(
  place: SnapshotPlace,
  { entries, head }: History,
  signal?: AbortSignal,
): Promise<StoredInfo | undefined> {
  if (head === undefined) return undefined;
  const copied = await readHeadCopy(place, signal).catch((error) => {
    // It was removed since the listing: there is nothing to keep.
    if (isE2dError(error, "store_contradiction")) return "gone" as const;
    throw error;
  });
  if (copied === "gone") return undefined;
  const whole = entries.filter(({ damage, readKey, key }) => damage === undefined && readKey === key);
  if (copied !== undefined) return whole.some(({ manifest }) => copied.isOf(manifest)) ? undefined : head;
  const alike = whole.filter(({ manifest }) => manifest.size === head.size);
  const sum = alike.length === 0 ? undefined : await sumOf(place.store, head, signal);
  return alike.some(({ manifest }) => manifest.sha256 === sum) ? undefined : head;
}

/** Copies the file at the key into the history. It may be the only snapshot of another cluster, so e2d never removes it. */
export async function keepUnmanaged(
  { store, key }: SnapshotPlace,
  { size, modifiedMs }: StoredInfo,
  { loose }: History,
  { sha256, signal }: Hashing,
): Promise<void> {
  const name = `${historyOf(key)}foreign-${size}-${modifiedMs}`;
  if (loose.some((kept) => kept.key === name && kept.size === size)) return;
  const object = await store.read(key, signal);
  if (object === undefined) return;
  const hash = sha256();
  const counted = observe(object.stream, (chunk) => hash.update(chunk));
  const written = await store.write(name, counted, { signal });
  await verifyWritten(store, name, { size: written.size, sum: hash.digest("hex"), sha256, signal });
}

export async function verifyWritten(
  store: Store,
  key: string,
  { size, sum, sha256, signal }: Hashing & { size: number; sum: string },
): Promise<void> {
  const object = await store.read(key, signal);
  const hash = sha256();
  let received = 0;
  for await (const chunk of object?.stream ?? []) {
    hash.update(chunk);
    received += chunk.length;
  }
  if (received === size && hash.digest("hex") === sum) return;
  throw new E2dError("snapshot_readback", `Cannot trust ${store.name}: "${key}" came back other than it was written`, {
    hint: "the snapshot before is untouched; check the store",
  });
}
