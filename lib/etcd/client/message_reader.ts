/** Reads the length-prefixed messages of a gRPC stream through one reused buffer. */

type Bytes = Uint8Array<ArrayBuffer>;

/** One byte for compression, four for the length. */
const prefixBytes = 5;
const messageMaxBytes = 16 * 1_048_576;
const bufferBytes = 1_048_576;
/** A read waits for at least this many bytes: few event loop turns on a fast network, regular progress on a slow one. */
const readMinBytes = 65_536;

export interface MessageSource {
  readonly body: ReadableStream<Bytes>;
  close(): void;
}

export class MessageReader {
  readonly #reader: ReadableStreamBYOBReader;
  readonly #close: () => void;
  readonly #broken: (details: string) => Error;
  #buffer: Bytes = new Uint8Array(bufferBytes);
  #start = 0;
  #end = 0;
  #closed = false;

  /** `broken` makes the error for an invalid or truncated stream. */
  constructor({ body, close }: MessageSource, broken: (details: string) => Error) {
    this.#reader = body.getReader({ mode: "byob" });
    this.#close = close;
    this.#broken = broken;
  }

  /**
   * The next message, valid until the following call; undefined at the end of the stream. `onBytes` is called whenever
   * bytes arrive.
   */
  async next(onBytes: () => void): Promise<Uint8Array | undefined> {
    if (!await this.#have(prefixBytes, onBytes)) {
      if (this.#end === this.#start) return undefined;
      throw this.#broken("the connection was lost within a message");
    }
    const prefix = new DataView(this.#buffer.buffer, this.#start, prefixBytes);
    const length = prefix.getUint32(1);
    if (prefix.getUint8(0) !== 0 || length > messageMaxBytes) throw this.#broken("the answer is not valid gRPC");
    if (!await this.#have(prefixBytes + length, onBytes)) {
      throw this.#broken("the connection was lost within a message");
    }
    const from = this.#start + prefixBytes;
    this.#start = from + length;
    return this.#buffer.subarray(from, this.#start);
  }

  /** Idempotent; may be called at any time. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reader.cancel().catch(() => {}).finally(this.#close);
  }

  /** False when the stream ends before the buffer has that many bytes. */
  async #have(count: number, onBytes: () => void): Promise<boolean> {
    if (this.#end - this.#start >= count) return true;
    this.#reserve(count);
    for (let done = false; !done && this.#end < count;) {
      const room = this.#buffer.subarray(this.#end);
      // The read detaches the buffer and returns it in the answer.
      const answer = await this.#reader.read(room, { min: Math.min(room.length, readMinBytes) });
      done = answer.done;
      if (answer.value === undefined) break;
      this.#buffer = new Uint8Array(answer.value.buffer);
      this.#end += answer.value.length;
      if (answer.value.length > 0) onBytes();
    }
    return this.#end >= count;
  }

  #reserve(count: number): void {
    const kept = this.#buffer.subarray(this.#start, this.#end);
    if (count > this.#buffer.length) this.#buffer = new Uint8Array(count);
    this.#buffer.set(kept);
    this.#start = 0;
    this.#end = kept.length;
  }
}
