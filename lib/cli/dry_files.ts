/**
 * The files of a `--dry-run`: reads come from the disk, writes are kept in memory. A command runs unchanged, with its own
 * checks and errors, and reads back its own writes. The disk is never changed.
 */
import { E2dError } from "../errors.ts";
import type { FileInfo, Files } from "../ports.ts";

type Entry = { kind: "file"; data: Uint8Array<ArrayBuffer>; mode: number } | { kind: "directory" } | { kind: "gone" };

export class DryFiles implements Files {
  readonly #real: Files;
  /** Differences from the disk, by path. */
  readonly #changes = new Map<string, Entry>();

  constructor(real: Files) {
    this.#real = real;
  }

  async info(path: string, options?: { followLinks?: boolean }): Promise<FileInfo | undefined> {
    const change = this.#changes.get(path);
    if (change === undefined) return await this.#real.info(path, options);
    if (change.kind === "gone") return undefined;
    if (change.kind === "directory") return { kind: "directory", size: 0, modifiedMs: 0, mode: 0o700 };
    return { kind: "file", size: change.data.length, modifiedMs: 0, mode: change.mode };
  }

  async read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    const change = this.#changes.get(path);
    if (change === undefined) return await this.#real.read(path);
    return change.kind === "file" ? change.data : undefined;
  }

  async readText(path: string): Promise<string | undefined> {
    const data = await this.read(path);
    return data === undefined ? undefined : new TextDecoder().decode(data);
  }

  async list(path: string): Promise<string[] | undefined> {
    const real = await this.#real.list(path);
    const names = new Set(real);
    const folder = `${path.replace(/\/+$/, "")}/`;
    for (const [changed, { kind }] of this.#changes) {
      const name = path === "." && !changed.includes("/")
        ? changed
        : changed.startsWith(folder)
        ? changed.slice(folder.length)
        : "";
      if (name === "" || name.includes("/")) continue;
      if (kind === "gone") names.delete(name);
      else names.add(name);
    }
    return real === undefined && names.size === 0 ? undefined : [...names].sort();
  }

  writeAtomic(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : new Uint8Array(data);
    this.#changes.set(path, { kind: "file", data: bytes, mode: options?.mode ?? 0o644 });
    return Promise.resolve();
  }

  async writeNew(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void> {
    if (await this.info(path) !== undefined) throw exists(`Cannot write "${path}"`, path);
    await this.writeAtomic(path, data, options);
  }

  makeDirectory(path: string): Promise<void> {
    this.#changes.set(path, { kind: "directory" });
    return Promise.resolve();
  }

  /** Renames files only: no command with `--dry-run` renames a folder. */
  async rename(from: string, to: string): Promise<void> {
    const action = `Cannot rename "${from}" to "${to}"`;
    const [data, info] = [await this.read(from), await this.info(from)];
    if (data === undefined) throw new E2dError("file_write", `${action}: it is not a file`);
    if (await this.info(to) !== undefined) throw exists(action, to);
    await this.writeAtomic(to, data, info && { mode: info.mode });
    await this.remove(from);
  }

  remove(path: string): Promise<void> {
    this.#changes.set(path, { kind: "gone" });
    return Promise.resolve();
  }
}

function exists(action: string, path: string): E2dError {
  return new E2dError("file_exists", `${action}: "${path}" already exists`);
}
