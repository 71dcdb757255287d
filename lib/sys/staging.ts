import type { AppendFile, Staging } from "../ports.ts";
import { failure } from "./failure.ts";
import { syncFolder } from "./files.ts";

/** Reads of a file come in pieces of this size, so a big one never stands in memory. */
const chunkBytes = 524_288;

/** The machine's own disk. */
export const systemStaging: Staging = {
  owner: `${Deno.pid}-${crypto.randomUUID().slice(0, 8)}`,

  ownerRuns(owner) {
    if (owner === systemStaging.owner) return Promise.resolve(true);
    const pid = Number(/^(\d+)-/.exec(owner)?.[1]);
    // A process of this very number is an earlier life: in a container every start is process 1.
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

  async moveFolder(from, to) {
    try {
      await Deno.rename(from, to);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "gone";
      // rename(2) answers ENOTEMPTY or EEXIST where the new name is a folder with something in it.
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

/** Signal 0 reaches nobody; it only asks whether there is somebody to reach. */
function processRuns(pid: number): boolean {
  try {
    Deno.kill(pid, 0 as unknown as Deno.Signal);
    return true;
  } catch (error) {
    return !(error instanceof Deno.errors.NotFound);
  }
}
