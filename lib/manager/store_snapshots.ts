/**
 * Snapshots for the core: taken from the own etcd into the store, looked up there, fetched and proven before a restore;
 * and a survivor's own data handed to the other founders. What lies on this machine for a while (a database on its way
 * into a data-dir) is in `<data-dir>.e2d.work`, readable for this user alone, and goes when it has served.
 */
import { createHash } from "node:crypto";
import { describeError, E2dError } from "../errors.ts";
import type { Clock, FileReader, Files, Http, Logger, Processes, Random, Staging } from "../ports.ts";
import type { Effect } from "../core/effect.ts";
import type { Catalogue, Founding } from "../core/view.ts";
import type { EtcdClient } from "../etcd/client.ts";
import { copyForExport } from "../etcd/copy_data_dir.ts";
import { inspectDataDir } from "../etcd/data_dir.ts";
import { oldestEtcdFor, readDatabase } from "../etcd/data_dir_database.ts";
import type { EtcdPrograms } from "../etcd/provider.ts";
import { restoreSnapshot } from "../etcd/restore.ts";
import { exportFromCopy } from "../etcd/survivor.ts";
import {
  listSnapshots,
  newestSnapshot,
  pruneSnapshots,
  publishSnapshot,
  readCatalogue,
  type SnapshotPlace,
} from "../snapshot/catalogue.ts";
import { checkEtcdSum } from "../snapshot/etcd_sum.ts";
import { untilServed } from "../snapshot/offer.ts";
import type { SnapshotKeys } from "../snapshot/open.ts";
import { proveSnapshot } from "../snapshot/proven_file.ts";
import type { SnapshotFacts } from "../snapshot/v2.ts";
import { type WrapOptions, wrapSnapshot } from "../snapshot/wrap.ts";
import type { SnapshotConfig } from "./node_config.ts";
import { workPath } from "./place.ts";
import type { SnapshotSide } from "./snapshot_side.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SnapshotPorts {
  readonly clock: Clock;
  readonly random: Random;
  readonly files: Files;
  readonly staging: Staging;
  readonly reader: FileReader;
  readonly processes: Processes;
  readonly http: Http;
  readonly log: Logger;
  /** Listens on an address that the other nodes reach, at any free port. */
  readonly serveHttp: (
    at: { host: string; port: number },
    handler: (request: Request) => Response | Promise<Response>,
  ) => { readonly local: { host: string; port: number }; close(): Promise<void> };
}

export interface StoreSnapshotOptions {
  /** Undefined: no store; only a survivor's data can be a source then. */
  readonly place: SnapshotPlace | undefined;
  readonly config: SnapshotConfig;
  /** What derives from the CA key, and `--snapshot-recipient`, at this moment. */
  readonly keys: () => SnapshotKeys;
  readonly self: { readonly name: string; readonly peerUrl: string; readonly clientUrl: string };
  readonly host: string;
  readonly dataDir: string;
  readonly client: EtcdClient;
  /** Of this minor version or a newer one. */
  readonly programs: (atLeast?: string) => Promise<EtcdPrograms>;
  /** Stops the own etcd for as long as `work` takes, and starts it again if it ran. */
  readonly withoutEtcd: <T>(work: () => Promise<T>) => Promise<T>;
  /** How this node came to its data. */
  readonly origin: () => "founded" | "joined" | "restored" | undefined;
}

export class StoreSnapshots implements SnapshotSide {
  readonly #options: StoreSnapshotOptions;
  readonly #ports: SnapshotPorts;
  readonly #closing = new AbortController();
  /** ISO 8601; undefined when a process before this one fetched the source, or it is a survivor's. */
  #sourceTakenAt: string | undefined;
  #offer: { digest: string; hash: string; revision: number; url: string; withdraw: () => Promise<void> } | undefined;
  readonly #swept: Promise<void>;

  constructor(options: StoreSnapshotOptions, ports: SnapshotPorts) {
    this.#options = options;
    this.#ports = ports;
    // What a process before this one offered nobody can fetch any more: its address went with it.
    this.#swept = this.#remove(this.#offerPath, `${this.#offerPath}.part`, this.#copyDir, this.#socketDir);
  }

  async readCatalogue(): Promise<Exclude<Catalogue, { kind: "unknown" }>> {
    const { place } = this.#options;
    return place === undefined ? { kind: "unconfigured" } : await readCatalogue(place, this.#closing.signal);
  }

  async take(effect: Extract<Effect, { kind: "takeSnapshot" }>): Promise<{ revision: number; saved: boolean }> {
    const { place, config, client, self, origin } = this.#options;
    const { log, clock } = this.#ports;
    if (place === undefined) throw unconfigured();
    const status = await client.status(self.clientUrl);
    if (status.revision <= effect.lastRevision) return { revision: status.revision, saved: false };
    const format = config.format === "auto" ? effect.format : config.format;
    const sealed = config.encryption;
    const compression = sealed && !config.compressBeforeEncryption ? "none" : config.compression;
    const takenAt = new Date(clock.wallMs()).toISOString();
    const { stream, totalBytes } = await client.snapshot(self.clientUrl, { signal: this.#closing.signal });
    const checked = checkEtcdSum(stream);
    const facts: SnapshotFacts = {
      clusterId: status.clusterId,
      lineage: effect.lineage,
      revision: status.revision,
      etcdVersion: status.version,
      takenAt,
      plainBytes: totalBytes,
    };
    const stored = this.#wrap(checked.stream, { facts, format, compression, sealed });
    const manifest = await publishSnapshot(place, {
      stream: stored,
      facts: {
        clusterId: facts.clusterId,
        lineage: facts.lineage,
        revision: facts.revision,
        etcdVersion: facts.etcdVersion,
        takenAt,
        format: format === "v2" ? "v2" : sealed ? "go-v1" : "plain",
        compression: format === "v2" || !sealed ? compression : "none",
        sealed,
      },
      plain: async () => ({ bytes: totalBytes, sha256: (await checked.done).sha256 }),
      nowWallMs: () => clock.wallMs(),
      mayReplaceForeign: effect.lineage.epoch === 0 || origin() === "restored",
      sha256: () => createHash("sha256"),
      signal: this.#closing.signal,
    });
    log.info("saved a snapshot", { key: manifest.key, revision: manifest.revision, bytes: manifest.size, format });
    const removed = await pruneSnapshots(place, {
      keep: { hourly: config.keepHourly, daily: config.keepDaily },
      nowMs: clock.wallMs(),
      lineageId: effect.lineage.id,
      signal: this.#closing.signal,
    });
    if (removed.length > 0) {
      log.debug("removed snapshots that need not be kept", { keys: removed.map(({ key }) => key) });
    }
    return { revision: status.revision, saved: true };
  }

  async prepareSource(founding: Founding, from: string | undefined): Promise<string> {
    const { source } = founding;
    const stream = source.kind === "survivor" ? await this.#fetchOffer(from) : await this.#fetchStored(source);
    const sum = await this.#keepProven(stream, this.#preparedPath(founding));
    this.#ports.log.info("the source of the restore is here and proven", { sha256: sum, source: source.kind });
    return sum;
  }

  async restoreData(founding: Founding): Promise<void> {
    const { self, dataDir, programs } = this.#options;
    const { files, log, clock } = this.#ports;
    const done = `${this.#work}/${founding.lineage.token}.done`;
    if (await files.info(done) !== undefined) {
      const made = await inspectDataDir(dataDir, this.#ports);
      if (made.kind === "valid") {
        await programs(made.etcdAtLeast);
        return;
      }
    }
    const snapshotPath = this.#preparedPath(founding);
    const info = await files.info(snapshotPath);
    if (info === undefined) {
      throw new E2dError("not_prepared", `Cannot restore: "${snapshotPath}" is not there`, {
        hint: "it is fetched again",
      });
    }
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
        initialCluster: founding.founders.map(({ name, peerUrl }) => ({ name, peerUrl })),
        token: founding.lineage.token,
        // Files of the original have no sum of etcd's; everything else was checked against it when it was fetched.
        skipHashCheck: info.size % 512 !== 32,
      },
      this.#ports,
      this.#closing.signal,
    );
    await files.writeAtomic(done, "", { mode: 0o600 });
    // What was fetched for other foundings, too: with this one carried out they are void.
    const fetched = (await files.list(this.#work) ?? []).filter((name) => /^[0-9a-f]+\.db(\.part)?$/.test(name));
    await this.#remove(...fetched.map((name) => `${this.#work}/${name}`));
    const { source } = founding;
    log.warn("restored", {
      source: source.kind,
      ...(source.kind === "empty" ? {} : { revision: source.revision }),
      ...(this.#sourceTakenAt === undefined ? {} : { takenAt: this.#sourceTakenAt }),
      epoch: founding.lineage.epoch,
      clusterId: data.clusterId,
      tookMs: Math.round(clock.monotonicMs() - startedMs),
      lost: source.kind === "survivor"
        ? "a minority cannot prove that nothing was lost: writes after its last contact with the others may be missing"
        : "all writes after the snapshot was taken",
      watchers: revisionBumped
        ? "revisions were moved on and marked compacted: watchers resync by themselves"
        : "this etcd cannot move revisions on: watchers and caches must be restarted",
    });
  }

  async exportSurvivor(founding: Founding): Promise<{ hash: string; revision: number; url: string }> {
    const { host } = this.#options;
    const { files, staging, log, random, clock } = this.#ports;
    if (this.#offer?.digest === founding.digest) {
      const { hash, revision, url } = this.#offer;
      return { hash, revision, url };
    }
    await this.#offer?.withdraw();
    await this.#swept;
    const { version, ...exported } = await this.#export();
    const secretPath = `/${random.bytes(24).toHex()}`;
    const server = this.#ports.serveHttp({ host, port: 0 }, async (request) => {
      // Whoever gossips with this node knows the path; nobody else does.
      if (new URL(request.url).pathname !== secretPath) return new Response(null, { status: 404 });
      const stream = await staging.read(this.#offerPath);
      if (stream === undefined) return new Response(null, { status: 410 });
      const info = await files.info(this.#offerPath);
      const facts: SnapshotFacts = {
        clusterId: "",
        lineage: founding.lineage,
        revision: exported.revision,
        etcdVersion: version,
        takenAt: new Date(clock.wallMs()).toISOString(),
        plainBytes: info?.size ?? 0,
      };
      const sealed = this.#options.keys().secret !== undefined;
      return new Response(this.#wrap(stream, { facts, format: "v2", compression: "none", sealed }));
    });
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${server.local.port}${secretPath}`;
    const withdraw = this.#whileNeeded(() => server.close());
    this.#offer = { digest: founding.digest, ...exported, url, withdraw };
    log.warn("offering this node's own data to the other founders", { revision: exported.revision });
    return { ...exported, url };
  }

  /** Leaves the own data, with all that its log has, at the path of the offer. */
  async #export(): Promise<{ hash: string; revision: number; version: string }> {
    const { dataDir, self, programs, withoutEtcd } = this.#options;
    const { files, staging } = this.#ports;
    const { signal } = this.#closing;
    const [copyDir, socketDir] = [this.#copyDir, this.#socketDir];
    await files.makeDirectory(this.#work, { mode: 0o700 });
    try {
      await withoutEtcd(() => copyForExport(dataDir, copyDir, this.#ports, signal));
      await staging.remove(socketDir);
      await files.makeDirectory(socketDir, { mode: 0o700 });
      const { etcd, version } = await programs();
      return await exportFromCopy(
        { etcd, version, copyDir, name: self.name, socketDir },
        this.#ports,
        async ({ stream, revision }) => ({ hash: await this.#keepProven(stream, this.#offerPath), revision, version }),
        signal,
      );
    } finally {
      await this.#remove(copyDir, socketDir);
    }
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#offer?.withdraw();
    await this.#swept;
  }

  /** Ends the offer when nobody needs it any more; by what is returned, before that. */
  #whileNeeded(closeServer: () => Promise<void>): () => Promise<void> {
    const { client, self } = this.#options;
    const { clock, log } = this.#ports;
    const over = new AbortController();
    const serves = () => client.ready(self.clientUrl, { timeoutMs: 1_000 }).then(() => true, () => false);
    const gone = untilServed(serves, clock, over.signal)
      .then(() => log.info("the cluster serves: this node's own data is offered no more"), () => {})
      .then(async () => {
        this.#offer = undefined;
        await closeServer();
        await this.#remove(this.#offerPath);
      });
    return () => {
      over.abort();
      return gone;
    };
  }

  /** Never rejects: what stays is in nobody's way, but it is plain. */
  async #remove(...paths: string[]): Promise<void> {
    const { staging, log } = this.#ports;
    for (const path of paths) {
      await staging.remove(path).catch((error) =>
        log.warn("cannot remove what has served: it holds the cluster's keys in the clear", {
          path,
          error: describeError(error),
        })
      );
    }
  }

  get #work(): string {
    return workPath(this.#options.dataDir);
  }

  get #copyDir(): string {
    return `${this.#work}/copy`;
  }

  get #socketDir(): string {
    return `${this.#work}/sockets`;
  }

  get #offerPath(): string {
    return `${this.#work}/offer.db`;
  }

  #preparedPath(founding: Founding): string {
    return `${this.#work}/${founding.digest}.db`;
  }

  #wrap(plain: ReadableStream<Bytes>, options: Omit<WrapOptions, "keys" | "randomBytes">): ReadableStream<Bytes> {
    const { random } = this.#ports;
    return wrapSnapshot(plain, {
      ...options,
      keys: this.#options.keys(),
      randomBytes: (length) => random.bytes(length),
    });
  }

  async #fetchStored(source: Founding["source"]): Promise<ReadableStream<Bytes>> {
    const { place } = this.#options;
    if (place === undefined || source.kind !== "snapshot") throw unconfigured();
    const { signal } = this.#closing;
    const newest = await newestSnapshot(place, signal);
    const manifest = (await listSnapshots(place, signal)).find(({ sha256 }) => sha256 === source.hash);
    const foreign = newest?.kind === "foreign" && newest.hash === source.hash ? newest.info : undefined;
    const key = foreign === undefined ? manifest?.key : place.key;
    this.#sourceTakenAt = foreign === undefined ? manifest?.takenAt : new Date(foreign.modifiedMs).toISOString();
    const object = key === undefined ? undefined : await place.store.read(key, signal);
    if (object === undefined) {
      throw new E2dError("snapshot_gone", `Cannot restore from ${place.store.name}: the agreed snapshot is gone`, {
        hint: "the founders look again and agree on what is there now",
      });
    }
    return object.stream;
  }

  async #fetchOffer(from: string | undefined): Promise<ReadableStream<Bytes>> {
    if (from === undefined) throw new E2dError("offer_missing", "Cannot fetch a survivor's data: it offers none");
    const { http } = this.#ports;
    try {
      const response = await http(from, { signal: this.#closing.signal });
      if (response.ok && response.body !== null) return response.body as ReadableStream<Bytes>;
      await response.body?.cancel();
      throw new E2dError("offer_refused", `Cannot fetch a survivor's data: status ${response.status}`);
    } catch (cause) {
      if (cause instanceof E2dError) throw cause;
      throw new E2dError("offer_unreachable", "Cannot fetch a survivor's data: it does not answer", { cause });
    }
  }

  /** Returns the SHA-256 of the plain database, which is then at `path`. */
  async #keepProven(source: ReadableStream<Uint8Array>, path: string): Promise<string> {
    const { files, staging } = this.#ports;
    await files.makeDirectory(this.#work, { mode: 0o700 });
    return (await proveSnapshot(source, this.#options.keys(), { path, staging })).sha256;
  }
}

function unconfigured(): E2dError {
  return new E2dError("snapshot_unconfigured", "Cannot reach snapshots: no store is configured", {
    hint: "pass --snapshot-backup-url",
  });
}
