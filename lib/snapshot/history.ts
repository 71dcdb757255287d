/**
 * Reads a key and its history as facts: manifests that match their objects, manifests that do not, objects without a
 * manifest, and the file at the key. Owns what counts as damaged. Must never omit an object, because a history that looks
 * empty means a cluster without data.
 */
import { createHash } from "node:crypto";
import { E2dError, isE2dError, wordsOf } from "../errors.ts";
import type { Store, StoredInfo } from "../storage/store.ts";
import { historyOf } from "./absence.ts";
import { type BranchOf, groupLives, type HistoryEntry, type Life, lifeTag } from "./lives.ts";
import { decodeManifest, type Manifest, manifestSuffix } from "./manifest.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SnapshotPlace {
  readonly store: Store;
  /** `etcd.snapshot` */
  readonly key: string;
  /** Throws for a manifest that must not decide anything automatically. An operator can still restore it by name. */
  readonly requireTrusted?: ((manifest: Manifest) => void) | undefined;
  /** Arguments of `e2d snapshot restore` for this place and machine, beside --snapshot: for the hints of errors. */
  readonly restoreArguments?: string | undefined;
}

export interface UnreadManifest {
  readonly key: string;
  readonly error: E2dError;
  /** What its name claims. Undefined: e2d does not create such names. */
  readonly claim: NameClaim | undefined;
}

export interface History {
  readonly entries: readonly HistoryEntry[];
  /** Oldest first. */
  readonly lives: readonly Life[];
  /** Manifests that cannot be read, or that describe another object. */
  readonly unread: readonly UnreadManifest[];
  /** Objects without a manifest: an interrupted upload, or the rest of a snapshot whose manifest was removed. */
  readonly loose: readonly StoredInfo[];
  readonly head: StoredInfo | undefined;
  /** Manifests in only one of two listings of the history: a node saved in between, or a listing is stale. */
  readonly disputed: readonly string[];
}

export interface NameClaim {
  readonly takenAtMs: number;
  readonly revision: number;
  /** Undefined in names of e2d versions without lives. */
  readonly tag: string | undefined;
}

const namePattern = /\/(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-(\d{1,16})(?:-([0-9a-f]{8}))?$/;

/** `<key>.history/20260101T000000Z-7-0a1b2c3d` */
export function snapshotName(
  key: string,
  { takenAt, revision, lineage, branch }: Pick<Manifest, "takenAt" | "revision"> & BranchOf,
) {
  return `${historyOf(key)}${takenAt.replace(/[-:]|\.\d+/g, "")}-${revision}-${lifeTag({ lineage, branch })}`;
}

/**
 * The key of a manifest's object in this place. A history that was copied completely to another key is the same history:
 * the MACs of its manifests cover the original keys, so the manifests cannot change.
 */
export const objectKeyOf = (key: string, manifest: Pick<Manifest, "key">): string =>
  `${historyOf(key)}${manifest.key.split("/").at(-1)}`;

/** Undefined if e2d does not create such names for snapshots. */
export function claimOf(name: string): NameClaim | undefined {
  const [, year, month, day, hour, minute, second, revision, tag] = namePattern.exec(name) ?? [];
  if (year === undefined) return undefined;
  const takenAtMs = Date.UTC(+year, +month! - 1, +day!, +hour!, +minute!, +second!);
  return { takenAtMs, revision: Number(revision), tag };
}

/** Throws the store's error if it is unreachable or refuses to list. */
export async function readHistory(place: SnapshotPlace, signal?: AbortSignal): Promise<History> {
  const { store, key } = place;
  const found = await store.list(historyOf(key), signal);
  // This listing contains the history again, and the file at the key. An object of either listing exists, or did just now.
  const around = await store.list(key, signal);
  const infos = new Map([...around, ...found].map((info) => [info.key, info]));
  const head = infos.get(key);
  const entries: HistoryEntry[] = [];
  const unread: UnreadManifest[] = [];
  const gone: string[] = [];
  const names = [...infos.keys()].filter((name) => name.startsWith(historyOf(key)));
  for (const name of names.filter((name) => name.endsWith(manifestSuffix))) {
    const read = await readManifest(store, name, signal);
    if (read === undefined) gone.push(name);
    else if (read instanceof E2dError) unread.push(unreadManifest(name, read));
    else if (`${objectKeyOf(key, read)}${manifestSuffix}` !== name) unread.push(misplaced(place, name, read));
    else entries.push(entryOf(place, name, read, infos));
  }
  unread.push(...await stillListed(place, gone, signal));
  const repaired = head === undefined ? entries : await useCopy(place, head, entries, signal);
  const loose = names.filter((name) => !name.endsWith(manifestSuffix) && !infos.has(`${name}${manifestSuffix}`))
    .map((name) => infos.get(name)!);
  const disputed = differingManifests(found, around.filter((info) => info.key.startsWith(historyOf(key))));
  return { entries: repaired, lives: groupLives(repaired), unread, loose, head, disputed };
}

function differingManifests(one: readonly StoredInfo[], other: readonly StoredInfo[]): string[] {
  const [a, b] = [one, other].map((infos) =>
    new Set(infos.map(({ key }) => key).filter((key) => key.endsWith(manifestSuffix)))
  ) as [Set<string>, Set<string>];
  return [...a.symmetricDifference(b)].sort();
}

const unreadManifest = (name: string, error: E2dError): UnreadManifest => ({
  key: name,
  error,
  claim: claimOf(name.slice(0, -manifestSuffix.length)),
});

/** The object beside such a manifest has no description. */
function misplaced({ store }: SnapshotPlace, name: string, { key }: Manifest): UnreadManifest {
  const why = `Cannot use manifest "${name}" in ${store.name}: it is about ${JSON.stringify(key)}`;
  return unreadManifest(
    name,
    new E2dError("snapshot_damaged", why, { hint: "bring back the manifest that was there" }),
  );
}

function entryOf(
  { store, requireTrusted }: SnapshotPlace,
  name: string,
  manifest: Manifest,
  infos: ReadonlyMap<string, StoredInfo>,
): HistoryEntry {
  const objectKey = name.slice(0, -manifestSuffix.length);
  const object = infos.get(objectKey);
  const entry = { manifest, key: objectKey, modifiedMs: infos.get(name)!.modifiedMs, readKey: objectKey };
  const damaged = (why: string): HistoryEntry => ({
    ...entry,
    damage: new E2dError("snapshot_damaged", `Cannot use snapshot "${objectKey}" in ${store.name}: ${why}`, {
      hint: `bring "${objectKey}" back`,
    }),
  });
  try {
    requireTrusted?.(manifest);
  } catch (error) {
    if (isE2dError(error)) return { ...entry, damage: error };
    throw error;
  }
  if (object === undefined) return damaged("its manifest is there, and the object is gone");
  if (object.size !== manifest.size) return damaged(`it has ${object.size} of ${manifest.size} bytes`);
  return entry;
}

/** Errors of one object. All other errors concern the store, and then nothing is known. */
const ofOneObject = new Set(["manifest_unreadable", "store_broken", "store_forbidden"]);

/** Undefined: it was removed after the listing. An error: it cannot be read. */
async function readManifest(
  store: Store,
  name: string,
  signal?: AbortSignal,
): Promise<Manifest | E2dError | undefined> {
  try {
    const bytes = await readSmall(store, name, signal);
    return bytes && decodeManifest(name, bytes);
  } catch (error) {
    if (isE2dError(error) && ofOneObject.has(error.code)) return error;
    throw error;
  }
}

/** Another node may have removed them since the listing. A manifest that is listed again and not found is damaged. */
async function stillListed(
  { store, key }: SnapshotPlace,
  names: readonly string[],
  signal?: AbortSignal,
): Promise<UnreadManifest[]> {
  if (names.length === 0) return [];
  const listed = new Set((await store.list(historyOf(key), signal)).map((info) => info.key));
  return names.filter((name) => listed.has(name)).map((name) =>
    unreadManifest(
      name,
      new E2dError(
        "manifest_unreadable",
        `Cannot read manifest "${name}" in ${store.name}: it is listed and not found`,
      ),
    )
  );
}

/** For each life with a damaged newest snapshot, uses the copy at the key if its checksum is that of the manifest. */
async function useCopy(
  place: SnapshotPlace,
  head: StoredInfo,
  entries: readonly HistoryEntry[],
  signal?: AbortSignal,
): Promise<readonly HistoryEntry[]> {
  const tops = groupLives(entries).map((life) => life.entries[0]!);
  const wanted = tops.filter(({ damage, manifest }) =>
    damage?.code === "snapshot_damaged" && manifest.size === head.size
  );
  if (wanted.length === 0) return entries;
  const sum = await sumOf(place.store, head, signal);
  return entries.map((entry) => {
    if (!wanted.includes(entry) || entry.manifest.sha256 !== sum) return entry;
    const { damage, ...whole } = entry;
    return { ...whole, objectDamage: damage!, readKey: head.key };
  });
}

/** Checksums of copies, by store: the lookup of each minute must not read a whole database again. */
const sums = new WeakMap<Store, { head: StoredInfo; sum: string }>();

export async function sumOf(store: Store, head: StoredInfo, signal?: AbortSignal): Promise<string | undefined> {
  const known = sums.get(store);
  if (known?.head.key === head.key && known.head.size === head.size && known.head.modifiedMs === head.modifiedMs) {
    return known.sum;
  }
  const object = await store.read(head.key, signal);
  if (object === undefined) return undefined;
  const hash = createHash("sha256");
  for await (const chunk of object.stream) hash.update(chunk);
  const sum = hash.digest("hex");
  sums.set(store, { head, sum });
  return sum;
}

/** Opens the object of a manifest, or the copy at the key if the object has another size. The caller verifies checksums. */
export async function openStored({ store, key }: SnapshotPlace, manifest: Manifest, signal?: AbortSignal) {
  const objectKey = objectKeyOf(key, manifest);
  const info = await store.info(objectKey, signal);
  const readKey = info?.size === manifest.size ? objectKey : key;
  const object = await store.read(readKey, signal);
  return object && { ...object, key: readKey };
}

const smallMaxBytes = 1_048_576;

async function readSmall(store: Store, key: string, signal?: AbortSignal): Promise<Bytes | undefined> {
  const object = await store.read(key, signal);
  if (object === undefined) return undefined;
  if (object.size > smallMaxBytes) {
    await object.stream.cancel();
    throw new E2dError("manifest_unreadable", `Cannot read manifest "${key}": it is too long to be one`);
  }
  return await readBounded(object.stream, key);
}

/** Counts the received bytes: the size that a store reports is not trusted. */
async function readBounded(stream: ReadableStream<Bytes>, key: string): Promise<Bytes> {
  const chunks: Bytes[] = [];
  let received = 0;
  for await (const chunk of stream) {
    received += chunk.length;
    if (received > smallMaxBytes) {
      throw new E2dError("manifest_unreadable", `Cannot read manifest "${key}": it is too long to be one`);
    }
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** The damaged snapshots and manifests, for listings. */
export function damagesOf({ entries, unread }: History): { key: string; code: string; why: string }[] {
  const errors = [
    ...entries.flatMap(({ key, damage }) => damage === undefined ? [] : [{ key, error: damage }]),
    ...unread,
  ];
  return errors.map(({ key, error }) => ({ key, code: error.code, why: wordsOf(error).text }));
}
