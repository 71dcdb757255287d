/** The length-prefixed messages of a gRPC stream, taken out of one buffer that is filled again and again. */

type Bytes = Uint8Array<ArrayBuffer>;

/** One byte that says whether it is compressed, four of the length. */
const prefixBytes = 5;
const messageMaxBytes = 16 * 1_048_576;
const startBytes = 1_048_576;
/** So many at least come with one read, when they come: few turns on a fast network, signs of life on a slow one. */
const readMinBytes = 65_536;

export interface MessageSource {
  readonly body: ReadableStream<Bytes>;
  close(): void;
}

export class MessageReader {
  readonly #reader: ReadableStreamBYOBReader;
  readonly #close: () => void;
  readonly #broken: (details: string) => Error;
  #buffer: Bytes = new Uint8Array(startBytes);
  #start = 0;
  #end = 0;
  #closed = false;

  /** `broken` makes the error for an answer that is none, or is cut. */
  constructor({ body, close }: MessageSource, broken: (details: string) => Error) {
    this.#reader = body.getReader({ mode: "byob" });
    this.#close = close;
    this.#broken = broken;
  }

  /** The next message, which stands until the one after it is asked for; undefined at the end. `onBytes`: some came. */
  async next(onBytes: () => void): Promise<Uint8Array | undefined> {
    if (!await this.#have(prefixBytes, onBytes)) {
      if (this.#end === this.#start) return undefined;
      throw this.#broken("the connection was cut");
    }
    const prefix = new DataView(this.#buffer.buffer, this.#start, prefixBytes);
    const length = prefix.getUint32(1);
    if (prefix.getUint8(0) !== 0 || length > messageMaxBytes) throw this.#broken("the answer makes no sense");
    if (!await this.#have(prefixBytes + length, onBytes)) throw this.#broken("the connection was cut");
    const from = this.#start + prefixBytes;
    this.#start = from + length;
    return this.#buffer.subarray(from, this.#start);
  }

  /** May be called again, and at any time. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#reader.cancel().catch(() => {}).finally(this.#close);
  }

  /** False when the stream ends before so many bytes stand in the buffer. */
  async #have(count: number, onBytes: () => void): Promise<boolean> {
    if (this.#end - this.#start >= count) return true;
    this.#makeRoom(count);
    for (let done = false; !done && this.#end < count;) {
      const room = this.#buffer.subarray(this.#end);
      // The buffer goes away with the question and comes back with the answer.
      const answer = await this.#reader.read(room, { min: Math.min(room.length, readMinBytes) });
      done = answer.done;
      if (answer.value === undefined) break;
      this.#buffer = new Uint8Array(answer.value.buffer);
      this.#end += answer.value.length;
      if (answer.value.length > 0) onBytes();
    }
    return this.#end >= count;
  }

  #makeRoom(count: number): void {
    const kept = this.#buffer.subarray(this.#start, this.#end);
    if (count > this.#buffer.length) this.#buffer = new Uint8Array(count);
    this.#buffer.set(kept);
    this.#start = 0;
    this.#end = kept.length;
  }
}
