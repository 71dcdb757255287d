/** A store in a folder of a local or mounted disk. Must never create that folder. */
import { E2dError, isE2dError } from "../errors.ts";
import type { Files, Staging } from "../ports.ts";
import { isPlainKey } from "./key.ts";
import type { Store, StoredInfo, StoredObject, WriteOptions } from "./store.ts";

export interface FileStorePorts {
  readonly files: Pick<Files, "info" | "list" | "makeDirectory" | "rename">;
  readonly staging: Pick<Staging, "read" | "append" | "copyFile" | "replaceFile" | "remove">;
  /** Random text for names of incomplete files. */
  readonly token: () => string;
}

const partMark = ".e2d-part-";
/** Matches only the names that `write` creates. */
const partName = /^.+\.e2d-part-[0-9a-f]{8}$/;

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
      throw new E2dError("store_broken", `Cannot read "${this.#path(key)}": it is not a file`);
    }
    return { key, size: info.size, modifiedMs: info.modifiedMs };
  }

  async list(prefix: string): Promise<StoredInfo[]> {
    await this.#requireFolder();
    const slash = prefix.lastIndexOf("/");
    const found = slash < 0
      ? await this.#listFolder("", prefix)
      : await this.#listFolder(prefix.slice(0, slash + 1), prefix);
    return found.sort((a, b) => a.key < b.key ? -1 : 1);
  }

  /** The objects of one folder, and for the store's own folder of its subfolders: keys have at most one folder. */
  async #listFolder(inside: string, prefix: string): Promise<StoredInfo[]> {
    const found: StoredInfo[] = [];
    const folder = inside === "" ? this.#folder : this.#path(inside.slice(0, -1));
    for (const name of await this.#ports.files.list(folder) ?? []) {
      const key = `${inside}${name}`;
      if (!key.startsWith(prefix) || name.includes(partMark) || !isPlainKey(key)) continue;
      const info = await this.#ports.files.info(this.#path(key));
      if (info?.kind === "file") found.push({ key, size: info.size, modifiedMs: info.modifiedMs });
      else if (info?.kind === "directory" && inside === "") found.push(...await this.#listFolder(`${key}/`, prefix));
    }
    return found;
  }

  async write(
    key: string,
    content: ReadableStream<Uint8Array<ArrayBuffer>>,
    { signal, onProgress, ifAbsent }: WriteOptions = {},
  ): Promise<{ size: number }> {
    await this.#requireFolder();
    const path = this.#path(key);
    const { files, staging, token } = this.#ports;
    const slash = key.lastIndexOf("/");
    if (slash > 0) await files.makeDirectory(this.#path(key.slice(0, slash)), { mode: 0o700 });
    const part = `${path}${partMark}${token()}`;
    if (ifAbsent && await files.info(path) !== undefined) throw this.#exists(key);
    try {
      const file = await staging.append(part, { mode: 0o600 });
      try {
        // The next chunk is prepared while this one is written.
        let writing = Promise.resolve();
        for await (const chunk of content) {
          await writing;
          signal?.throwIfAborted();
          onProgress?.(file.size);
          writing = file.append(chunk);
          // The next iteration throws the error.
          writing.catch(() => {});
        }
        await writing;
        onProgress?.(file.size);
        await file.sync();
      } finally {
        file.close();
      }
      await (ifAbsent ? files.rename(part, path) : staging.replaceFile(part, path));
      return { size: file.size };
    } catch (error) {
      await staging.remove(part).catch(() => {});
      throw isE2dError(error, "file_exists") ? this.#exists(key) : error;
    }
  }

  /** Not a hard link: the copy must survive a damage of the source. */
  async copy(from: string, to: string): Promise<boolean> {
    await this.#requireFolder();
    const { staging, token } = this.#ports;
    const path = this.#path(to);
    const part = `${path}${partMark}${token()}`;
    try {
      if (!await staging.copyFile(this.#path(from), part)) return false;
      await staging.replaceFile(part, path);
      return true;
    } catch (error) {
      await staging.remove(part).catch(() => {});
      throw error;
    }
  }

  #exists(key: string): E2dError {
    return new E2dError("store_exists", `Cannot write "${key}" in ${this.name}: there is an object already`);
  }

  async remove(key: string): Promise<void> {
    await this.#requireFolder();
    await this.#ports.staging.remove(this.#path(key));
  }

  /** A running write has changed its file recently. */
  async removeCutWrites(prefix: string, beforeMs: number): Promise<number> {
    await this.#requireFolder();
    const { files, staging } = this.#ports;
    const slash = prefix.lastIndexOf("/");
    const inside = prefix.slice(0, slash + 1);
    const folder = slash < 0 ? this.#folder : this.#path(prefix.slice(0, slash));
    let removed = 0;
    for (const name of await files.list(folder) ?? []) {
      if (!partName.test(name) || !`${inside}${name}`.startsWith(prefix)) continue;
      const path = `${folder}/${name}`;
      const info = await files.info(path);
      if (info?.kind !== "file" || info.modifiedMs >= beforeMs) continue;
      await staging.remove(path);
      removed++;
    }
    return removed;
  }

  #path(key: string): string {
    if (!isPlainKey(key)) {
      throw new E2dError(
        "store_broken",
        `Cannot use key ${JSON.stringify(key)} in ${this.name}: the name is not allowed`,
      );
    }
    return `${this.#folder}/${key}`;
  }

  /** A missing folder is a disk that is not mounted, never "no snapshot". */
  async #requireFolder(): Promise<void> {
    let kind: string | undefined;
    try {
      // A listing follows a symbolic link to a mounted folder.
      kind = (await this.#ports.files.list(this.#folder)) === undefined ? undefined : "directory";
    } catch (error) {
      if (!isE2dError(error)) throw error;
      throw new E2dError("store_forbidden", `Cannot read "${this.#folder}"`, { cause: error });
    }
    if (kind !== undefined) return;
    throw new E2dError("store_missing", `Cannot use "${this.name}": there is no such folder`, {
      hint: "mount or create it; e2d does not create it, because an empty folder means that there is no snapshot",
    });
  }
}
