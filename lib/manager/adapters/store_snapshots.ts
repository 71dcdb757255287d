/**
 * Adapter between the core and the snapshot store: saves snapshots of the own etcd and looks up the newest one. Delegates
 * restores to Restore and the export of a survivor to SurvivorExport.
 */
import { createHash } from "node:crypto";
import { describeError, E2dError } from "../../errors.ts";
import type { Effect } from "../../core/facts/effect.ts";
import { isCopy } from "../../core/evidence/lineage.ts";
import type { EtcdStatus } from "../../facts/etcd.ts";
import {
  isNewestOfItsLife,
  keepLastCopy,
  latestSnapshot,
  pruneSnapshots,
  type Published,
  publishSnapshot,
  type SnapshotPlace,
  unreadable,
} from "../../snapshot/lookup.ts";
import type { Manifest } from "../../snapshot/manifest.ts";
import { authenticateManifest } from "../../snapshot/manifest_mac.ts";
import type { SnapshotKeys } from "../../snapshot/format/unseal.ts";
import {
  copyNewest,
  type DatabaseStream,
  requireSealedObject,
  tidyStore,
  withDatabase,
} from "../../snapshot/pipeline.ts";
import { watchedStore } from "../../snapshot/progress.ts";
import { undescribed } from "../../snapshot/trust.ts";
import type { SnapshotConfig } from "../node_config.ts";
import { Restore } from "./restore.ts";
import {
  type SnapshotPorts,
  type StoreSnapshotOptions,
  trustedPlace,
  trustOf,
  unconfigured,
  wrapDatabase,
} from "./snapshot_options.ts";
import { StoreLookup } from "./store_lookup.ts";
import { SurvivorExport } from "./survivor_export.ts";
import { WorkFiles } from "./work_files.ts";
import type { SnapshotAdapter } from "./snapshot_adapter.ts";
import type { SnapshotLookup } from "../../core/facts/snapshot_lookup.ts";
import type { BootstrapPlan } from "../../core/facts/node_record.ts";

export class StoreSnapshots implements SnapshotAdapter {
  readonly #options: StoreSnapshotOptions;
  readonly #ports: SnapshotPorts;
  readonly #closing = new AbortController();
  /** A saved snapshot whose copy at the key is still missing. */
  #uncopied: Manifest | undefined;
  /** Aborts the running snapshot. */
  #taking: AbortController | undefined;
  readonly #work: WorkFiles;
  readonly #restore: Restore;
  readonly #export: SurvivorExport;
  readonly #lookups: StoreLookup<LookupResult> | undefined;

  constructor(options: StoreSnapshotOptions, ports: SnapshotPorts) {
    this.#options = options;
    this.#ports = ports;
    this.#lookups = options.place && new StoreLookup(options.place, ports);
    this.#work = new WorkFiles(options.dataDir, ports);
    this.#restore = new Restore(options, ports, this.#work, this.#closing.signal);
    this.#export = new SurvivorExport(options, ports, this.#work, this.#closing.signal);
  }

  async latestSnapshot(): Promise<LookupResult> {
    if (this.#lookups === undefined) return { kind: "unconfigured" };
    try {
      return await this.#lookups.run((place, signal) => this.#lookUp(place, signal), this.#closing.signal);
    } catch (error) {
      return unreadable(error);
    }
  }

  async #lookUp(place: SnapshotPlace, signal: AbortSignal): Promise<LookupResult> {
    const trust = trustOf(this.#options);
    const found = await latestSnapshot(this.#trusted(place), signal);
    if (found.kind !== "newest" || found.verified || !trust.requireSealed) return found;
    // An unmanaged snapshot: its first bytes show whether it is sealed.
    try {
      await requireSealedObject(place, signal);
      throw undescribed(place.key);
    } catch (error) {
      return unreadable(error);
    }
  }

  async take(effect: Extract<Effect, { kind: "takeSnapshot" }>): Promise<{ revision: number; saved: boolean }> {
    const { place, client, self } = this.#options;
    const { log } = this.#ports;
    const closing = this.#closing.signal;
    if (place === undefined) throw unconfigured();
    const status = await client.status(self.clientUrl);
    if (status.revision <= effect.lastRevision) return { revision: status.revision, saved: false };
    if (this.#uncopied !== undefined && status.revision <= this.#uncopied.revision) {
      await this.#copyAgain(place, this.#uncopied);
      return { revision: status.revision, saved: true };
    }
    this.#uncopied = undefined;
    const abort = new AbortController();
    this.#taking = abort;
    const signal = AbortSignal.any([closing, abort.signal]);
    try {
      const spoolPath = await this.#spoolPath();
      const { manifest, conflict, ownsKey, rolledBack } = await withDatabase(
        {
          open: (signal) => client.snapshot(self.clientUrl, { signal }),
          expectedBytes: status.dbSizeBytes,
          spoolPath,
          signal,
        },
        (database, progress, signal) =>
          this.#publish({ ...place, store: watchedStore(place.store, progress) }, { effect, status, database, signal }),
        this.#ports,
      );
      if (conflict !== undefined) log.debug("another cluster or life saves to the same store", { ...conflict });
      const { key, revision, size: bytes, format } = manifest;
      log.info("saved a snapshot", { key, revision, bytes, format });
      if (rolledBack !== undefined) this.#reportRollback(rolledBack.from, manifest);
      if (ownsKey) this.#uncopied = manifest;
    } finally {
      this.#taking = undefined;
    }
    const copied = await this.#copyPending(place).then(() => undefined, (error) => ({ error }));
    closing.throwIfAborted();
    await tidyStore(place, (store, signal) => this.#prune({ ...place, store }, effect, signal), this.#ports, closing);
    if (copied !== undefined) throw copied.error;
    return { revision: status.revision, saved: true };
  }

  /** Called once per rollback: the next snapshot continues the branch that this one began. */
  #reportRollback(from: Manifest, { revision, branch }: Manifest): void {
    const text =
      `a disk was rolled back: the store has revision ${from.revision} of this cluster's life, taken at ${from.takenAt}, ` +
      `and its data is at revision ${revision}; snapshots continue as another branch`;
    this.#ports.log.error(text, {
      reason: "snapshot_rolled_back",
      branch,
      hint:
        "both branches are kept: compare them with e2d snapshot list. To use the data of the abandoned branch, stop the " +
        `cluster and restore it by name: e2d snapshot restore --snapshot ${from.key.split("/").at(-1)}`,
    });
  }

  /** Throws E2dError `snapshot_copy_failed`; the copy stays pending. */
  async #copyPending(place: SnapshotPlace): Promise<void> {
    if (this.#uncopied === undefined) return;
    await copyNewest(place, this.#uncopied, this.#ports, this.#closing.signal);
    this.#uncopied = undefined;
  }

  /** Repeats only the copy of an already saved snapshot, unless another life has saved since. */
  async #copyAgain(place: SnapshotPlace, manifest: Manifest): Promise<void> {
    const nowMs = this.#ports.clock.wallMs();
    const isNewest = await isNewestOfItsLife(this.#trusted(place), manifest, nowMs, this.#closing.signal);
    if (!isNewest) this.#uncopied = undefined;
    else await keepLastCopy(place, { sha256: () => createHash("sha256"), signal: this.#closing.signal });
    await this.#copyPending(place);
  }

  #trusted(place: SnapshotPlace): SnapshotPlace {
    return trustedPlace(place, this.#options);
  }

  async #prune(place: SnapshotPlace, { lineage }: { lineage: { id: string } }, signal: AbortSignal): Promise<void> {
    const { keepHourly: hourly, keepDaily: daily } = this.#options.config;
    const { clock, log } = this.#ports;
    const keep = { hourly, daily };
    const removed = await pruneSnapshots(this.#trusted(place), {
      keep,
      nowMs: clock.wallMs(),
      lineageId: lineage.id,
      signal,
    });
    if (removed.length > 0) {
      log.debug("removed snapshots outside the retention policy", { keys: removed.map(({ key }) => key) });
    }
  }

  abortTake(): void {
    this.#taking?.abort(
      new E2dError(
        "snapshot_aborted",
        "Cannot save a snapshot now: etcd's database is full, and space is reclaimed first",
      ),
    );
  }

  /** Undefined when the work folder is not safe for a plaintext database. */
  async #spoolPath(): Promise<string | undefined> {
    try {
      await this.#work.require();
      return this.#work.spoolPath;
    } catch (error) {
      this.#ports.log.warn("streaming the snapshot without a local copy", { error: describeError(error) });
      return undefined;
    }
  }

  async #publish(
    place: SnapshotPlace,
    { effect, status, database, signal }: {
      effect: Extract<Effect, { kind: "takeSnapshot" }>;
      status: EtcdStatus;
      database: DatabaseStream;
      signal: AbortSignal;
    },
  ): Promise<Published> {
    const { config, origin, client, self } = this.#options;
    const { clock, random } = this.#ports;
    const keys = this.#options.keys();
    const sealed = config.encryption;
    const format = formatOf(config.format, effect.format, sealed, keys);
    const compression = sealed && !config.compressBeforeEncryption ? "none" : config.compression;
    const takenAt = new Date(clock.wallMs()).toISOString();
    // A manifest has its own record of the descent.
    const { from: _, ...ownLineage } = effect.lineage;
    const facts = {
      clusterId: status.clusterId,
      lineage: ownLineage,
      revision: status.revision,
      etcdVersion: status.version,
      takenAt,
    };
    const { totalBytes } = database;
    const { stream, etcdSum } = wrapDatabase(
      database.stream,
      { facts: { ...facts, plainBytes: totalBytes }, format, compression, sealed },
      this.#options,
      this.#ports,
    );
    return await publishSnapshot(this.#trusted(place), {
      stream,
      facts: {
        ...facts,
        format: format === "v2" ? "v2" : sealed ? "go-v1" : "plain",
        compression: format === "v2" || !sealed ? compression : "none",
        sealed,
      },
      currentRevision: (signal) => client.currentRevision(self.clientUrl, { signal }),
      restoredFrom: await this.#restore.restoredFrom(effect.lineage),
      plain: async () => ({ bytes: totalBytes, sha256: (await etcdSum).sha256 }),
      authenticate: sealed
        ? (manifest) => authenticateManifest(manifest, keys.recipients, (length) => random.bytes(length))
        : undefined,
      nowWallMs: () => clock.wallMs(),
      mayReplaceUnmanaged: !isCopy(effect.lineage) && (effect.lineage.epoch === 0 || origin() === "restored"),
      sha256: () => createHash("sha256"),
      signal,
    });
  }

  prepareSource(plan: BootstrapPlan, from: string | undefined): Promise<string> {
    return this.#restore.prepareSource(plan, from);
  }

  restoreData(plan: BootstrapPlan): Promise<void> {
    return this.#restore.restoreData(plan);
  }

  exportSurvivor(plan: BootstrapPlan): Promise<{ hash: string; revision: number; url: string }> {
    return this.#export.export(plan);
  }

  async close(): Promise<void> {
    this.#closing.abort(new E2dError("e2d_stops", "e2d stops, and what it saved or fetched is discarded"));
    await this.#export.close();
    await this.#work.close();
  }
}

type LookupResult = Exclude<SnapshotLookup, { kind: "unknown" }>;

/** The Go original cannot read snapshots that are sealed only for key files: it has no such key. */
function formatOf(
  configured: SnapshotConfig["format"],
  asked: "v2" | "go-v1",
  sealed: boolean,
  { secret }: SnapshotKeys,
): "v2" | "go-v1" {
  if (configured !== "auto") return configured;
  return sealed && secret === undefined ? "v2" : asked;
}
