import type { FileLock, Locks } from "../ports.ts";
import { failure } from "./failure.ts";

const foundMaxBytes = 65_536;

/** Advisory locks (flock) on files of this machine. The kernel releases them when the process exits. */
export const systemLocks: Locks = {
  async take(path, waitMs) {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { read: true, write: true, create: true, mode: 0o600 });
    } catch (error) {
      throw failure("file_write", `Cannot open the lock "${path}"`, error);
    }
    // Deno cannot try a lock without waiting. A wait that timed out stays in a thread until the holder releases the lock,
    // so its file must stay open; it is closed, and the lock released, as soon as that wait succeeds.
    let timer: ReturnType<typeof setTimeout> | undefined;
    const overdue = new Promise<false>((resolve) => timer = setTimeout(() => resolve(false), waitMs));
    const waiting = file.lock(true);
    const locked = await Promise.race([waiting.then(() => true), overdue]);
    clearTimeout(timer);
    if (!locked) {
      waiting.then(() => file.close(), () => file.close());
      return undefined;
    }
    try {
      return new SystemLock(path, file, await readAll(file));
    } catch (error) {
      file.close();
      throw failure("file_read", `Cannot read the lock "${path}"`, error);
    }
  },
};

class SystemLock implements FileLock {
  constructor(readonly path: string, readonly file: Deno.FsFile, readonly found: string) {}

  async write(text: string): Promise<void> {
    try {
      await this.file.truncate(0);
      await this.file.seek(0, Deno.SeekMode.Start);
      const data = new TextEncoder().encode(text);
      for (let at = 0; at < data.length;) at += await this.file.write(data.subarray(at));
    } catch (error) {
      throw failure("file_write", `Cannot write the lock "${this.path}"`, error);
    }
  }

  release(): void {
    this.file.close();
  }
}

async function readAll(file: Deno.FsFile): Promise<string> {
  const data = new Uint8Array(foundMaxBytes);
  let length = 0;
  while (length < data.length) {
    const count = await file.read(data.subarray(length));
    if (count === null) break;
    length += count;
  }
  return new TextDecoder().decode(data.subarray(0, length));
}
