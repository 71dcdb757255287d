/** The Snapshot call of one member: its whole database while it goes on serving, at the pace of the reader. */
import { E2dError } from "../errors.ts";
import type { CallOptions, EtcdChannels } from "./client_channel.ts";
import { methods } from "./client_messages.ts";

export interface SnapshotStream {
  /**
   * The database file, then the 32 bytes of its SHA-256 that etcd appends. Errors with E2dError `etcd_timeout`,
   * `etcd_connection_lost` or `etcd_snapshot_cut`; cancelling it ends the call.
   */
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Bytes that the stream will bring, the sum included. */
  readonly totalBytes: number;
}

export const snapshotSumBytes = 32;

/**
 * Resolves when the first part has come. `timeoutMs` (default 30,000) is how long etcd may be silent while the reader
 * waits; there is no bound on the whole.
 */
export async function openSnapshot(
  channels: EtcdChannels,
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
        // A copy of its own: a reader may hand its memory to a worker.
        controller.enqueue(new Uint8Array(next.value.blob));
      },
      async cancel() {
        await parts.return(undefined);
      },
    }, { highWaterMark: 0 }),
  };
}

/** The stream has ended before its end. */
export function cutSnapshot(endpoint: string, receivedBytes: number, totalBytes: number): E2dError {
  return new E2dError(
    "etcd_snapshot_cut",
    `Cannot take a snapshot at etcd "${endpoint}": it ended after ${receivedBytes} of ${totalBytes} bytes`,
  );
}
