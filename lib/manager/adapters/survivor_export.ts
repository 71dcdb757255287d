/**
 * Exports the data of a survivor of a quorum loss: copies the data-dir, replays it in an isolated etcd, and serves the
 * database to the other initial members under a secret path. Ends each export once the cluster serves again.
 */
import type { BootstrapPlan } from "../../core/facts/node_record.ts";
import { copyForExport } from "../../etcd/restore/copy_data_dir.ts";
import { exportFromCopy } from "../../etcd/restore/survivor.ts";
import type { SnapshotFacts } from "../../snapshot/format/v2.ts";
import { untilServed } from "../../snapshot/offer.ts";
import { verifySnapshot } from "../../snapshot/verified_file.ts";
import { type SnapshotPorts, type StoreSnapshotOptions, wrapDatabase } from "./snapshot_options.ts";
import type { WorkFiles } from "./work_files.ts";

interface Exported {
  readonly digest: string;
  readonly hash: string;
  readonly revision: number;
  readonly url: string;
  readonly end: () => Promise<void>;
}

export class SurvivorExport {
  readonly #options: StoreSnapshotOptions;
  readonly #ports: SnapshotPorts;
  readonly #work: WorkFiles;
  readonly #signal: AbortSignal;
  #exported: Exported | undefined;

  /** `signal` aborts a running export; `close` must be called as well. */
  constructor(options: StoreSnapshotOptions, ports: SnapshotPorts, work: WorkFiles, signal: AbortSignal) {
    this.#options = options;
    this.#ports = ports;
    this.#work = work;
    this.#signal = signal;
  }

  /** Exports once per bootstrap; returns the SHA-256, the revision and the URL of the database. */
  async export(plan: BootstrapPlan): Promise<{ hash: string; revision: number; url: string }> {
    const { host } = this.#options;
    const { files, staging, log, random, clock } = this.#ports;
    if (this.#exported?.digest === plan.digest) {
      const { hash, revision, url } = this.#exported;
      return { hash, revision, url };
    }
    await this.#exported?.end();
    const { version, ...exported } = await this.#copyOwnData();
    const secretPath = `/${random.bytes(24).toHex()}`;
    const server = this.#ports.serveHttp({ host, port: 0 }, async (request) => {
      // The path is a secret that only the gossip peers of this node know.
      if (new URL(request.url).pathname !== secretPath) return new Response(null, { status: 404 });
      const stream = await staging.read(this.#work.exportPath);
      if (stream === undefined) return new Response(null, { status: 410 });
      const info = await files.info(this.#work.exportPath);
      const facts: SnapshotFacts = {
        clusterId: "",
        lineage: plan.lineage,
        revision: exported.revision,
        etcdVersion: version,
        takenAt: new Date(clock.wallMs()).toISOString(),
        plainBytes: info?.size ?? 0,
      };
      const sealed = this.#options.keys().secret !== undefined;
      return new Response(
        wrapDatabase(stream, { facts, format: "v2", compression: "none", sealed }, this.#options, this.#ports).stream,
      );
    });
    const url = `http://${host.includes(":") ? `[${host}]` : host}:${server.local.port}${secretPath}`;
    const end = this.#whileNeeded(() => server.close());
    this.#exported = { digest: plan.digest, ...exported, url, end };
    log.warn("exporting this node's data to the other initial members", { revision: exported.revision });
    return { ...exported, url };
  }

  /** Writes the own data, including all log entries, to the path of the export. */
  async #copyOwnData(): Promise<{ hash: string; revision: number; version: string }> {
    const { dataDir, self, programs, whileEtcdStopped } = this.#options;
    const { files, staging } = this.#ports;
    const signal = this.#signal;
    const [copyDir, socketDir] = [this.#work.copyDir, this.#work.socketDir];
    await this.#work.require();
    try {
      await whileEtcdStopped(() => copyForExport(dataDir, copyDir, this.#ports, signal));
      await staging.remove(socketDir);
      await files.makeDirectory(socketDir, { mode: 0o700 });
      const { etcd, version } = await programs();
      return await exportFromCopy(
        { etcd, version, copyDir, name: self.name, socketDir },
        this.#ports,
        async ({ stream, revision }) => {
          const kept = { path: this.#work.exportPath, staging };
          const { sha256: hash } = await verifySnapshot(stream, {
            keys: this.#options.keys(),
            requireSealed: false,
            kept,
            codec: this.#ports.codec,
          });
          return { hash, revision, version };
        },
        signal,
      );
    } finally {
      await this.#work.remove(copyDir, socketDir);
    }
  }

  /** Ends the present export. */
  async close(): Promise<void> {
    await this.#exported?.end();
  }

  /** Ends the export once the cluster serves, or when the returned function is called. */
  #whileNeeded(closeServer: () => Promise<void>): () => Promise<void> {
    const { client, self } = this.#options;
    const { clock, log } = this.#ports;
    const over = new AbortController();
    const serves = () => client.ready(self.clientUrl, { timeoutMs: 1_000 }).then(() => true, () => false);
    const gone = untilServed(serves, clock, over.signal)
      .then(() => log.info("the cluster serves: ended the export of this node's data"), () => {})
      .then(async () => {
        this.#exported = undefined;
        await closeServer();
        await this.#work.remove(this.#work.exportPath);
      });
    return () => {
      over.abort();
      return gone;
    };
  }
}
