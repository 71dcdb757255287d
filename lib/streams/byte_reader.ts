/** Reads exact numbers of bytes from a stream of chunks, and divides a stream into pieces of equal size. */
import { concat } from "../bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export class ByteReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  #ended = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  /** Returns `length` bytes, fewer only at the end, in a new array. */
  async read(length: number): Promise<Bytes> {
    if (length > 0 && this.#rest.length === 0) await this.#fill();
    if (length > 0 && this.#rest.length === length && this.#rest.buffer.byteLength === length) {
      const whole = this.#rest as Bytes;
      this.#rest = new Uint8Array(0);
      return whole;
    }
    const result = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      if (this.#rest.length === 0 && !await this.#fill()) return result.slice(0, filled);
      const part = this.#rest.subarray(0, length - filled);
      result.set(part, filled);
      filled += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return result;
  }

  /** Returns the next `length` bytes without consuming them; fewer only at the end. */
  async peek(length: number): Promise<Bytes> {
    const bytes = await this.read(length);
    this.#rest = concat(bytes, this.#rest);
    return bytes;
  }

  async atEnd(): Promise<boolean> {
    return this.#rest.length === 0 && !await this.#fill();
  }

  /** The rest as a stream. The reader must not be used afterwards. */
  rest(): ReadableStream<Bytes> {
    return new ReadableStream({
      pull: async (controller) => {
        if (this.#rest.length === 0 && !await this.#fill()) return controller.close();
        controller.enqueue(new Uint8Array(this.#rest));
        this.#rest = new Uint8Array(0);
      },
      cancel: (reason) => this.cancel(reason),
    }, { highWaterMark: 0 });
  }

  async cancel(reason?: unknown): Promise<void> {
    this.#ended = true;
    await this.#reader.cancel(reason);
  }

  async #fill(): Promise<boolean> {
    while (!this.#ended) {
      const { done, value } = await this.#reader.read();
      if (done) this.#ended = true;
      else if (value.length > 0) {
        this.#rest = value;
        return true;
      }
    }
    return false;
  }
}
