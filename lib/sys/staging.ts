import { statfs } from "node:fs/promises";
import type { AppendFile, Staging } from "../ports.ts";
import { failure } from "./failure.ts";
import { syncFolder } from "./files.ts";

/** Bytes of one read. */
const chunkBytes = 524_288;

/** Large files and folders on the local disk. */
export const systemStaging: Staging = {
  owner: `${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`,

  ownerRuns(owner) {
    if (owner === systemStaging.owner) return Promise.resolve(true);
    const pid = Number(/^(\d+)-/.exec(owner)?.[1]);
    // The same pid is that of an earlier process: in a container every e2d is process 1.
    return Promise.resolve(pid > 0 && pid !== Deno.pid && processRuns(pid));
  },

  async read(path) {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { read: true });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw failure("file_read", `Cannot read "${path}"`, error);
    }
    return new ReadableStream({
      async pull(controller) {
        try {
          const chunk = new Uint8Array(chunkBytes);
          const count = await file.read(chunk);
          if (count !== null) return controller.enqueue(chunk.subarray(0, count));
          file.close();
          controller.close();
        } catch (error) {
          file.close();
          throw failure("file_read", `Cannot read "${path}"`, error);
        }
      },
      cancel: () => file.close(),
    }, { highWaterMark: 1 });
  },

  async append(path, options) {
    try {
      const file = await Deno.open(path, { append: true, create: true, mode: options?.mode ?? 0o644 });
      return new SystemAppendFile(path, file, (await file.stat()).size);
    } catch (error) {
      throw failure("file_write", `Cannot write "${path}"`, error);
    }
  },

  async copyFile(from, to) {
    try {
      await Deno.copyFile(from, to);
      using file = await Deno.open(to, { read: true, write: true });
      await file.sync();
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw failure("file_write", `Cannot copy "${from}" to "${to}"`, error);
    }
  },

  async makeNewFolder(path) {
    try {
      await Deno.mkdir(path, { mode: 0o700 });
    } catch (error) {
      const code = error instanceof Deno.errors.AlreadyExists ? "file_exists" : "file_write";
      throw failure(code, `Cannot make the folder "${path}"`, error);
    }
  },

  async moveFolder(from, to) {
    try {
      await Deno.rename(from, to);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "gone";
      // rename(2) returns ENOTEMPTY or EEXIST when the new name is a folder that is not empty.
      if (error instanceof Deno.errors.AlreadyExists || /os error (17|39)\b/.test(String(error))) return "taken";
      throw failure("file_write", `Cannot rename "${from}" to "${to}"`, error);
    }
    await syncFolder(to.slice(0, to.lastIndexOf("/")) || "/");
    return "moved";
  },

  async replaceFile(from, to) {
    try {
      await Deno.rename(from, to);
    } catch (error) {
      throw failure("file_write", `Cannot rename "${from}" to "${to}"`, error);
    }
    await syncFolder(to.slice(0, to.lastIndexOf("/")) || "/");
  },

  async remove(path) {
    try {
      await Deno.remove(path, { recursive: true });
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw failure("file_write", `Cannot remove "${path}"`, error);
    }
  },

  async freeBytes(path) {
    try {
      const { bavail, blocks, bsize } = await statfs(path);
      // Some file systems report 0 of 0 blocks, which means unknown.
      return blocks > 0 ? bavail * bsize : undefined;
    } catch {
      return undefined;
    }
  },
};

class SystemAppendFile implements AppendFile {
  readonly #path: string;
  readonly #file: Deno.FsFile;
  #size: number;
  #open = true;

  constructor(path: string, file: Deno.FsFile, size: number) {
    this.#path = path;
    this.#file = file;
    this.#size = size;
  }

  get size(): number {
    return this.#size;
  }

  async append(data: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < data.length;) {
        const written = await this.#file.write(data.subarray(at));
        at += written;
        this.#size += written;
      }
    } catch (error) {
      throw failure("file_write", `Cannot write "${this.#path}"`, error);
    }
  }

  async empty(): Promise<void> {
    try {
      await this.#file.truncate(0);
      this.#size = 0;
    } catch (error) {
      throw failure("file_write", `Cannot empty "${this.#path}"`, error);
    }
  }

  async sync(): Promise<void> {
    try {
      await this.#file.sync();
    } catch (error) {
      throw failure("file_write", `Cannot write "${this.#path}"`, error);
    }
  }

  close(): void {
    if (this.#open) this.#file.close();
    this.#open = false;
  }
}

/** Signal 0 is not delivered; kill(2) only checks that the process exists. */
function processRuns(pid: number): boolean {
  try {
    Deno.kill(pid, 0 as unknown as Deno.Signal);
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}
