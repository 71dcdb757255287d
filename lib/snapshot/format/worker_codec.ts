/**
 * Not in use yet, see sameThreadCodec. Seals and opens databases in a Worker, so that compression, encryption and hashes do not delay the event loop, which
 * answers probes and gossip. Owns the Worker of each database: it starts when the database is read first and must end with
 * the stream, however that ends.
 */
import { E2dError } from "../../errors.ts";
import type { Codec, OpenedSums } from "./codec.ts";
import {
  errorOf,
  type FromWorker,
  type Job,
  receiveStream,
  sendStream,
  type StreamSender,
  type ToWorker,
} from "./codec_messages.ts";
import type { EtcdSum } from "./etcd_sum.ts";
import type { OpenedSnapshot } from "./unseal.ts";

/** More than the salt, the file key and the initial counters of any format. */
const randomBytesMax = 256;

export const workerCodec: Codec = {
  seal(plain, { randomBytes, ...options }) {
    const job = new WorkerJob<EtcdSum>({ kind: "seal", options, random: randomBytes(randomBytesMax) }, plain);
    return { stream: job.stream, etcdSum: job.sums };
  },

  async open(source, keys, options) {
    const job = new WorkerJob<OpenedSums>({ kind: "open", keys, options }, source);
    job.start();
    return { ...await job.opened, stream: job.stream, sums: job.sums };
  },
};

class WorkerJob<Sums> {
  readonly #job: Job;
  readonly #source: ReadableStream<Uint8Array>;
  readonly #opened = Promise.withResolvers<Omit<OpenedSnapshot, "stream">>();
  readonly #sums = Promise.withResolvers<Sums>();
  readonly #output = receiveStream(() => {
    this.start();
    this.#post({ kind: "grant" });
  }, (reason) => this.#end(reason));
  #worker: Worker | undefined;
  #input: StreamSender | undefined;
  #ended = false;

  constructor(job: Job, source: ReadableStream<Uint8Array>) {
    this.#job = job;
    this.#source = source;
    // A failure is also that of the stream.
    this.#opened.promise.catch(() => {});
    this.#sums.promise.catch(() => {});
  }

  get stream() {
    return this.#output.stream;
  }

  get opened() {
    return this.#opened.promise;
  }

  get sums() {
    return this.#sums.promise;
  }

  start(): void {
    if (this.#worker !== undefined || this.#ended) return;
    const worker = new Worker(new URL("./codec_worker.ts", import.meta.url), { type: "module" });
    this.#worker = worker;
    worker.onmessage = ({ data }: MessageEvent<FromWorker>) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(new E2dError("snapshot_worker", `Cannot process the snapshot: its thread failed: ${event.message}`));
    };
    this.#post({ kind: "start", job: this.#job });
    this.#input = sendStream(this.#source, (message, transfer) => this.#post(message, transfer));
    this.#input.sent.catch((error) => this.#fail(error));
  }

  #post(message: ToWorker, transfer: Transferable[] = []): void {
    if (!this.#ended) this.#worker?.postMessage(message, transfer);
  }

  #receive(message: FromWorker): void {
    if (this.#ended) return;
    switch (message.kind) {
      case "grant":
        return this.#input?.granted();
      case "chunks":
        return this.#output.chunks(message.chunks);
      case "opened":
        return this.#opened.resolve(message.opened);
      case "end":
        // The stream ends with the sums: its reader may want them at once.
        return;
      case "sums":
        this.#sums.resolve(message.sums as Sums);
        this.#output.end();
        return void this.#end(undefined);
      case "failed":
        return this.#fail(errorOf(message.error));
    }
  }

  #fail(error: unknown): void {
    if (this.#ended) return;
    this.#output.fail(error);
    void this.#end(error);
  }

  /** Resolves when the source is closed. Never rejects. */
  async #end(reason: unknown): Promise<void> {
    if (this.#ended) return;
    this.#ended = true;
    this.#worker?.terminate();
    const error = reason ?? new E2dError("snapshot_worker", "Cannot process the snapshot: it was cancelled");
    this.#opened.reject(error);
    this.#sums.reject(error);
    await (this.#input ?? this.#source).cancel(reason).catch(() => {});
  }
}
