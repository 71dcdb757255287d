/** An in-memory disk that can lose power, a clock that stands still, and chance that repeats itself. */
import { E2dError } from "../../lib/errors.ts";
import type { FileInfo, Files, Random } from "../../lib/ports.ts";
import type { PkiPorts } from "../../lib/pki/generate.ts";

interface MemoryFile {
  data: Uint8Array<ArrayBuffer>;
  mode: number;
}

/** After `writesLeft` further changes every change throws E2dError `power_lost`. */
export class MemoryFiles implements Files {
  readonly files = new Map<string, MemoryFile>();
  readonly directories = new Map<string, number>();
  writesLeft = Infinity;
  /** Changes so far, the refused ones not counted. */
  writes = 0;

  info(path: string): Promise<FileInfo | undefined> {
    const file = this.files.get(path);
    const shared = { modifiedMs: 0 };
    if (file) return Promise.resolve({ kind: "file", size: file.data.length, mode: file.mode, ...shared });
    const mode = this.directories.get(path);
    return Promise.resolve(mode === undefined ? undefined : { kind: "directory", size: 0, mode, ...shared });
  }

  read(path: string): Promise<Uint8Array<ArrayBuffer> | undefined> {
    return Promise.resolve(this.files.get(path)?.data.slice());
  }

  readText(path: string): Promise<string | undefined> {
    const file = this.files.get(path);
    return Promise.resolve(file && new TextDecoder().decode(file.data));
  }

  list(path: string): Promise<string[] | undefined> {
    const prefix = path === "." ? "" : `${path}/`;
    const names = [...this.files.keys()].filter((name) => name.startsWith(prefix)).map((n) => n.slice(prefix.length));
    return Promise.resolve(names.filter((name) => !name.includes("/")).sort());
  }

  writeAtomic(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void> {
    return this.#change(() => {
      const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data.slice();
      this.files.set(path, { data: bytes as Uint8Array<ArrayBuffer>, mode: options?.mode ?? 0o644 });
    });
  }

  writeNew(path: string, data: Uint8Array | string, options?: { mode?: number }): Promise<void> {
    if (this.files.has(path)) return Promise.reject(new E2dError("file_exists", `"${path}" is there`));
    return this.writeAtomic(path, data, options);
  }

  makeDirectory(path: string, options?: { mode?: number }): Promise<void> {
    return this.#change(() => this.directories.set(path, options?.mode ?? 0o755));
  }

  rename(from: string, to: string): Promise<void> {
    if (this.files.has(to)) return Promise.reject(new E2dError("file_exists", `"${to}" is there`));
    return this.#change(() => {
      this.files.set(to, this.files.get(from)!);
      this.files.delete(from);
    });
  }

  remove(path: string): Promise<void> {
    return this.#change(() => this.files.delete(path));
  }

  text(path: string): string {
    const file = this.files.get(path);
    if (!file) throw new Error(`no "${path}" among ${[...this.files.keys()].join(", ")}`);
    return new TextDecoder().decode(file.data);
  }

  #change(change: () => void): Promise<void> {
    if (this.writesLeft <= 0) return Promise.reject(new E2dError("power_lost", "the disk is gone"));
    this.writesLeft--;
    this.writes++;
    change();
    return Promise.resolve();
  }
}

/** Bytes that count up from a start, so that serial numbers differ and runs do not. */
export function countingRandom(start = 1): Random {
  let next = start;
  return {
    float: () => 0.5,
    bytes: (length) => Uint8Array.from({ length }, () => next++ & 0xff),
  };
}

/** 2027-01-01. */
export const newYearMs = Date.UTC(2027, 0, 1);
export const dayMs = 24 * 60 * 60 * 1000;

export interface TestPorts extends PkiPorts {
  files: MemoryFiles;
  clock: { nowMs: number; wallMs(): number };
}

export function testPorts(nowMs = newYearMs): TestPorts {
  return {
    files: new MemoryFiles(),
    clock: {
      nowMs,
      wallMs() {
        return this.nowMs;
      },
    },
    random: countingRandom(),
  };
}

/** A file of the PKI that the original e2d wrote. */
export function goPki(name: string): Promise<string> {
  return Deno.readTextFile(new URL(`../vectors/go-pki/${name}`, import.meta.url));
}
