/**
 * The snapshots under one URL. Each lies under `<key>.history/` with a manifest beside it that is written last; `<key>`
 * itself is a copy of the newest, so that nodes of the Go original, and whoever knows the URL, find it where it always
 * was. What counts is the manifests: at no moment of a publishing is the newest good snapshot not found.
 */
import { E2dError, isE2dError, wordsOf } from "../errors.ts";
import type { Store, StoredInfo } from "../storage/store.ts";
import { observe } from "../streams/observe.ts";
import { decodeManifest, encodeManifest, type Manifest, manifestSuffix } from "./manifest.ts";
import { type KeepPolicy, planRetention } from "./retention.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SnapshotPlace {
  readonly store: Store;
  /** `etcd.snapshot` */
  readonly key: string;
}

export type NewestSnapshot =
  | { readonly kind: "manifest"; readonly hash: string; readonly manifest: Manifest; readonly epochMax: number }
  /** A file at the key that no manifest is about: the original's, or an operator's. */
  | { readonly kind: "foreign"; readonly hash: string; readonly info: StoredInfo };

const historyOf = (key: string) => `${key}.history/`;
/** Clocks of stores and nodes differ. */
const clocksDifferMs = 60_000;

/** All whole snapshots of the history, newest first. Throws what the store throws, and E2dError `manifest_unreadable`. */
export async function listSnapshots({ store, key }: SnapshotPlace, signal?: AbortSignal): Promise<Manifest[]> {
  const found = await store.list(historyOf(key), signal);
  const sizes = new Map(found.map((info) => [info.key, info.size]));
  const manifests: Manifest[] = [];
  for (const { key: name } of found.filter(({ key }) => key.endsWith(manifestSuffix))) {
    const bytes = await readSmall(store, name, signal);
    // Removed since it was listed.
    if (bytes === undefined) continue;
    const manifest = decodeManifest(name, bytes);
    // One whose snapshot is gone or of another size is about nothing.
    if (sizes.get(manifest.key) === manifest.size) manifests.push(manifest);
  }
  return manifests.sort(newestFirst);
}

const newestFirst = (a: Manifest, b: Manifest) =>
  b.lineage.epoch - a.lineage.epoch || b.revision - a.revision || b.takenAt.localeCompare(a.takenAt);

/** Undefined: the store answered, and there is nothing. Throws as {@link listSnapshots} does. */
export async function newestSnapshot(place: SnapshotPlace, signal?: AbortSignal): Promise<NewestSnapshot | undefined> {
  const { store, key } = place;
  const manifests = await listSnapshots(place, signal);
  const head = (await store.list(key, signal)).find((info) => info.key === key);
  const byTime = [...manifests].sort((a, b) => b.takenAt.localeCompare(a.takenAt));
  const newest = byTime[0] && manifests.find(({ lineage }) => lineage.id === byTime[0]!.lineage.id);
  if (newest === undefined) return head === undefined ? undefined : foreign(head);
  // A Go node beside the leader writes the key alone: its file is newer, and of no size that a manifest knows.
  const ours = head === undefined || manifests.some(({ size }) => size === head.size);
  if (!ours && head.modifiedMs > Date.parse(byTime[0]!.takenAt) + clocksDifferMs) return foreign(head);
  const line = manifests.filter(({ lineage }) => lineage.id === newest.lineage.id);
  const epochMax = Math.max(...line.map(({ lineage }) => lineage.epoch));
  return { kind: "manifest", hash: newest.sha256, manifest: newest, epochMax };
}

/** Equal on every node that looks at the same file. */
const foreign = (info: StoredInfo): NewestSnapshot => ({
  kind: "foreign",
  hash: `foreign-${info.size}-${info.modifiedMs}`,
  info,
});

export interface Publication {
  readonly stream: ReadableStream<Bytes>;
  /** All but what is only known at the end. */
  readonly facts: Omit<Manifest, "version" | "key" | "size" | "sha256" | "plainBytes" | "plainSha256" | "verifiedAt">;
  /** Called when the stream has ended. */
  readonly plain: () => Promise<{ bytes: number; sha256: string }>;
  readonly nowWallMs: () => number;
  /**
   * True when a file of unknown descent at the key may be this cluster's own, from before it had manifests: it makes way,
   * and a copy of it stays in the history.
   */
  readonly mayReplaceForeign: boolean;
  readonly sha256: () => { update(data: Uint8Array): unknown; digest(form: "hex"): string };
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes a snapshot, reads it back, and only then says that it is there. Throws E2dError `snapshot_other_lineage`,
 * `snapshot_newer_epoch`, `snapshot_foreign`, `snapshot_readback`, or what the store throws.
 */
export async function publishSnapshot(place: SnapshotPlace, publication: Publication): Promise<Manifest> {
  const { store, key } = place;
  const { stream, facts, plain, sha256, signal, nowWallMs } = publication;
  const foreign = await refuseOthers(place, publication);
  if (foreign !== undefined) await keepForeign(place, foreign, publication);
  const name = `${historyOf(key)}${facts.takenAt.replace(/[-:]|\.\d+/g, "")}-${facts.revision}`;
  const hash = sha256();
  const counted = observe(stream, (chunk) => hash.update(chunk));
  const { size } = await store.write(name, counted, { signal });
  const sum = hash.digest("hex");
  await readBack(store, name, { size, sum, sha256, signal });
  const { bytes: plainBytes, sha256: plainSha256 } = await plain();
  const verifiedAt = new Date(nowWallMs()).toISOString();
  const manifest: Manifest = {
    version: 1,
    key: name,
    size,
    sha256: sum,
    plainBytes,
    plainSha256,
    verifiedAt,
    ...facts,
  };
  await store.write(`${name}${manifestSuffix}`, textStream(encodeManifest(manifest)), { signal });
  const copy = await store.read(name, signal);
  if (copy === undefined) throw new E2dError("snapshot_readback", `Cannot find "${name}" in ${store.name} again`);
  await store.write(key, copy.stream, { signal });
  return manifest;
}

/** Returns the file at the key that nobody has vouched for, when it is to make way for the first time. */
async function refuseOthers(
  place: SnapshotPlace,
  { facts, mayReplaceForeign, signal }: Publication,
): Promise<StoredInfo | undefined> {
  const newest = await newestSnapshot(place, signal);
  if (newest === undefined) return undefined;
  const where = `${place.store.name}, "${place.key}"`;
  const hint = "give this cluster a URL of its own, or restore it from there";
  if (newest.kind === "foreign") {
    // A Go node of this cluster and this node take turns beside the leader.
    const own = (await listSnapshots(place, signal)).some(({ lineage }) => lineage.id === facts.lineage.id);
    if (own) return undefined;
    if (mayReplaceForeign) return newest.info;
    throw new E2dError("snapshot_foreign", `Cannot save over the snapshot in ${where}: this cluster is not from it`, {
      hint,
    });
  }
  const { lineage } = newest.manifest;
  if (lineage.id !== facts.lineage.id) {
    throw new E2dError("snapshot_other_lineage", `Cannot save to ${where}: another cluster's snapshots are there`, {
      hint,
    });
  }
  if (newest.epochMax > facts.lineage.epoch) {
    throw new E2dError(
      "snapshot_newer_epoch",
      `Cannot save to ${where}: epoch ${newest.epochMax} is there, this cluster is epoch ${facts.lineage.epoch}`,
      { hint: "a newer life of this cluster runs somewhere: stop this one" },
    );
  }
  return undefined;
}

/** It may be the only snapshot of another cluster all the same: a copy stays, and is never removed by e2d. */
async function keepForeign(
  { store, key }: SnapshotPlace,
  { size, modifiedMs }: StoredInfo,
  { sha256, signal }: Publication,
): Promise<void> {
  const name = `${historyOf(key)}foreign-${size}-${modifiedMs}`;
  const object = await store.read(key, signal);
  if (object === undefined) return;
  const hash = sha256();
  const counted = observe(object.stream, (chunk) => hash.update(chunk));
  const written = await store.write(name, counted, { signal });
  await readBack(store, name, { size: written.size, sum: hash.digest("hex"), sha256, signal });
}

async function readBack(
  store: Store,
  key: string,
  { size, sum, sha256, signal }: Pick<Publication, "sha256" | "signal"> & { size: number; sum: string },
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

/** What a publishing that was cut off has left is of no use to anybody, once it cannot be under way any more. */
const leftoverMs = 24 * 3_600_000;
/** As publishSnapshot names them. */
const historyName = /\/\d{8}T\d{6}Z-\d+$/;

/**
 * Removes what need not be kept, of this lineage alone, and what never got its manifest; returns the manifests of what
 * it removed, or would.
 */
export async function pruneSnapshots(
  place: SnapshotPlace,
  { keep, nowMs, lineageId, dryRun = false, signal }: {
    keep: KeepPolicy;
    nowMs: number;
    /** Undefined: of every lineage, each by itself. */
    lineageId?: string;
    dryRun?: boolean;
    signal?: AbortSignal | undefined;
  },
): Promise<Manifest[]> {
  const all = await listSnapshots(place, signal);
  const removed: Manifest[] = [];
  for (const id of new Set(all.map(({ lineage }) => lineage.id))) {
    if (lineageId !== undefined && id !== lineageId) continue;
    const entries = all.filter(({ lineage }) => lineage.id === id).map((manifest) => ({
      key: manifest.key,
      takenAtMs: Date.parse(manifest.takenAt),
      epoch: manifest.lineage.epoch,
      manifest,
    }));
    removed.push(...planRetention(entries, keep, nowMs).map(({ manifest }) => manifest));
  }
  if (dryRun) return removed;
  for (const { key } of removed) {
    // The manifest goes first: without it the rest counts as nothing.
    await place.store.remove(`${key}${manifestSuffix}`, signal);
    await place.store.remove(key, signal);
  }
  if (all.length > 0) await removeLeftovers(place, nowMs, signal);
  return removed;
}

async function removeLeftovers({ store, key }: SnapshotPlace, nowMs: number, signal?: AbortSignal): Promise<void> {
  const found = await store.list(historyOf(key), signal);
  const names = new Set(found.map((info) => info.key));
  for (const { key: name, modifiedMs } of found) {
    const isLeftover = historyName.test(name) && !names.has(`${name}${manifestSuffix}`);
    if (isLeftover && nowMs - modifiedMs > leftoverMs) await store.remove(name, signal);
  }
}

/** What lib/core's catalogue is made of; never throws. */
export async function readCatalogue(place: SnapshotPlace, signal?: AbortSignal): Promise<
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly code: string; readonly why: string; readonly hint?: string }
  | {
    readonly kind: "newest";
    readonly hash: string;
    readonly revision: number;
    readonly lineage?: Manifest["lineage"];
    readonly takenAtWallMs: number;
    readonly verified: boolean;
    readonly verifiedAtWallMs?: number;
    readonly epochMax: number;
  }
> {
  try {
    const newest = await newestSnapshot(place, signal);
    if (newest === undefined) return { kind: "absent" };
    const { hash } = newest;
    if (newest.kind === "foreign") {
      const { modifiedMs } = newest.info;
      return { kind: "newest", hash, revision: 0, takenAtWallMs: modifiedMs, verified: false, epochMax: 0 };
    }
    const { manifest: { revision, lineage, takenAt, verifiedAt }, epochMax } = newest;
    const [takenAtWallMs, verifiedAtWallMs] = [Date.parse(takenAt), Date.parse(verifiedAt)];
    return { kind: "newest", hash, revision, lineage, takenAtWallMs, verified: true, verifiedAtWallMs, epochMax };
  } catch (error) {
    const code = isE2dError(error) ? error.code : "unexpected";
    const { text: why, hint } = wordsOf(error);
    return { kind: "unreadable", code, why, ...(hint === undefined ? {} : { hint }) };
  }
}

const smallMaxBytes = 1_048_576;

async function readSmall(store: Store, key: string, signal?: AbortSignal): Promise<Bytes | undefined> {
  const object = await store.read(key, signal);
  if (object === undefined) return undefined;
  if (object.size > smallMaxBytes) {
    await object.stream.cancel();
    throw new E2dError("manifest_unreadable", `Cannot read manifest "${key}": it is too long to be one`);
  }
  return new Uint8Array(await new Response(object.stream).arrayBuffer());
}

function textStream(text: string): ReadableStream<Bytes> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
  });
}
