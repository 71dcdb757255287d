/** The Snapshot call of one member: its complete database, with backpressure, while it continues to serve. */
import { E2dError } from "../../errors.ts";
import type { CallOptions, EtcdCalls } from "./channel.ts";
import { methods } from "./messages.ts";

export interface SnapshotStream {
  /**
   * The database file, then the 32 bytes of its SHA-256 that etcd appends. Errors with E2dError `etcd_timeout`,
   * `etcd_connection_lost` or `etcd_snapshot_cut`; cancelling it ends the call.
   */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Bytes of the stream, including the checksum. */
  readonly totalBytes: number;
}

export const snapshotSumBytes = 32;

/**
 * Resolves when the first part has arrived. `timeoutMs` (default 30,000) bounds how long the reader waits for one part;
 * the duration of the whole transfer has no bound. Throws E2dError `etcd_snapshot_cut` or what `unary` calls throw.
 */
export async function openSnapshot(
  channels: EtcdCalls,
  endpoint: string,
  { timeoutMs = 30_000, signal }: CallOptions,
): Promise<SnapshotStream> {
  const call = { timeoutMs, signal, action: "take a snapshot" };
  const parts = channels.stream(endpoint, methods.snapshot, {}, call);
  const first = await parts.next();
  if (first.done) throw cutSnapshot(endpoint, 0, 0);
  const totalBytes = first.value.blob.length + first.value.remainingBytes + snapshotSumBytes;
  let receivedBytes = 0;
  let part: typeof first | undefined = first;
  return {
    totalBytes,
    stream: new ReadableStream({
      async pull(controller) {
        const next = part ?? await parts.next();
        part = undefined;
        if (next.done) {
          if (receivedBytes !== totalBytes) throw cutSnapshot(endpoint, receivedBytes, totalBytes);
          return controller.close();
        }
        receivedBytes += next.value.blob.length;
        // A copy: a reader may transfer its memory to a worker.
        controller.enqueue(new Uint8Array(next.value.blob));
      },
      async cancel() {
        await parts.return(undefined);
      },
    }, { highWaterMark: 0 }),
  };
}

/** The stream ended early. */
export function cutSnapshot(endpoint: string, receivedBytes: number, totalBytes: number): E2dError {
  return new E2dError(
    "etcd_snapshot_cut",
    `Cannot take a snapshot at etcd "${endpoint}": it ended after ${receivedBytes} of ${totalBytes} bytes`,
  );
}
