/**
 * Restores the data-dir of one node: fetches and verifies the source that the initial members agreed on (a snapshot in the
 * store or a survivor's export), and creates the data-dir from it. Nothing is restored before it is verified.
 */
import { E2dError } from "../../errors.ts";
import type { BootstrapPlan, Lineage } from "../../core/facts/node_record.ts";
import { inspectDataDir } from "../../etcd/data/data_dir.ts";
import { oldestEtcdFor, readDatabase } from "../../etcd/data/database.ts";
import { restoreSnapshot } from "../../etcd/restore/restore.ts";
import { explainDamage, listSnapshots, newestSnapshot, objectKeyOf, type Publication } from "../../snapshot/lookup.ts";
import { fetchSnapshot, requireSpace } from "../../snapshot/pipeline.ts";
import { verifySnapshot } from "../../snapshot/verified_file.ts";
import { undescribed } from "../../snapshot/trust.ts";
import { withoutUndefined } from "../../without_undefined.ts";
import {
  type SnapshotPorts,
  type StoreSnapshotOptions,
  trustedPlace,
  trustOf,
  unconfigured,
} from "./snapshot_options.ts";
import type { WorkFiles } from "./work_files.ts";

type Bytes = Uint8Array<ArrayBuffer>;

type RestoredFrom = NonNullable<Publication["restoredFrom"]>;

export class Restore {
  readonly #options: StoreSnapshotOptions;
  readonly #ports: SnapshotPorts;
  readonly #work: WorkFiles;
  readonly #signal: AbortSignal;
  /** ISO 8601. Undefined when an earlier process fetched the source, or when a survivor provides it. */
  #sourceTakenAt: string | undefined;

  /** `signal` aborts a running fetch or restore. */
  constructor(options: StoreSnapshotOptions, ports: SnapshotPorts, work: WorkFiles, signal: AbortSignal) {
    this.#options = options;
    this.#ports = ports;
    this.#work = work;
    this.#signal = signal;
  }

  /** See SnapshotAdapter.prepareSource. */
  async prepareSource(plan: BootstrapPlan, from: string | undefined): Promise<string> {
    const { source } = plan;
    const path = this.#work.preparedPath(plan);
    await this.#work.require();
    // The exporter seals its data when there is a secret (see SurvivorExport), so nothing unsealed comes from it.
    const sum = source.kind === "survivor"
      ? await this.#verifyInto(await this.#fetchExport(from), path, this.#options.keys().secret !== undefined)
      : await this.#fetchStored(source, path);
    this.#ports.log.info("fetched and verified the source of the restore", { sha256: sum, source: source.kind });
    return sum;
  }

  /** See SnapshotAdapter.restoreData. */
  async restoreData(plan: BootstrapPlan): Promise<void> {
    const { self, dataDir, programs } = this.#options;
    const { files, log, clock } = this.#ports;
    const done = this.#work.donePath(plan.lineage);
    if (await files.info(done) !== undefined) {
      const made = await inspectDataDir(dataDir, this.#ports);
      if (made.kind === "valid") {
        await programs(made.etcdAtLeast);
        return;
      }
    }
    const snapshotPath = this.#work.preparedPath(plan);
    const info = await files.info(snapshotPath);
    if (info === undefined) {
      throw new E2dError("not_prepared", `Cannot restore "${snapshotPath}": the file does not exist`, {
        hint: plan.source.kind === "snapshot"
          ? "it is fetched again automatically"
          : `copy it from the same folder of another initial member of the new cluster`,
      });
    }
    await requireSpace(`${dataDir}/member`, info.size, this.#ports.staging);
    const held = await readDatabase(snapshotPath, this.#ports.reader);
    const chosen = await programs(held && oldestEtcdFor(held));
    const startedMs = clock.monotonicMs();
    const { data, revisionBumped } = await restoreSnapshot(
      {
        programs: chosen,
        snapshotPath,
        dataDir,
        name: self.name,
        peerUrl: self.peerUrl,
        initialCluster: plan.initialMembers.map(({ name, peerUrl }) => ({ name, peerUrl })),
        token: plan.lineage.token,
        // Snapshots of the Go original have no checksum of etcd; all others were verified when they were fetched.
        skipHashCheck: info.size % 512 !== 32,
      },
      this.#ports,
      this.#signal,
    );
    await files.writeAtomic(done, JSON.stringify(restoredFrom(plan.source) ?? {}), { mode: 0o600 });
    // Also databases for other bootstraps: they are void once this one is done.
    await this.#work.removePrepared();
    const { source } = plan;
    log.warn("restored", {
      source: source.kind,
      revision: source.kind === "empty" ? undefined : source.revision,
      takenAt: this.#sourceTakenAt,
      epoch: plan.lineage.epoch,
      clusterId: data.clusterId,
      tookMs: Math.round(clock.monotonicMs() - startedMs),
      lost: source.kind === "survivor"
        ? "a minority cannot prove that nothing was lost: writes after its last contact with the others may be missing"
        : "all writes after the snapshot was taken",
      watchers: revisionBumped
        ? "revisions were increased and marked compacted: watchers resynchronize automatically"
        : "this etcd cannot increase revisions: restart watchers and caches",
    });
  }

  /** Undefined on a node that joined: an initial member writes the source into the manifests once it leads. */
  async restoredFrom(lineage: Lineage): Promise<RestoredFrom | undefined> {
    try {
      const text = await this.#ports.files.readText(this.#work.donePath(lineage)) ?? "";
      const value = JSON.parse(text) as Partial<RestoredFrom> | null;
      const { sha256, revision } = value ?? {};
      if (!Number.isSafeInteger(revision) || sha256 !== undefined && !/^[0-9a-f]{64}$/.test(sha256)) return undefined;
      return { revision: revision!, ...withoutUndefined({ sha256 }) };
    } catch {
      // An older e2d wrote an empty mark. The epochs in the store show the descent as well.
      return undefined;
    }
  }

  async #fetchStored(source: BootstrapPlan["source"], path: string): Promise<string> {
    const { place } = this.#options;
    if (place === undefined || source.kind !== "snapshot") throw unconfigured();
    const signal = this.#signal;
    const trust = trustOf(this.#options);
    const manifest = (await listSnapshots(place, signal)).find(({ sha256 }) => sha256 === source.hash);
    const newest = manifest === undefined ? await newestSnapshot(place, signal) : undefined;
    const unmanaged = newest?.kind === "unmanaged" && newest.hash === source.hash ? newest.info : undefined;
    if (manifest === undefined && unmanaged === undefined) {
      throw new E2dError(
        "snapshot_gone",
        `Cannot restore from ${place.store.name}: the agreed snapshot does not exist any more`,
        {
          hint: "the initial members look up the store again and agree on a snapshot that exists",
        },
      );
    }
    if (manifest === undefined && trust.requireSealed) throw undescribed(place.key);
    this.#sourceTakenAt = manifest?.takenAt ?? new Date(unmanaged!.modifiedMs).toISOString();
    const choice = { key: manifest === undefined ? place.key : objectKeyOf(place.key, manifest), manifest };
    // Disk space for two copies: this file, and the data-dir beside it.
    try {
      return (await fetchSnapshot(place, choice, { trust, path, copies: 2, signal }, this.#ports)).sha256;
    } catch (error) {
      throw await explainDamage(error, trustedPlace(place, this.#options), choice.key, signal);
    }
  }

  async #fetchExport(from: string | undefined): Promise<ReadableStream<Bytes>> {
    if (from === undefined) throw new E2dError("offer_missing", "Cannot fetch the survivor's data: it exports none");
    const { http } = this.#ports;
    try {
      const response = await http(from, { signal: this.#signal });
      if (response.ok && response.body !== null) return response.body as ReadableStream<Bytes>;
      await response.body?.cancel();
      throw new E2dError("offer_refused", `Cannot fetch the survivor's data: status ${response.status}`);
    } catch (cause) {
      if (cause instanceof E2dError) throw cause;
      throw new E2dError("offer_unreachable", "Cannot fetch the survivor's data: it does not answer", { cause });
    }
  }

  /** Returns the SHA-256 of the plain database, which is then at `path`. */
  async #verifyInto(source: ReadableStream<Uint8Array>, path: string, requireSealed: boolean): Promise<string> {
    const { staging, codec } = this.#ports;
    const kept = { path, staging };
    return (await verifySnapshot(source, { keys: this.#options.keys(), requireSealed, kept, codec })).sha256;
  }
}

/** Undefined for an unmanaged snapshot: it names no life. */
function restoredFrom(source: BootstrapPlan["source"]): RestoredFrom | undefined {
  if (source.kind === "survivor") return { revision: source.revision };
  if (source.kind === "empty" || !/^[0-9a-f]{64}$/.test(source.hash)) return undefined;
  return { sha256: source.hash, revision: source.revision };
}
