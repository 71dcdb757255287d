/** Snapshots in a folder, of a local disk or a mounted one. */
import { E2dError, isE2dError } from "../errors.ts";
import type { Files, Staging } from "../ports.ts";
import { isPlainKey } from "./key.ts";
import type { Store, StoredInfo, StoredObject, WriteOptions } from "./store.ts";

export interface FileStorePorts {
  readonly files: Pick<Files, "info" | "list" | "makeDirectory">;
  readonly staging: Pick<Staging, "read" | "append" | "replaceFile" | "remove">;
  /** Random text for names of what is not whole yet. */
  readonly token: () => string;
}

const partMark = ".e2d-part-";

export class FileStore implements Store {
  readonly name: string;
  readonly #folder: string;
  readonly #ports: FileStorePorts;

  constructor(folder: string, ports: FileStorePorts) {
    this.name = `file://${folder}`;
    this.#folder = folder;
    this.#ports = ports;
  }

  async read(key: string): Promise<StoredObject | undefined> {
    const info = await this.info(key);
    if (info === undefined) return undefined;
    const stream = await this.#ports.staging.read(this.#path(key));
    return stream === undefined ? undefined : { size: info.size, stream };
  }

  async info(key: string): Promise<StoredInfo | undefined> {
    await this.#requireFolder();
    const info = await this.#ports.files.info(this.#path(key));
    if (info === undefined) return undefined;
    if (info.kind !== "file") {
      throw new E2dError("store_broken", `Cannot read "${this.#path(key)}": it is no file`);
    }
    return { key, size: info.size, modifiedMs: info.modifiedMs };
  }

  async list(prefix: string): Promise<StoredInfo[]> {
    await this.#requireFolder();
    const found: StoredInfo[] = [];
    // Keys have one folder at most: that of the history.
    const slash = prefix.lastIndexOf("/");
    const inside = slash < 0 ? "" : prefix.slice(0, slash + 1);
    const folder = slash < 0 ? this.#folder : this.#path(prefix.slice(0, slash));
    for (const name of await this.#ports.files.list(folder) ?? []) {
      const key = `${inside}${name}`;
      if (!key.startsWith(prefix) || name.includes(partMark) || !isPlainKey(key)) continue;
      const info = await this.#ports.files.info(this.#path(key));
      if (info?.kind === "file") found.push({ key, size: info.size, modifiedMs: info.modifiedMs });
    }
    return found;
  }

  async write(
    key: string,
    content: ReadableStream<Uint8Array<ArrayBuffer>>,
    { signal, onProgress }: WriteOptions = {},
  ): Promise<{ size: number }> {
    await this.#requireFolder();
    const path = this.#path(key);
    const { files, staging, token } = this.#ports;
    const slash = key.lastIndexOf("/");
    if (slash > 0) await files.makeDirectory(this.#path(key.slice(0, slash)), { mode: 0o700 });
    const part = `${path}${partMark}${token()}`;
    try {
      const file = await staging.append(part, { mode: 0o600 });
      try {
        // The next part is made while this one is written.
        let writing = Promise.resolve();
        for await (const chunk of content) {
          await writing;
          signal?.throwIfAborted();
          onProgress?.(file.size);
          writing = file.append(chunk);
          // Thrown at the next turn.
          writing.catch(() => {});
        }
        await writing;
        onProgress?.(file.size);
        await file.sync();
      } finally {
        file.close();
      }
      await staging.replaceFile(part, path);
      return { size: file.size };
    } catch (error) {
      await staging.remove(part).catch(() => {});
      throw error;
    }
  }

  async remove(key: string): Promise<void> {
    await this.#requireFolder();
    await this.#ports.staging.remove(this.#path(key));
  }

  #path(key: string): string {
    if (!isPlainKey(key)) {
      throw new E2dError("store_broken", `Cannot use key ${JSON.stringify(key)} in ${this.name}: it is no plain name`);
    }
    return `${this.#folder}/${key}`;
  }

  /** A folder that is not there is a disk that is not mounted, and never «no snapshot». */
  async #requireFolder(): Promise<void> {
    let kind: string | undefined;
    try {
      // The last part may be a link to a mounted folder: a listing follows it.
      kind = (await this.#ports.files.list(this.#folder)) === undefined ? undefined : "directory";
    } catch (error) {
      if (!isE2dError(error)) throw error;
      throw new E2dError("store_forbidden", `Cannot look into "${this.#folder}"`, { cause: error });
    }
    if (kind !== undefined) return;
    throw new E2dError("store_missing", `Cannot use "${this.name}": there is no such folder`, {
      hint: "mount it, or make it; e2d does not, because an empty folder would say that there is no snapshot",
    });
  }
}
