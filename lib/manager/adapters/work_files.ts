/**
 * The temporary files of one node in `<data-dir>.e2d.work`: plaintext databases and marks of finished restores. The folder
 * is swept at the start and at the end of the process. A database that a pledge on disk refers to is never removed.
 */
import { describeError } from "../../errors.ts";
import type { BootstrapPlan, Lineage } from "../../core/facts/node_record.ts";
import { requireWorkFolder, sweepWorkFolder } from "../../snapshot/work_folder.ts";
import { readRecord } from "../data_dir/node_record.ts";
import { workPath } from "../data_dir/permissions.ts";
import type { SnapshotPorts } from "./snapshot_options.ts";

const preparedName = /^[0-9a-f]+\.db$/;

export class WorkFiles {
  readonly #dataDir: string;
  readonly #ports: Pick<SnapshotPorts, "files" | "staging" | "log">;
  readonly #folder: string;
  readonly #swept: Promise<void>;

  constructor(dataDir: string, ports: Pick<SnapshotPorts, "files" | "staging" | "log">) {
    this.#dataDir = dataDir;
    this.#ports = ports;
    this.#folder = workPath(dataDir);
    this.#swept = this.#sweep();
  }

  /** The local copy of a snapshot that is being saved. */
  get spoolPath(): string {
    return `${this.#folder}/spool.db`;
  }

  get copyDir(): string {
    return `${this.#folder}/copy`;
  }

  get socketDir(): string {
    return `${this.#folder}/sockets`;
  }

  get exportPath(): string {
    return `${this.#folder}/offer.db`;
  }

  /** The verified source of this bootstrap. */
  preparedPath({ digest }: Pick<BootstrapPlan, "digest">): string {
    return `${this.#folder}/${digest}.db`;
  }

  /** The mark of a finished restore; contains its source. */
  donePath({ token }: Pick<Lineage, "token">): string {
    return `${this.#folder}/${token}.done`;
  }

  /** Creates the folder. Throws what requireWorkFolder throws. */
  async require(): Promise<void> {
    await this.#swept;
    await requireWorkFolder(this.#folder, this.#ports);
  }

  /** Never rejects: a remaining file blocks nothing, but it is plaintext, so the failure is logged. */
  async remove(...paths: string[]): Promise<void> {
    const { staging, log } = this.#ports;
    for (const path of paths) {
      await staging.remove(path).catch((error) =>
        log.warn("cannot delete a temporary plaintext database", {
          path,
          error: describeError(error),
        })
      );
    }
  }

  /** Removes the sources of all bootstraps, also partly fetched ones. */
  async removePrepared(): Promise<void> {
    const names = (await this.#ports.files.list(this.#folder) ?? []).filter((name) =>
      /^[0-9a-f]+\.db(\.part)?$/.test(name)
    );
    await this.remove(...names.map((name) => `${this.#folder}/${name}`));
  }

  async close(): Promise<void> {
    await this.#swept;
    await this.#sweep();
  }

  /**
   * Removes every plaintext database that no pledge on disk refers to. Initial members rely on pledged databases after a
   * power failure, when the store or the survivor may have no copy any more. Marks of finished restores stay.
   */
  async #sweep(): Promise<void> {
    const { files, log, staging } = this.#ports;
    let promised: ReadonlySet<string> | undefined;
    try {
      const record = await readRecord(files, this.#dataDir);
      promised = new Set(record?.pledges.map(({ digest }) => `${digest}.db`));
    } catch {
      // The pledges are unknown: every fetched database is kept.
    }
    const keeps = (name: string) =>
      name.endsWith(".done") || (promised === undefined ? preparedName.test(name) : promised.has(name));
    await sweepWorkFolder(this.#folder, keeps, { files, staging, log });
  }
}
