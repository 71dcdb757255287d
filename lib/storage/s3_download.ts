/**
 * The body of an S3 object as one stream. After a cut it requests the rest of the same object, so that a large snapshot
 * need not begin again. Must never deliver fewer or more bytes than the object has without an error.
 */
import { S3Interruption } from "./s3_handler.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export interface ResumeOptions {
  /** Bytes of the whole object. */
  readonly size: number;
  /** Consecutive cuts without a new byte that end the download. */
  readonly cutsMax: number;
  /**
   * The rest of the same object from this offset; undefined: the store cannot send it. Throws if the object is another
   * one now.
   */
  readonly reopen: (offset: number) => Promise<ReadableStream<Uint8Array> | undefined>;
  readonly pause: (cuts: number) => Promise<void>;
  /** Makes the error of a download that cannot go on. */
  readonly fail: (code: string, state: string, cause?: unknown) => Error;
}

export function resumedBody(body: ReadableStream<Uint8Array>, options: ResumeOptions): ReadableStream<Bytes> {
  const download = new Download(body, options);
  return new ReadableStream<Bytes>({
    pull: (controller) => download.pull(controller),
    cancel: (reason) => download.cancel(reason),
  }, { highWaterMark: 0 });
}

class Download {
  readonly #options: ResumeOptions;
  #reader: ReadableStreamDefaultReader<Uint8Array>;
  #received = 0;
  /** Since the last byte. */
  #cuts = 0;
  #cancelled = false;

  constructor(body: ReadableStream<Uint8Array>, options: ResumeOptions) {
    this.#reader = body.getReader();
    this.#options = options;
  }

  async pull(controller: ReadableStreamDefaultController<Bytes>): Promise<void> {
    const { size, fail } = this.#options;
    const progress = () => `${this.#received} of ${size} bytes`;
    for (;;) {
      const next = await this.#next();
      if (next instanceof S3Interruption) {
        if (this.#received === size) return controller.close();
        if (await this.#resume()) continue;
        throw fail(next.code, `${next.message} after ${progress()}`, next.cause);
      }
      if (next.done && this.#received === size) return controller.close();
      if (next.done) {
        if (await this.#resume()) continue;
        throw fail("store_unreachable", `it ended after ${progress()}`);
      }
      this.#received += next.value.length;
      if (next.value.length > 0) this.#cuts = 0;
      if (this.#received > size) {
        this.#reader.cancel().catch(() => {});
        throw fail("store_broken", `it has more than its ${size} bytes`);
      }
      return controller.enqueue(next.value as Bytes);
    }
  }

  async cancel(reason?: unknown): Promise<void> {
    this.#cancelled = true;
    await this.#reader.cancel(reason).catch(() => {});
  }

  async #next(): Promise<ReadableStreamReadResult<Uint8Array> | S3Interruption> {
    try {
      return await this.#reader.read();
    } catch (error) {
      if (error instanceof S3Interruption) return error;
      throw error;
    }
  }

  /** False: the download ends with the cut. */
  async #resume(): Promise<boolean> {
    const { cutsMax, pause, reopen } = this.#options;
    if (++this.#cuts >= cutsMax || this.#cancelled) return false;
    await pause(this.#cuts);
    const rest = await reopen(this.#received);
    if (rest === undefined) return false;
    this.#reader = rest.getReader();
    if (this.#cancelled) await this.#reader.cancel().catch(() => {});
    return true;
  }
}
