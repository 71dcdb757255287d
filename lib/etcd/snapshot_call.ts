/** The Snapshot call over a port that reads streams faster than grpc-js does; the same promises as `openSnapshot`. */
import { E2dError } from "../errors.ts";
import type { Clock, OpenGrpcStream } from "../ports.ts";
import type { CallOptions, EtcdTls } from "./client_channel.ts";
import { callError, timeoutError } from "./client_errors.ts";
import { methods } from "./client_messages.ts";
import { MessageReader } from "./message_reader.ts";
import { cutSnapshot, type SnapshotStream, snapshotSumBytes } from "./client_snapshot.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SnapshotCall {
  readonly endpoint: string;
  readonly tls: EtcdTls | undefined;
  readonly open: OpenGrpcStream;
  readonly clock: Clock;
}

/** Parts are handed on in pieces of this size, which is that of a sealed chunk: etcd's own have 32 KiB. */
const pieceBytes = 1_048_576;
const action = "take a snapshot";
/** gRPC's UNAVAILABLE: what a lost connection counts for. */
const unavailable = 14;

/** See `openSnapshot`. */
export async function callSnapshot(
  { endpoint, tls, open, clock }: SnapshotCall,
  { timeoutMs = 30_000, signal }: CallOptions,
): Promise<SnapshotStream> {
  const silence = new Silence(clock, timeoutMs, () => timeoutError(action, endpoint, timeoutMs));
  const ending = signal === undefined ? silence.signal : AbortSignal.any([silence.signal, signal]);
  let messages: MessageReader | undefined;
  const failed = (error: unknown) => {
    silence.end();
    messages?.close();
    ending.throwIfAborted();
    if (error instanceof E2dError) return error;
    return callError(action, endpoint, {
      code: unavailable,
      details: error instanceof Error ? error.message : `${error}`,
    });
  };
  const call = async () => {
    const url = `${endpoint.replace(/\/$/, "")}${methods.snapshot.path}`;
    const answer = await open({
      url,
      message: new Uint8Array(methods.snapshot.request.encode({})),
      ...(tls === undefined ? {} : { tls }),
      signal: ending,
    });
    if (answer.kind === "refusal") throw callError(action, endpoint, answer);
    return new MessageReader(answer, (details) => callError(action, endpoint, { code: unavailable, details }));
  };
  let first: Part | undefined;
  try {
    const opened = messages = await silence.during(ending, call);
    first = await silence.during(ending, () => nextPart(opened, silence));
  } catch (error) {
    throw failed(error);
  }
  if (first === undefined) throw failed(cutSnapshot(endpoint, 0, 0));
  const source = messages;
  const totalBytes = first.blob.length + first.remainingBytes + snapshotSumBytes;
  let receivedBytes = 0;
  /** Of the last part, what the last piece had no room for. */
  let rest: Uint8Array | undefined = first.blob;

  async function piece(): Promise<Bytes | undefined> {
    const whole = new Uint8Array(pieceBytes);
    let size = 0;
    while (size < pieceBytes) {
      const blob = rest ?? (await nextPart(source, silence))?.blob;
      if (blob === undefined) break;
      const taken = blob.subarray(0, pieceBytes - size);
      whole.set(taken, size);
      size += taken.length;
      rest = taken.length < blob.length ? blob.subarray(taken.length) : undefined;
    }
    if (size === 0) return undefined;
    return size === pieceBytes ? whole : whole.slice(0, size);
  }

  return {
    totalBytes,
    stream: new ReadableStream({
      async pull(controller) {
        try {
          const next = await silence.during(ending, piece);
          if (next === undefined) {
            silence.end();
            source.close();
            if (receivedBytes !== totalBytes) throw cutSnapshot(endpoint, receivedBytes, totalBytes);
            return controller.close();
          }
          receivedBytes += next.length;
          controller.enqueue(next);
        } catch (error) {
          throw failed(error);
        }
      },
      cancel() {
        silence.end();
        source.close();
      },
    }, { highWaterMark: 0 }),
  };
}

interface Part {
  /** Stands until the next part is read. */
  readonly blob: Uint8Array;
  readonly remainingBytes: number;
}

/** undefined at the end. */
async function nextPart(messages: MessageReader, silence: Silence): Promise<Part | undefined> {
  const message = await messages.next(() => silence.heard());
  return message === undefined ? undefined : methods.snapshot.answer.decode(message);
}

/** Ends a call when nothing came for `timeoutMs` of waiting; time that the reader takes for itself does not count. */
class Silence {
  readonly #clock: Clock;
  readonly #over = new AbortController();
  readonly #ended = new AbortController();
  #sinceMs: number | undefined;

  constructor(clock: Clock, timeoutMs: number, error: () => E2dError) {
    this.#clock = clock;
    void this.#watch(timeoutMs, error);
  }

  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** What `work` resolves with, unless the end comes first: a stream may not hear of its call's end by itself. */
  async during<T>(ending: AbortSignal, work: () => Promise<T>): Promise<T> {
    this.heard();
    const { promise, reject } = Promise.withResolvers<never>();
    const onEnd = () => reject(ending.reason);
    ending.addEventListener("abort", onEnd, { once: true });
    try {
      ending.throwIfAborted();
      return await Promise.race([work(), promise]);
    } finally {
      ending.removeEventListener("abort", onEnd);
      this.#sinceMs = undefined;
    }
  }

  /** Something came. */
  heard(): void {
    this.#sinceMs = this.#clock.monotonicMs();
  }

  end(): void {
    this.#ended.abort();
  }

  async #watch(timeoutMs: number, error: () => E2dError): Promise<void> {
    while (!this.#ended.signal.aborted) {
      const leftMs = this.#sinceMs === undefined ? timeoutMs : this.#sinceMs + timeoutMs - this.#clock.monotonicMs();
      if (leftMs <= 0) return this.#over.abort(error());
      try {
        await this.#clock.sleep(leftMs, this.#ended.signal);
      } catch {
        return;
      }
    }
  }
}
