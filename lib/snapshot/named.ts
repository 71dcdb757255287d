/**
 * Finds a snapshot of a history by the name that an operator passes. Only here an object without a manifest counts: its
 * authentication tags, its seal and etcd's checksum are verified. No automatic decision may use it.
 */
import { E2dError } from "../errors.ts";
import { readHistory, type SnapshotPlace } from "./history.ts";
import { type Manifest, manifestSuffix } from "./manifest.ts";

export interface NamedSnapshot {
  readonly key: string;
  /** Undefined: it has no manifest, or the manifest cannot be read. */
  readonly manifest: Manifest | undefined;
  /** False: the operator named none, and this is the newest. */
  readonly named: boolean;
}

/**
 * Finds it by its key, or by the last part of the key. Throws the store's errors, E2dError `snapshot_damaged` if the
 * manifest exists and the object does not, and `snapshot_absent`.
 */
export async function findNamed(place: SnapshotPlace, name: string, signal?: AbortSignal): Promise<NamedSnapshot> {
  const { store, key } = place;
  const { entries, unread, loose } = await readHistory({ store, key }, signal);
  const isNamed = ({ key }: { readonly key: string }) => key === name || key.endsWith(`/${name}`);
  const entry = entries.find(isNamed);
  if (entry?.damage !== undefined) throw entry.damage;
  if (entry !== undefined) return { key: entry.key, manifest: entry.manifest, named: true };
  const bare = [...loose, ...unread.map(({ key }) => ({ key: key.slice(0, -manifestSuffix.length) }))].find(isNamed);
  if (bare !== undefined) return { key: bare.key, manifest: undefined, named: true };
  throw new E2dError("snapshot_absent", `Cannot find snapshot "${name}" in ${store.name}`, {
    hint: "e2d snapshot list shows what is there",
  });
}
