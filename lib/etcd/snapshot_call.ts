/** The Snapshot call over a port that reads streams faster than grpc-js does; the same promises as `openSnapshot`. */
import { E2dError } from "../errors.ts";
import type { Clock, OpenGrpcStream } from "../ports.ts";
import { ByteReader } from "../streams/byte_reader.ts";
import type { CallOptions, EtcdTls } from "./client_channel.ts";
import { callError, timeoutError } from "./client_errors.ts";
import { methods } from "./client_messages.ts";
import { cutSnapshot, type SnapshotStream, snapshotSumBytes } from "./client_snapshot.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface SnapshotCall {
  readonly endpoint: string;
  readonly tls: EtcdTls | undefined;
  readonly open: OpenGrpcStream;
  readonly clock: Clock;
}

/** Parts are handed on in pieces of this size: etcd's own have 32 KiB, and each one costs a turn of the reader. */
const pieceBytes = 524_288;
const messageMaxBytes = 16 * 1_048_576;
const prefixBytes = 5;
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
  let reader: ByteReader | undefined;
  const failed = (error: unknown) => {
    silence.end();
    reader?.cancel().catch(() => {});
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
    return new ByteReader(answer.body);
  };
  let first: Part | undefined;
  try {
    const opened = reader = await silence.during(ending, call);
    first = await silence.during(ending, () => nextPart(opened, endpoint));
  } catch (error) {
    throw failed(error);
  }
  if (first === undefined) {
    silence.end();
    throw cutSnapshot(endpoint, 0, 0);
  }
  const source = reader;
  const totalBytes = first.blob.length + first.remainingBytes + snapshotSumBytes;
  let receivedBytes = 0;
  let waiting: Part | undefined = first;

  async function piece(): Promise<Bytes | undefined> {
    const parts: Bytes[] = [];
    let size = 0;
    while (size < pieceBytes) {
      const part = waiting ?? await nextPart(source, endpoint);
      waiting = undefined;
      if (part === undefined) break;
      silence.heard();
      parts.push(part.blob);
      size += part.blob.length;
    }
    if (parts.length === 0) return undefined;
    const joined = new Uint8Array(size);
    parts.reduce((at, part) => (joined.set(part, at), at + part.length), 0);
    return joined;
  }

  return {
    totalBytes,
    stream: new ReadableStream({
      async pull(controller) {
        try {
          const next = await silence.during(ending, piece);
          if (next === undefined) {
            silence.end();
            if (receivedBytes !== totalBytes) throw cutSnapshot(endpoint, receivedBytes, totalBytes);
            return controller.close();
          }
          receivedBytes += next.length;
          controller.enqueue(next);
        } catch (error) {
          throw failed(error);
        }
      },
      async cancel() {
        silence.end();
        await source.cancel();
      },
    }, { highWaterMark: 0 }),
  };
}

interface Part {
  readonly blob: Bytes;
  readonly remainingBytes: number;
}

/** undefined at the end. */
async function nextPart(reader: ByteReader, endpoint: string): Promise<Part | undefined> {
  const prefix = await reader.read(prefixBytes);
  if (prefix.length === 0) return undefined;
  const length = prefix.length < prefixBytes ? 0 : new DataView(prefix.buffer).getUint32(1);
  if (prefix.length < prefixBytes || prefix[0] !== 0 || length > messageMaxBytes) {
    throw callError(action, endpoint, { code: unavailable, details: "the answer makes no sense" });
  }
  const data = await reader.read(length);
  if (data.length < length) throw callError(action, endpoint, { code: unavailable, details: "the connection was cut" });
  const { blob, remainingBytes } = methods.snapshot.answer.decode(data);
  return { blob: new Uint8Array(blob), remainingBytes };
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
