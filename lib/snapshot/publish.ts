/**
 * Saves a snapshot to a place. Owns the order of the steps (object, verification, manifest, listing; then the copy at the
 * key), the names, and which cluster may save where. Must never overwrite an object of the history, nor the copy of an
 * older life that exists beside this one. Untrusted manifests reserve their names and decide nothing else.
 */
import { withoutUndefined } from "../without_undefined.ts";
import { E2dError, isE2dError } from "../errors.ts";
import type { StoredInfo } from "../storage/store.ts";
import { observe } from "../streams/observe.ts";
import { historyOf, VerifiedAbsence } from "./absence.ts";
import { readHeadCopy } from "./head_copy.ts";
import { type History, objectKeyOf, readHistory, snapshotName, type SnapshotPlace } from "./history.ts";
import {
  branchAfter,
  decidingEntries,
  groupLives,
  type HistoryEntry,
  isSameBranch,
  isTrusted,
  lastBranch,
  type Life,
  type LifeConflict,
  parentOf,
  type Standing,
  standingOf,
} from "./lives.ts";
import { encodeManifest, type Manifest, manifestSuffix } from "./manifest.ts";
import { type Hashing, keepUnmanaged, lastCopy, verifyWritten } from "./last_copy.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface Publication {
  readonly stream: ReadableStream<Bytes>;
  /** The fields of the manifest that are known before the upload. */
  readonly facts: Omit<
    Manifest,
    | "version"
    | "key"
    | "size"
    | "sha256"
    | "plainBytes"
    | "plainSha256"
    | "verifiedAt"
    | "authentication"
    | "restoredFrom"
    | "bornAt"
    | "branch"
  >;
  /**
   * The revision of the cluster by a linearizable read that begins now. Called only if the store holds a newer revision of
   * this life. Throws without a quorum.
   */
  readonly currentRevision: (signal?: AbortSignal) => Promise<number>;
  /** The source of a restored life, if this node knows it. Without `sha256` it was a survivor's data. */
  readonly restoredFrom?: { readonly sha256?: string; readonly revision: number } | undefined;
  /** Size and checksum of the database. Called after the end of the stream. */
  readonly plain: () => Promise<{ bytes: number; sha256: string }>;
  /** For a sealed snapshot: replaces the checksum of the database by a keyed one and adds the MAC. */
  readonly authenticate?: ((manifest: Manifest & { readonly plainSha256: string }) => Manifest) | undefined;
  readonly nowWallMs: () => number;
  /**
   * True if an unmanaged file at the key may be this cluster's own, from before it had manifests. It is replaced, and a
   * copy of it is kept in the history.
   */
  readonly mayReplaceUnmanaged: boolean;
  readonly sha256: () => { update(data: Uint8Array): unknown; digest(form: "hex"): string };
  readonly signal?: AbortSignal | undefined;
}

export interface Published {
  readonly manifest: Manifest;
  /** Another life that saves to the same place. Names never collide, but an operator must end one of the two. */
  readonly conflict?: LifeConflict;
  /** True if the copy at the key belongs to this life, because no older one exists beside it. The next step is copyToKey(). */
  readonly ownsKey: boolean;
  /** Set if this snapshot begins a branch: `from` has a higher revision than the cluster, whose disks were rolled back. */
  readonly rolledBack?: { readonly from: Manifest };
}

/**
 * Writes a snapshot, verifies the uploaded object, finds it in a listing, and only then returns. Each life has its own
 * names. The copy at the key is a separate step that can be repeated. Damage in the history does not stop a save. Throws
 * E2dError `snapshot_other_lineage`, `snapshot_foreign`, `store_contradiction`, `snapshot_readback`, `snapshot_not_listed`,
 * `snapshot_name_taken`, or what the store or `currentRevision` throws.
 */
export async function publishSnapshot(place: SnapshotPlace, publication: Publication): Promise<Published> {
  const { store, key } = place;
  const { stream, facts, plain, sha256, signal, nowWallMs } = publication;
  const history = await readHistory(place, signal);
  const { entries, unread, loose, head } = history;
  // A listing without a snapshot is verified before the first save.
  if (entries.length + unread.length + loose.length === 0 && head === undefined) {
    await VerifiedAbsence.verify(place, signal);
  }
  const headInWay = await refuseNewcomer(place, history, publication) ?? await lastCopy(place, history, signal);
  if (headInWay !== undefined) await keepUnmanaged(place, headInWay, history, publication);
  const begun = await branchFor(history, publication);
  const { branch } = begun;
  const name = snapshotName(key, { ...facts, branch });
  requireFreeName(place, name, history);
  const hash = sha256();
  const counted = observe(stream, (chunk) => hash.update(chunk));
  const { size } = await store.write(name, counted, { signal, ifAbsent: true }).catch((error) => {
    throw isE2dError(error, "store_exists") ? nameTaken(place, name) : error;
  });
  const sum = hash.digest("hex");
  await verifyWritten(store, name, { size, sum, sha256, signal });
  const { bytes: plainBytes, sha256: plainSha256 } = await plain();
  const open = {
    version: 1 as const,
    key: name,
    size,
    sha256: sum,
    plainBytes,
    plainSha256,
    verifiedAt: new Date(nowWallMs()).toISOString(),
    ...descentOf(publication, history, branch),
    ...withoutUndefined({ branch }),
    ...facts,
  };
  const manifest = publication.authenticate?.(open) ?? open;
  const text = encodeManifest(manifest);
  await store.write(`${name}${manifestSuffix}`, textStream(text), { signal });
  await requireListed(
    place,
    [[name, size], [`${name}${manifestSuffix}`, new TextEncoder().encode(text).length]],
    signal,
  );
  const { ownsKey, conflict } = standing(manifest, history, nowWallMs());
  return {
    manifest,
    ownsKey,
    ...withoutUndefined({ conflict }),
    ...(begun.leaves === undefined ? {} : { rolledBack: { from: begun.leaves } }),
  };
}

/** False if another snapshot of this life is newer, or an older life exists beside it. Then the copy is not this one. */
export async function isNewestOfItsLife(
  place: SnapshotPlace,
  manifest: Manifest,
  nowMs: number,
  signal?: AbortSignal,
): Promise<boolean> {
  const history = await readHistory(place, signal);
  return newestEntry(lastBranch(manifest.lineage, trustedLives(history)))?.manifest.sha256 === manifest.sha256 &&
    standing(manifest, history, nowMs).ownsKey;
}

/** Keeps the file at the key before a copy is repeated: it may have been put there since the save. Throws the store's errors. */
export async function keepLastCopy(place: SnapshotPlace, hashing: Hashing): Promise<void> {
  const history = await readHistory(place, hashing.signal);
  const last = await lastCopy(place, history, hashing.signal);
  if (last !== undefined) await keepUnmanaged(place, last, history, hashing);
}

function standing(manifest: Manifest, { entries }: History, nowMs: number): Standing {
  const entry: HistoryEntry = { manifest, key: manifest.key, modifiedMs: nowMs, readKey: manifest.key };
  const lives = groupLives([...entries.filter(isTrusted), entry]);
  const own = lives.find((life) => isSameBranch(life, manifest))!;
  const { ownsKey, ...rest } = standingOf(own, lives, nowMs);
  // Another node may have saved a newer one in the meantime.
  return { ...rest, ownsKey: ownsKey && newestEntry(own)?.manifest.key === manifest.key };
}

const trustedLives = ({ entries }: History) => groupLives(entries.filter(isTrusted));
const newestEntry = (life: Life | undefined) => life?.entries[0];

interface BranchChoice {
  readonly branch: string | undefined;
  /** For a new branch: the newest snapshot of the abandoned one. */
  readonly leaves?: Manifest;
}

/**
 * The branch of this life that the snapshot belongs to: the last one, unless it holds a newer revision than the cluster.
 * An abandoned branch is never continued, so none of its snapshots is replaced.
 *
 * A healthy cluster begins no branch. A member had applied the revision of each saved snapshot, so a quorum committed it
 * before the manifest was written. This function reads the history first and the cluster's revision afterwards, by a
 * linearizable read, which returns at least every revision that was committed before. The result is lower only if a quorum
 * of disks lost committed writes. A new leader, a leader that was deposed during a save and a lagging follower therefore
 * save an older snapshot of the same branch, or fail without a quorum. Two nodes that save after a rollback begin the same
 * branch.
 */
async function branchFor(
  history: History,
  { facts: { lineage, revision }, currentRevision, signal }: Publication,
): Promise<BranchChoice> {
  const last = lastBranch(lineage, trustedLives(history));
  const newest = newestEntry(last);
  if (newest === undefined || newest.manifest.revision <= revision) return { branch: last?.branch };
  if (newest.manifest.revision <= await currentRevision(signal)) return { branch: last?.branch };
  return { branch: branchAfter(newest), leaves: newest.manifest };
}

/**
 * The descent: as earlier manifests of this life and branch record it, else as this node knows it, else as the store shows
 * it. Uses trusted manifests only, because the MAC of the new manifest covers the copied fields.
 */
function descentOf(
  { facts: { lineage, takenAt }, restoredFrom }: Publication,
  history: History,
  branch: string | undefined,
): Pick<Manifest, "restoredFrom" | "bornAt"> {
  const lives = trustedLives(history);
  const own = lives.find((life) => isSameBranch(life, { lineage, branch })) ?? lastBranch(lineage, lives);
  const begins = own !== undefined && own.branch !== branch;
  const bornAtMs = begins
    ? Math.max(own.bornAtMs + 1, Date.parse(takenAt))
    : branch !== undefined && own !== undefined
    ? own.bornAtMs
    : Math.min(own?.bornAtMs ?? Infinity, Date.parse(takenAt));
  const bornAt = new Date(bornAtMs).toISOString();
  if (own?.restoredFrom !== undefined) return { restoredFrom: own.restoredFrom, bornAt };
  if (restoredFrom === undefined) return { bornAt };
  const { sha256, revision } = restoredFrom;
  const source = lives.find(({ entries }) => entries.some(({ manifest }) => manifest.sha256 === sha256));
  const token = (source ?? parentOf(lineage, lives))?.lineage.token;
  if (token === undefined) return { bornAt };
  return { restoredFrom: { token, ...withoutUndefined({ sha256 }), revision }, bornAt };
}

/** Some stores list keys under other names. Throws E2dError `snapshot_not_listed`. */
async function requireListed(
  { store, key }: SnapshotPlace,
  wanted: readonly (readonly [string, number])[],
  signal?: AbortSignal,
): Promise<void> {
  const listed = new Map((await store.list(historyOf(key), signal)).map(({ key, size }) => [key, size]));
  const missing = wanted.find(([name, size]) => listed.get(name) !== size);
  if (missing === undefined) return;
  throw new E2dError("snapshot_not_listed", `Cannot trust ${store.name}: it does not list "${missing[0]}" as written`, {
    hint: "a snapshot that is not listed is not found after a loss; use a plain name in --snapshot-backup-url",
  });
}

/** Two nodes of one life may save in the same second: the second one must not overwrite the object of the first one. */
function requireFreeName(place: SnapshotPlace, name: string, { entries, unread, loose }: History): void {
  const taken = [
    ...entries.map(({ key }) => key),
    ...unread.map(({ key }) => key),
    ...loose.map(({ key }) => key),
  ];
  if (!taken.some((key) => key === name || key === `${name}${manifestSuffix}`)) return;
  throw nameTaken(place, name);
}

function nameTaken({ store }: SnapshotPlace, name: string): E2dError {
  return new E2dError("snapshot_name_taken", `Cannot save "${name}" in ${store.name}: it is there already`, {
    hint: "another node of this cluster has just saved it; the next snapshot has another name",
  });
}

/** Copies a snapshot of the history to the key, for nodes of the Go original and for operators. Throws E2dError `snapshot_readback`, `snapshot_not_listed`, or what the store throws. */
export async function copyToKey(
  { store, key }: SnapshotPlace,
  manifest: Manifest,
  signal?: AbortSignal,
): Promise<void> {
  const name = objectKeyOf(key, manifest);
  if (!await store.copy?.(name, key, signal)) {
    const copy = await store.read(name, signal);
    if (copy === undefined) throw new E2dError("snapshot_readback", `Cannot find "${name}" in ${store.name} again`);
    await store.write(key, copy.stream, { signal });
  }
  const listed = (await store.list(key, signal)).find((info) => info.key === key);
  if (listed?.size === manifest.size) return;
  throw new E2dError("snapshot_not_listed", `Cannot trust ${store.name}: it does not list "${key}" as written`, {
    hint: "nodes of the Go e2d would not find it; use a plain name in --snapshot-backup-url",
  });
}

/** Returns an unmanaged file at the key that this save replaces for the first time. Throws if this cluster must not save. */
async function refuseNewcomer(
  place: SnapshotPlace,
  { entries, head }: History,
  { facts, mayReplaceUnmanaged, signal }: Publication,
): Promise<StoredInfo | undefined> {
  const deciding = decidingEntries(entries);
  // The cluster that saved here first continues, independent of later newcomers.
  if (deciding.some(({ manifest }) => manifest.lineage.id === facts.lineage.id)) return undefined;
  const where = `${place.store.name}, "${place.key}"`;
  const hint = "give this cluster a URL of its own, or restore it from there";
  const copied = head === undefined ? undefined : (await readHeadCopy(place, signal))?.lineage.id;
  const owner = deciding[0]?.manifest.lineage.id ?? copied;
  if (owner !== undefined && owner !== facts.lineage.id) {
    throw new E2dError("snapshot_other_lineage", `Cannot save to ${where}: another cluster's snapshots are there`, {
      hint,
    });
  }
  if (head === undefined || mayReplaceUnmanaged || copied !== undefined) return head;
  throw new E2dError("snapshot_foreign", `Cannot save over the snapshot in ${where}: this cluster is not from it`, {
    hint,
  });
}

function textStream(text: string): ReadableStream<Bytes> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
}
