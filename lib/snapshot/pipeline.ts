/**
 * Transfers snapshots: etcd → spool file → seal → store, and store → verification → plain file; for the manager and the
 * command line. Must never hold etcd's read transaction open while it waits for a store: the transaction pins every page
 * that is rewritten in the meantime, and the database grows until etcd refuses writes (NOSPACE).
 */
import { withoutUndefined } from "../without_undefined.ts";
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Logger, Staging } from "../ports.ts";
import type { Store } from "../storage/store.ts";
import { objectKeyOf, openStored, type SnapshotPlace } from "./history.ts";
import type { Manifest } from "./manifest.ts";
import { type Progress, watchedStore, watchProgress } from "./progress.ts";
import type { Codec } from "./format/codec.ts";
import { requireSealedStream } from "./format/unseal.ts";
import { type VerifiedSnapshot, verifySnapshot } from "./verified_file.ts";
import { copyToKey } from "./publish.ts";
import { requireTrusted, type SnapshotTrust } from "./trust.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface DatabaseStream {
  readonly stream: ReadableStream<Bytes>;
  /** Exact size of the database and etcd's checksum. */
  readonly totalBytes: number;
}

export interface SpoolRequest {
  /** Opens etcd's snapshot stream. */
  readonly open: (signal: AbortSignal) => Promise<DatabaseStream>;
  /** Size of the database as etcd reports it before the transfer. */
  readonly expectedBytes: number;
  /** In a work folder. Undefined: no safe one exists, so the snapshot is streamed. */
  readonly spoolPath: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface PipelinePorts {
  readonly clock: Clock;
  readonly log: Logger;
  readonly staging: Pick<Staging, "append" | "read" | "remove" | "freeBytes">;
}

/** etcd sends while the reader reads: a stall of this length is a dead connection or a dead disk. */
const copyLimits = { warnAfterMs: 20_000, giveUpAfterMs: 30_000 };
/** Stores confirm a part of an upload when all of it has arrived: minutes on a slow line. */
const uploadLimits = { warnAfterMs: 55_000, giveUpAfterMs: 600_000 };
/** Shorter than for uploads, because etcd's read transaction is open. */
const streamLimits = { warnAfterMs: 30_000, giveUpAfterMs: 60_000 };

/** Longer than the timeouts and retries of a store. */
const fetchLimits = { warnAfterMs: 30_000, giveUpAfterMs: 300_000 };

/** Free space to leave for etcd and others after a copy of a database. */
export const reserveBytes = (bytes: number) => Math.max(256 * 1_048_576, Math.ceil(bytes / 10));

/**
 * Passes the database to `use`, from a local copy if the disk has room for one: etcd's stream is then closed before `use`
 * begins. `use` must report its progress (watchedStore). Always removes the copy. Throws E2dError `snapshot_stalled`, the
 * errors of `open`, `use` and Staging, or the signal's reason.
 */
export async function withDatabase<T>(
  request: SpoolRequest,
  use: (database: DatabaseStream, progress: Progress, signal: AbortSignal) => Promise<T>,
  ports: PipelinePorts,
): Promise<T> {
  const { staging, log, clock } = ports;
  const { open, signal, expectedBytes } = request;
  const spoolPath = await roomFor(request, ports) ? request.spoolPath : undefined;
  if (spoolPath === undefined) {
    log.debug("streams the snapshot: there is no room for a local copy", { bytes: expectedBytes });
    return await watchProgress(
      async (progress, signal) => await use(await open(signal), progress, signal),
      { ...streamLimits, action: "save a snapshot", clock, log, signal },
    );
  }
  try {
    const totalBytes = await watchProgress(
      (progress, signal) => copyDatabase(open, spoolPath, staging, progress, signal),
      { ...copyLimits, action: "copy the database out of etcd", clock, log, signal },
    );
    return await watchProgress(
      async (progress, signal) => {
        const stream = await staging.read(spoolPath);
        if (stream === undefined) throw new E2dError("file_read", `Cannot read "${spoolPath}": it is gone`);
        return await use({ stream, totalBytes }, progress, signal);
      },
      { ...uploadLimits, action: "save a snapshot", clock, log, signal },
    );
  } finally {
    await staging.remove(spoolPath);
  }
}

async function roomFor({ spoolPath, expectedBytes }: SpoolRequest, { staging }: PipelinePorts): Promise<boolean> {
  if (spoolPath === undefined) return false;
  const free = await freeFor(spoolPath, staging);
  return free !== undefined && free >= expectedBytes + reserveBytes(expectedBytes);
}

async function copyDatabase(
  open: SpoolRequest["open"],
  path: string,
  staging: PipelinePorts["staging"],
  progress: Progress,
  signal: AbortSignal,
): Promise<number> {
  await staging.remove(path);
  const { stream, totalBytes } = await open(signal);
  const file = await staging.append(path, { mode: 0o600 });
  try {
    for await (const chunk of stream) {
      signal.throwIfAborted();
      progress.made(chunk.length);
      await file.append(chunk);
    }
  } finally {
    file.close();
  }
  return totalBytes;
}

/**
 * Copies a snapshot of the history to the key. Throws E2dError `snapshot_copy_failed`, with what the store threw as its
 * cause, or the signal's reason.
 */
export async function copyNewest(
  place: SnapshotPlace,
  manifest: Manifest,
  { clock, log }: Pick<PipelinePorts, "clock" | "log">,
  signal: AbortSignal,
): Promise<void> {
  const { store, key } = place;
  try {
    await watchProgress(
      (progress, signal) => copyToKey({ ...place, store: watchedStore(store, progress) }, manifest, signal),
      { ...uploadLimits, action: `copy a snapshot to "${key}"`, clock, log, signal },
    );
  } catch (cause) {
    signal.throwIfAborted();
    throw new E2dError(
      "snapshot_copy_failed",
      `Cannot copy snapshot "${objectKeyOf(key, manifest)}" to "${key}" in ${store.name}: ${describeError(cause)}`,
      {
        cause,
        hint: "the snapshot itself is saved; the copy alone is tried again after --snapshot-interval. " +
          `Check that the credentials allow to write "${key}"`,
      },
    );
  }
}

/** An upload older than this is not running. */
const cutWriteMs = 24 * 3_600_000;

/**
 * Removes old snapshots (`prune`) and the rest of interrupted uploads after a save. Throws only the signal's reason: the
 * snapshot is saved, and a store may refuse deletions on purpose.
 */
export async function tidyStore(
  { store, key }: SnapshotPlace,
  prune: (store: Store, signal: AbortSignal) => Promise<void>,
  { clock, log }: Pick<PipelinePorts, "clock" | "log">,
  signal: AbortSignal,
): Promise<void> {
  try {
    await watchProgress(
      async (progress, signal) => {
        const watched = watchedStore(store, progress);
        await prune(watched, signal);
        for (const prefix of [key, `${key}.history/`]) {
          await watched.removeCutWrites?.(prefix, clock.wallMs() - cutWriteMs, signal);
        }
      },
      { ...fetchLimits, action: "remove old snapshots", clock, log, signal },
    );
  } catch (error) {
    signal.throwIfAborted();
    log.warn("cannot remove snapshots that need not be kept; the new one is saved", { error: describeError(error) });
  }
}

export interface StoredChoice {
  readonly key: string;
  /** Undefined: the snapshot is unmanaged. */
  readonly manifest: Manifest | undefined;
  /** True if an operator named it: a manifest without a MAC is accepted. */
  readonly named?: boolean | undefined;
}

export interface FetchOptions {
  readonly trust: SnapshotTrust;
  /** Target of the plain database. Undefined: it is only read. */
  readonly path: string | undefined;
  /** Required free space at `path` in multiples of the size of the database; default 1. */
  readonly copies?: number | undefined;
  /** True: the object of the history itself is read, and the copy at the key never takes its place. */
  readonly ownObjectOnly?: boolean | undefined;
  readonly onProgress?: ((plainBytes: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a whole snapshot and verifies it against its manifest. If the object is damaged and the copy at the key is the
 * described snapshot, it uses the copy. Throws E2dError `snapshot_gone`, `snapshot_stalled`, the errors of requireTrusted,
 * requireSpace and verifySnapshot, or the signal's reason.
 */
export async function fetchSnapshot(
  place: SnapshotPlace,
  { key, manifest, named = false }: StoredChoice,
  options: FetchOptions,
  { staging, clock, log, codec }: {
    readonly staging: Staging;
    readonly clock: Clock;
    readonly log: Logger;
    /** Default: on this thread. */
    readonly codec?: Codec | undefined;
  },
): Promise<VerifiedSnapshot> {
  const { trust, path, copies = 1, ownObjectOnly = false, onProgress, signal } = options;
  if (manifest !== undefined) requireTrusted(manifest, named ? { ...trust, requireSealed: false } : trust);
  const plainBytes = manifest?.plainBytes;
  if (path !== undefined && plainBytes !== undefined) await requireSpace(path, plainBytes * copies, staging);
  const free = path === undefined || plainBytes !== undefined ? undefined : await freeFor(path, staging);
  return await watchProgress(
    async (progress, signal) => {
      const watched = { ...place, store: watchedStore(place.store, progress) };
      const verify = (stream: ReadableStream<Bytes>, readKey: string) =>
        verifySnapshot(stream, {
          keys: trust.keys,
          requireSealed: trust.requireSealed,
          manifest,
          codec,
          ...(free === undefined ? {} : { maxBytes: Math.max(0, Math.floor((free - reserveBytes(0)) / copies)) }),
          ...(path === undefined ? {} : { kept: { path, staging } }),
          ...withoutUndefined({ onProgress }),
        }).catch((error) => {
          throw withObjectName(error, place.store, readKey);
        });
      if (manifest === undefined) {
        return await verify((await watched.store.read(key, signal) ?? gone(place, key)).stream, key);
      }
      if (ownObjectOnly) return await verifyObject(watched, manifest, verify, signal);
      return await verifyStored(watched, manifest, verify, log, signal);
    },
    { ...fetchLimits, action: "read a snapshot", clock, log, signal },
  );
}

function gone({ store }: SnapshotPlace, key: string): never {
  throw new E2dError("snapshot_gone", `Cannot read "${key}" in ${store.name}: it is gone`, {
    hint: "e2d snapshot list shows what is there",
  });
}

type Verify = (stream: ReadableStream<Bytes>, readKey: string) => Promise<VerifiedSnapshot>;

/** Verifies the object of the history. Where it is damaged and the copy at the key is whole, the error's hint tells so. */
async function verifyObject(
  place: SnapshotPlace,
  manifest: Manifest,
  verify: Verify,
  signal: AbortSignal,
): Promise<VerifiedSnapshot> {
  const { store, key } = place;
  const objectKey = objectKeyOf(key, manifest);
  try {
    return await verify((await store.read(objectKey, signal) ?? gone(place, objectKey)).stream, objectKey);
  } catch (error) {
    signal.throwIfAborted();
    if (!isDamage(error) || await verifyCopy(place, manifest, verify, signal) === undefined) throw error;
    throw new E2dError(error.code, error.message, {
      cause: error.cause,
      hint: `the copy at "${key}" is whole, and a restore uses it: copy it to "${objectKey}"`,
    });
  }
}

const isDamage = (error: unknown): error is E2dError => isE2dError(error) && error.code.startsWith("snapshot_");

/** Undefined: the file at the key is not what the manifest describes. Throws the signal's reason. */
async function verifyCopy(
  { store, key }: SnapshotPlace,
  manifest: Manifest,
  verify: Verify,
  signal: AbortSignal,
): Promise<VerifiedSnapshot | undefined> {
  const copy = (await store.info(key, signal))?.size === manifest.size ? await store.read(key, signal) : undefined;
  return copy && await verify(copy.stream, key).catch(() => {
    signal.throwIfAborted();
    return undefined;
  });
}

/** Verifies the object, and if that fails the copy at the key against the same manifest. */
async function verifyStored(
  place: SnapshotPlace,
  manifest: Manifest,
  verify: Verify,
  log: Pick<Logger, "warn">,
  signal: AbortSignal,
): Promise<VerifiedSnapshot> {
  const { key } = place;
  const objectKey = objectKeyOf(key, manifest);
  const object = await openStored(place, manifest, signal) ?? gone(place, objectKey);
  try {
    return await verify(object.stream, object.key);
  } catch (error) {
    signal.throwIfAborted();
    if (!isDamage(error) || object.key === key) throw error;
    const verified = await verifyCopy(place, manifest, verify, signal);
    if (verified === undefined) throw error;
    log.warn("the object of this snapshot is damaged: took its copy, which is what the manifest describes", {
      key: objectKey,
      copy: key,
      error: describeError(error),
    });
    return verified;
  }
}

/** Reads the start of the file at the key. Throws E2dError `snapshot_unsealed`, or what the store throws. */
export async function requireSealedObject({ store, key }: SnapshotPlace, signal?: AbortSignal): Promise<void> {
  const object = await store.read(key, signal);
  if (object === undefined) return;
  await requireSealedStream(object.stream).catch((error) => {
    throw withObjectName(error, store, key);
  });
}

/** Readers of formats do not know which object they read: their errors call it "the snapshot". */
function withObjectName(error: unknown, { name }: Pick<Store, "name">, key: string): unknown {
  if (!isE2dError(error) || !error.message.includes(unnamed)) return error;
  const { code, message, cause, hint } = error;
  return new E2dError(code, message.replace(unnamed, ` snapshot "${key}" in ${name}: `), {
    cause,
    ...withoutUndefined({ hint }),
  });
}

const unnamed = " the snapshot: ";

/** Free bytes on the disk of `path`, whose folder may not exist yet. */
async function freeFor(path: string, staging: Pick<Staging, "freeBytes">): Promise<number | undefined> {
  for (let at = path.lastIndexOf("/"); at >= 0; at = path.lastIndexOf("/", at - 1)) {
    const free = await staging.freeBytes(path.slice(0, at) || "/");
    if (free !== undefined || at === 0) return free;
  }
  return undefined;
}

/** Throws E2dError `no_space` if the disk of `path` has less free space. Unknown free space is accepted. */
export async function requireSpace(
  path: string,
  bytes: number,
  staging: Pick<Staging, "freeBytes">,
): Promise<void> {
  const free = await freeFor(path, staging);
  if (free === undefined || free >= bytes) return;
  throw new E2dError("no_space", `Cannot restore to "${path}": its disk has ${free} bytes free, ${bytes} are needed`, {
    hint: "free space on that disk, then try again",
  });
}
