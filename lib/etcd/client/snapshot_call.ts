/** The Snapshot call over a port that reads streams faster than grpc-js does, with the same guarantees as `openSnapshot`. */
import { E2dError } from "../../errors.ts";
import type { Clock, OpenGrpcStream } from "../../ports.ts";
import type { CallOptions, EtcdTls } from "./channel.ts";
import { callError, timeoutError } from "./errors.ts";
import { methods } from "./messages.ts";
import { MessageReader } from "./message_reader.ts";
import { SilenceTimeout } from "./silence.ts";
import { cutSnapshot, type SnapshotStream, snapshotSumBytes } from "./snapshot.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SnapshotCall {
  readonly endpoint: string;
  readonly tls: EtcdTls | undefined;
  readonly open: OpenGrpcStream;
  readonly clock: Clock;
}

/** Size of the chunks that are passed on, which is that of a sealed chunk; etcd's own parts have 32 KiB. */
const chunkBytes = 1_048_576;
const action = "take a snapshot";
/** gRPC's UNAVAILABLE, which stands for a lost connection. */
const unavailable = 14;

/** See `openSnapshot`. */
export async function callSnapshot(
  call: SnapshotCall,
  { timeoutMs = 30_000, signal }: CallOptions,
): Promise<SnapshotStream> {
  const transfer = new SnapshotTransfer(call, timeoutMs, signal);
  const totalBytes = await transfer.start();
  return {
    totalBytes,
    stream: new ReadableStream({
      async pull(controller) {
        const chunk = await transfer.next();
        if (chunk === undefined) controller.close();
        else controller.enqueue(chunk);
      },
      cancel: () => transfer.close(),
    }, { highWaterMark: 0 }),
  };
}

interface Part {
  /** Valid until the next part is read. */
  readonly blob: Uint8Array;
  readonly remainingBytes: number;
}

/** One Snapshot call. Every failure closes it. */
class SnapshotTransfer {
  readonly #call: SnapshotCall;
  readonly #silence: SilenceTimeout;
  readonly #ending: AbortSignal;
  #messages: MessageReader | undefined;
  #totalBytes = 0;
  #receivedBytes = 0;
  /** The part of the last blob that did not fit into the last chunk. */
  #rest: Uint8Array | undefined;

  constructor(call: SnapshotCall, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#call = call;
    this.#silence = new SilenceTimeout(call.clock, timeoutMs, () => timeoutError(action, call.endpoint, timeoutMs));
    this.#ending = signal === undefined ? this.#silence.signal : AbortSignal.any([this.#silence.signal, signal]);
  }

  /** Resolves with the total bytes when the first part has arrived. */
  start(): Promise<number> {
    return this.#failingTogether(async () => {
      this.#messages = await this.#silence.during(this.#ending, () => this.#open());
      const first = await this.#silence.during(this.#ending, () => this.#nextPart());
      if (first === undefined) throw cutSnapshot(this.#call.endpoint, 0, 0);
      this.#rest = first.blob;
      return this.#totalBytes = first.blob.length + first.remainingBytes + snapshotSumBytes;
    });
  }

  /** Undefined at the end. */
  next(): Promise<Bytes | undefined> {
    return this.#failingTogether(async () => {
      const chunk = await this.#silence.during(this.#ending, () => this.#chunk());
      this.#receivedBytes += chunk?.length ?? 0;
      if (chunk !== undefined) return chunk;
      this.close();
      if (this.#receivedBytes === this.#totalBytes) return undefined;
      throw cutSnapshot(this.#call.endpoint, this.#receivedBytes, this.#totalBytes);
    });
  }

  close(): void {
    this.#silence.stop();
    this.#messages?.close();
  }

  async #failingTogether<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.close();
      this.#ending.throwIfAborted();
      throw error instanceof E2dError ? error : this.#lost(error instanceof Error ? error.message : `${error}`);
    }
  }

  #lost(details: string): E2dError {
    return callError(action, this.#call.endpoint, { code: unavailable, details });
  }

  async #open(): Promise<MessageReader> {
    const { endpoint, tls, open } = this.#call;
    const answer = await open({
      url: `${endpoint.replace(/\/$/, "")}${methods.snapshot.path}`,
      message: new Uint8Array(methods.snapshot.request.encode({})),
      ...(tls !== undefined && { tls }),
      signal: this.#ending,
    });
    if (answer.kind === "refusal") throw callError(action, endpoint, answer);
    return new MessageReader(answer, (details) => this.#lost(details));
  }

  async #nextPart(): Promise<Part | undefined> {
    const message = await this.#messages!.next(() => this.#silence.heard());
    return message === undefined ? undefined : methods.snapshot.answer.decode(message);
  }

  async #chunk(): Promise<Bytes | undefined> {
    const whole = new Uint8Array(chunkBytes);
    let size = 0;
    while (size < chunkBytes) {
      const blob = this.#rest ?? (await this.#nextPart())?.blob;
      if (blob === undefined) break;
      const taken = blob.subarray(0, chunkBytes - size);
      whole.set(taken, size);
      size += taken.length;
      this.#rest = taken.length < blob.length ? blob.subarray(taken.length) : undefined;
    }
    if (size === 0) return undefined;
    return size === chunkBytes ? whole : whole.slice(0, size);
  }
}
