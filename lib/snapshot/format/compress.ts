/** Compression of streams. node:zlib computes on the thread that calls it in Deno 2.6.10: see worker_codec.ts. */
import { Readable } from "node:stream";
import { constants, createGunzip, createGzip, createZstdCompress, createZstdDecompress } from "node:zlib";
import { E2dError } from "../../errors.ts";
import type { Compression } from "./v2.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export function compress(plain: ReadableStream<Uint8Array>, compression: Compression): ReadableStream<Bytes> {
  switch (compression) {
    case "none":
      return plain as ReadableStream<Bytes>;
    case "gzip":
      return through(plain, createGzip({ level: 1, chunkSize: 262_144 }));
    case "zstd":
      return through(
        plain,
        createZstdCompress({ chunkSize: 262_144, params: { [constants.ZSTD_c_compressionLevel]: 1 } }),
      );
    default:
      return compression satisfies never;
  }
}

/** Errors with E2dError `snapshot_corrupt` for invalid data, and with `snapshot_size` beyond `maxBytes`. */
export function decompress(
  compressed: ReadableStream<Uint8Array>,
  compression: Compression,
  maxBytes: number,
): ReadableStream<Bytes> {
  if (compression === "none") return bounded(compressed as ReadableStream<Bytes>, maxBytes);
  const stream = compression === "gzip" ? createGunzip({ chunkSize: 262_144 }) : createZstdDecompress();
  return bounded(through(compressed, stream), maxBytes);
}

function through(source: ReadableStream<Uint8Array>, transform: NodeJS.ReadWriteStream): ReadableStream<Bytes> {
  const output = Readable.fromWeb(source as never).on("error", (error) => {
    // pipe() forwards the end of a stream but not its error.
    (transform as unknown as { destroy(error: Error): void }).destroy(error);
  }).pipe(transform);
  return ReadableStream.from(copies(output as unknown as AsyncIterable<Uint8Array>));
}

async function* copies(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Bytes> {
  try {
    for await (const chunk of chunks) yield new Uint8Array(chunk);
  } catch (cause) {
    if (cause instanceof E2dError) throw cause;
    throw new E2dError("snapshot_corrupt", "Cannot open the snapshot: its compressed data is damaged", { cause });
  }
}

/** Errors with E2dError `snapshot_size` beyond `maxBytes`. */
export function bounded(stream: ReadableStream<Bytes>, maxBytes: number): ReadableStream<Bytes> {
  let total = 0;
  return stream.pipeThrough(
    new TransformStream<Bytes, Bytes>({
      transform(chunk, controller) {
        total += chunk.length;
        if (total > maxBytes) {
          throw new E2dError("snapshot_size", `Cannot open the snapshot: it holds more than ${maxBytes} bytes`);
        }
        controller.enqueue(chunk);
      },
    }),
  );
}
