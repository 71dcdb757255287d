/**
 * The messages between a thread and the Worker that seals or opens a database for it. Each direction has one stream of
 * bytes: its receiver grants each chunk that it has room for, so a slow reader stops the source.
 */
import { withoutUndefined } from "../../without_undefined.ts";
import { E2dError, isE2dError } from "../../errors.ts";
import type { OpenedSnapshot, OpenOptions, SnapshotKeys } from "./unseal.ts";
import type { WrapOptions } from "./seal.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export type Job =
  /** `random` is what `randomBytes` gives out. */
  | { readonly kind: "seal"; readonly options: Omit<WrapOptions, "randomBytes">; readonly random: Bytes }
  | { readonly kind: "open"; readonly keys: SnapshotKeys; readonly options: OpenOptions };

export type StreamMessage =
  /** From the sender: the next chunks, which belong to the receiver. */
  | { readonly kind: "chunks"; readonly chunks: readonly Bytes[] }
  | { readonly kind: "end" }
  /** From the receiver: one more "chunks" may be sent. */
  | { readonly kind: "grant" };

export type ToWorker = { readonly kind: "start"; readonly job: Job } | StreamMessage;

export type FromWorker =
  | StreamMessage
  | { readonly kind: "opened"; readonly opened: Omit<OpenedSnapshot, "stream"> }
  /** Comes after "end". */
  | { readonly kind: "sums"; readonly sums: unknown }
  | { readonly kind: "failed"; readonly error: ErrorParts };

/** An error as plain data: structured cloning keeps neither the class nor the code of an E2dError. */
export interface ErrorParts {
  readonly code: string | undefined;
  readonly message: string;
  readonly hint: string | undefined;
  readonly cause: string | undefined;
}

export function partsOf(error: unknown): ErrorParts {
  const cause = error instanceof Error && error.cause !== undefined ? textOf(error.cause) : undefined;
  const { code, hint } = isE2dError(error) ? error : { code: undefined, hint: undefined };
  return { code, message: textOf(error), hint, cause };
}

export function errorOf({ code, message, hint, cause }: ErrorParts): Error {
  const options = cause === undefined ? {} : { cause: new Error(cause) };
  if (code === undefined) return new Error(message, options);
  return new E2dError(code, message, { ...options, ...withoutUndefined({ hint }) });
}

const textOf = (error: unknown) => error instanceof Error ? error.message : String(error);

/** Smaller chunks are sent together with the next one: a message costs as much as a copy of so many bytes. */
const smallBytes = 131_072;

export interface StreamSender {
  /** The receiver has room for one more message. */
  granted(): void;
  /** Resolves when all is sent. Throws what the stream throws, or the reason of `cancel`. */
  readonly sent: Promise<void>;
  /** Resolves when the stream is closed. */
  cancel(reason: unknown): Promise<void>;
}

/** Sends a stream to the other thread, in messages of at least `smallBytes` and a grant each. */
export function sendStream(
  stream: ReadableStream<Uint8Array>,
  post: (message: StreamMessage, transfer: Transferable[]) => void,
): StreamSender {
  const reader = stream.getReader();
  let grants = 0;
  let wake = () => {};
  const granted = () => {
    grants++;
    wake();
  };
  const send = async () => {
    for (let ended = false; !ended;) {
      while (grants === 0) await new Promise<void>((resolve) => wake = resolve);
      const chunks: Bytes[] = [];
      for (let size = 0; size < smallBytes && !ended;) {
        const { done, value } = await reader.read();
        ended = done;
        if (value === undefined || value.length === 0) continue;
        chunks.push(ownBuffer(value));
        size += value.length;
      }
      if (chunks.length === 0) break;
      grants--;
      post({ kind: "chunks", chunks }, chunks.map(({ buffer }) => buffer));
    }
    post({ kind: "end" }, []);
  };
  const sent = send();
  sent.catch(() => {});
  return { granted, sent, cancel: (reason) => reader.cancel(reason) };
}

/** A part of a larger buffer is copied: its sender may use the rest. */
const ownBuffer = (chunk: Uint8Array): Bytes =>
  chunk.length === chunk.buffer.byteLength && chunk.buffer instanceof ArrayBuffer
    ? chunk as Bytes
    : new Uint8Array(chunk);

/** Messages in transfer in each direction: 4 MiB with the chunks of v2. */
const grantedAhead = 4;

export interface StreamReceiver {
  readonly stream: ReadableStream<Bytes>;
  chunks(chunks: readonly Bytes[]): void;
  end(): void;
  fail(error: unknown): void;
}

/**
 * @param grant the first grants follow when the stream is read
 * @param onCancel by the reader of the stream
 */
export function receiveStream(grant: () => void, onCancel: (reason: unknown) => void | Promise<void>): StreamReceiver {
  const waiting: Bytes[] = [];
  /** The number of chunks of each message that is not read whole. */
  const unread: number[] = [];
  let begun = false;
  let ended = false;
  let failure: { readonly error: unknown } | undefined;
  let wake = () => {};
  const stream = new ReadableStream<Bytes>({
    async pull(controller) {
      if (!begun) { for (let count = 0; count < grantedAhead; count++) grant(); }
      begun = true;
      while (waiting.length === 0 && !ended && failure === undefined) {
        await new Promise<void>((resolve) => wake = resolve);
      }
      if (failure !== undefined) throw failure.error;
      const chunk = waiting.shift();
      if (chunk === undefined) return controller.close();
      if (--unread[0]! === 0) {
        unread.shift();
        grant();
      }
      controller.enqueue(chunk);
    },
    cancel: onCancel,
  }, { highWaterMark: 0 });
  return {
    stream,
    chunks(chunks) {
      waiting.push(...chunks);
      unread.push(chunks.length);
      wake();
    },
    end() {
      ended = true;
      wake();
    },
    fail(error) {
      failure ??= { error };
      wake();
    },
  };
}
