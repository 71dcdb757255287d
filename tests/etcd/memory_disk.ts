/** A disk in memory behind the ports Files and Staging: what unit tests of the provider write to. */
import { E2dError } from "../../lib/errors.ts";
import type { AppendFile, FileInfo, Files, Staging } from "../../lib/ports.ts";
import { concat } from "../support/make_tar.ts";

type Node = { kind: "directory"; mode: number } | { kind: "file"; mode: number; data: Uint8Array<ArrayBuffer> };

export class MemoryDisk implements Files, Staging {
  readonly nodes = new Map<string, Node>();
  readonly owner: string;
  /** Other owners that count as running. */
  readonly running = new Set<string>();
  /** Bytes that still fit. */
  roomBytes = Infinity;

  constructor(owner = "1-self") {
    this.owner = owner;
  }

  paths(): string[] {
    return [...this.nodes.keys()].sort();
  }

  put(path: string, data: string | Uint8Array<ArrayBuffer>, mode = 0o755): void {
    for (let at = path.indexOf("/", 1); at > 0; at = path.indexOf("/", at + 1)) {
      if (!this.nodes.has(path.slice(0, at))) this.nodes.set(path.slice(0, at), { kind: "directory", mode: 0o755 });
    }
    this.nodes.set(path, {
      kind: "file",
      mode,
      data: typeof data === "string" ? new TextEncoder().encode(data) : data,
    });
  }

  ownerRuns = (owner: string) => Promise.resolve(owner === this.owner || this.running.has(owner));

  info(path: string): Promise<FileInfo | undefined> {
    const node = this.nodes.get(path);
    if (node === undefined) return Promise.resolve(undefined);
    const size = node.kind === "file" ? node.data.length : 0;
    return Promise.resolve({ kind: node.kind, size, modifiedMs: 0, mode: node.mode });
  }

  /** Both ports have a `read`: the bytes for Files, a stream for Staging; tests of this area need the stream. */
  read(path: string): Promise<never> {
    const node = this.nodes.get(path);
    const stream = node?.kind === "file" ? new Blob([node.data]).stream() : undefined;
    return Promise.resolve(stream as never);
  }

  readText(path: string): Promise<string | undefined> {
    const node = this.nodes.get(path);
    return Promise.resolve(node?.kind === "file" ? new TextDecoder().decode(node.data) : undefined);
  }

  list(path: string): Promise<string[] | undefined> {
    if (!this.nodes.has(path)) return Promise.resolve(undefined);
    const below = this.paths().filter((name) => name.startsWith(`${path}/`)).map((name) => name.slice(path.length + 1));
    return Promise.resolve(below.filter((name) => !name.includes("/")));
  }

  writeAtomic(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void> {
    this.put(path, typeof data === "string" ? data : new Uint8Array(data), options?.mode);
    return Promise.resolve();
  }

  writeNew = this.writeAtomic;

  makeDirectory(path: string, options?: { mode?: number }): Promise<void> {
    this.put(`${path}/.`, "");
    this.nodes.delete(`${path}/.`);
    this.nodes.set(path, { kind: "directory", mode: options?.mode ?? 0o755 });
    return Promise.resolve();
  }

  async rename(from: string, to: string): Promise<void> {
    await this.moveFolder(from, to);
  }

  makeNewFolder(path: string): Promise<void> {
    if (this.nodes.has(path)) return Promise.reject(new E2dError("file_exists", `Cannot make the folder "${path}"`));
    return this.makeDirectory(path, { mode: 0o700 });
  }

  freeBytes = () => Promise.resolve(Number.isFinite(this.roomBytes) ? this.roomBytes : undefined);

  append(path: string, options?: { mode?: number }): Promise<AppendFile> {
    if (!this.nodes.has(path)) this.put(path, "", options?.mode);
    const node = this.nodes.get(path)!;
    if (node.kind !== "file") throw new Error(`${path} is a folder`);
    const room = (bytes: number) => (this.roomBytes -= bytes) >= 0;
    return Promise.resolve({
      get size() {
        return node.data.length;
      },
      append(data: Uint8Array): Promise<void> {
        if (!room(data.length)) return Promise.reject(new E2dError("disk_full", `Cannot write "${path}"`));
        node.data = concat([node.data, data]);
        return Promise.resolve();
      },
      empty(): Promise<void> {
        node.data = new Uint8Array(0);
        return Promise.resolve();
      },
      sync: () => Promise.resolve(),
      close: () => {},
    });
  }

  copyFile(from: string, to: string): Promise<boolean> {
    const node = this.nodes.get(from);
    if (node !== undefined) this.nodes.set(to, { ...node });
    return Promise.resolve(node !== undefined);
  }

  moveFolder(from: string, to: string): Promise<"moved" | "taken" | "gone"> {
    if (!this.nodes.has(from)) return Promise.resolve("gone");
    if (this.paths().some((path) => path.startsWith(`${to}/`))) return Promise.resolve("taken");
    for (const [path, node] of [...this.nodes]) {
      if (path !== from && !path.startsWith(`${from}/`)) continue;
      this.nodes.delete(path);
      this.nodes.set(to + path.slice(from.length), node);
    }
    return Promise.resolve("moved");
  }

  replaceFile(from: string, to: string): Promise<void> {
    this.nodes.set(to, this.nodes.get(from)!);
    this.nodes.delete(from);
    return Promise.resolve();
  }

  remove(path: string): Promise<void> {
    for (const name of this.paths()) if (name === path || name.startsWith(`${path}/`)) this.nodes.delete(name);
    return Promise.resolve();
  }
}
