import type { FileReader } from "../ports.ts";
import { failure } from "./failure.ts";

/** Random access to files on the local disk. */
export const systemFileReader: FileReader = {
  async open(path) {
    let file: Deno.FsFile;
    try {
      file = await Deno.open(path, { read: true });
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return undefined;
      throw failure("file_read", `Cannot open "${path}"`, error);
    }
    const readFailure = (error: unknown) => failure("file_read", `Cannot read "${path}"`, error);
    let size: number;
    try {
      size = (await file.stat()).size;
    } catch (error) {
      file.close();
      throw readFailure(error);
    }
    // Reads are serialized, because the file has one position.
    let before: Promise<unknown> = Promise.resolve();
    const readAt = async (offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> => {
      const data = new Uint8Array(length);
      let filled = 0;
      try {
        await file.seek(offset, Deno.SeekMode.Start);
        while (filled < length) {
          const count = await file.read(data.subarray(filled));
          if (count === null) break;
          filled += count;
        }
      } catch (error) {
        throw readFailure(error);
      }
      return data.subarray(0, filled);
    };
    return {
      size,
      read(offset, length) {
        const reading = before.then(() => readAt(offset, length));
        before = reading.catch(() => {});
        return reading;
      },
      close: () => file.close(),
    };
  },
};
