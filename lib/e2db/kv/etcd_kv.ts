/**
 * {@link Kv} over `npm:etcd3`, which is loaded when the first connection is opened.
 *
 * It uses the raw requests of the generated client, not its builders, because of defects in version 1.1.2: its default
 * policy repeats a call three times after a lost connection, also a transaction that may have been applied; after three
 * failures its circuit breaker rejects a healthy server for five seconds; its watch manager reconnects without reporting
 * from which revision; the end of one of its streams breaks all other calls; answers over 4 MiB fail unless the limit of
 * gRPC is raised.
 */
import type { Etcd3, IOptions } from "etcd3";
import {
  type Kv,
  KvError,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
  type WatchBatch,
  type WatchRequest,
} from "./kv.ts";
import {
  cancelled,
  eventRevision,
  kvError,
  rangeResponse,
  rawCompare,
  rawOperation,
  type RawRange,
  rawRange,
  type RawTxn,
  type RawWatch,
  watchEvent,
} from "./etcd_messages.ts";
import { deadlineAfter } from "../platform.ts";
import { prepareGrpc } from "../../deno_grpc.ts";

export interface EtcdOptions {
  /** One URL or several: "http://127.0.0.1:2379". */
  hosts: string | string[];
  /** PEM texts. Without a root certificate, https hosts are verified by those of the system. */
  tls?: { rootCertificate?: string; privateKey?: string; certificate?: string };
  auth?: { username: string; password: string };
  /** Time limit of one call. Default 5,000. */
  callTimeoutMs?: number;
}

/** The part of a gRPC duplex stream that is used here. */
interface Duplex<T> {
  write(message: unknown): void;
  end(): void;
  cancel(): void;
  on(event: "data", listener: (message: T) => void): Duplex<T>;
  on(event: "error" | "end", listener: (error?: Error) => void): Duplex<T>;
}

/** The part of etcd3's connection pool that is used here; the same in all its 1.x releases. */
interface Pool {
  withConnection<T>(
    service: string,
    action: (connection: {
      client: Record<string, (metadata: Metadata, options: { deadline?: Date }) => unknown>;
      metadata: Metadata;
    }) => T,
  ): Promise<T>;
}

interface Metadata {
  clone(): Metadata;
  set(name: string, value: string): void;
}

const keepTimeoutMs = 5_000;
/**
 * How often a watch requests a progress report; without any message until the next request the watch has failed. gRPC's
 * own pings cannot be used: Deno's node:http2 (2.6) never answers them, so every connection would end after ten seconds.
 */
const progressIntervalMs = 10_000;
/** The watch id of answers to progress requests. */
const progressId = "-1";

/** A fault-handling policy that never repeats a call: the callers decide. */
const once = {
  _altReturn: undefined as never,
  onSuccess: () => ({ dispose() {} }),
  onFailure: () => ({ dispose() {} }),
  execute: <T>(call: (context: { signal: AbortSignal }) => PromiseLike<T> | T) =>
    Promise.resolve(call({ signal: new AbortController().signal })),
};

/** Does not connect: gRPC connects at the first call. */
export async function openEtcdKv(options: EtcdOptions): Promise<EtcdKv> {
  const { Etcd3 } = await import("etcd3");
  const { Buffer } = await import("node:buffer");
  await prepareGrpc();
  const { tls, auth, callTimeoutMs = 5_000 } = options;
  const settings: IOptions = {
    hosts: options.hosts,
    faultHandling: { global: once, host: () => once },
    grpcOptions: {
      "grpc.max_receive_message_length": -1,
      "grpc.max_send_message_length": -1,
      "grpc.initial_reconnect_backoff_ms": 100,
      "grpc.max_reconnect_backoff_ms": 2_000,
      // A separate pool, so that closing one client does not end the calls of another.
      "grpc.use_local_subchannel_pool": 1,
    },
    defaultCallOptions: (context) => (context.isStream ? {} : { deadline: deadlineAfter(callTimeoutMs) }),
  };
  if (tls !== undefined) {
    settings.credentials = {
      ...(tls.rootCertificate !== undefined && { rootCertificate: Buffer.from(tls.rootCertificate) }),
      ...(tls.privateKey !== undefined && { privateKey: Buffer.from(tls.privateKey) }),
      ...(tls.certificate !== undefined && { certChain: Buffer.from(tls.certificate) }),
    } as NonNullable<IOptions["credentials"]>;
  }
  if (auth !== undefined) settings.auth = auth;
  return new EtcdKv(new Etcd3(settings));
}

export class EtcdKv implements Kv {
  readonly client: Etcd3;
  #closed = false;

  /** Takes over a client of `npm:etcd3`, which must be configured without fault handling. */
  constructor(client: Etcd3) {
    this.client = client;
  }

  async range(request: RangeRequest): Promise<RangeResponse> {
    return rangeResponse(
      await this.#call(() => this.client.kv.range(rawRange(request) as never)) as unknown as RawRange,
    );
  }

  async txn(request: TxnRequest): Promise<TxnResponse> {
    const raw = await this.#call(() =>
      this.client.kv.txn({
        compare: request.compares.map(rawCompare),
        success: request.success.map(rawOperation),
        failure: request.failure.map(rawOperation),
      } as never)
    ) as unknown as RawTxn;
    return {
      succeeded: raw.succeeded,
      revision: Number(raw.header.revision),
      ranges: raw.responses.map((response) =>
        response.response_range ? rangeResponse(response.response_range) : undefined
      ),
    };
  }

  async *watch(request: WatchRequest): AsyncIterable<WatchBatch> {
    if (request.signal.aborted) return;
    const stream = await this.#stream<RawWatch>("Watch", "watch");
    const queue = new StreamQueue<RawWatch>(stream);
    const onAbort = () => queue.end();
    request.signal.addEventListener("abort", onAbort, { once: true });
    if (request.signal.aborted) queue.end();
    let heard = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const requestProgress = () => {
      timer = setTimeout(() => {
        if (!heard) return queue.fail(new KvError("unavailable", `etcd was silent for ${progressIntervalMs} ms`));
        heard = false;
        stream.write({ progress_request: {} });
        requestProgress();
      }, progressIntervalMs);
    };
    try {
      stream.write({
        create_request: {
          key: request.key,
          range_end: request.end,
          start_revision: request.fromRevision ?? 0,
          prev_kv: true,
          progress_notify: true,
        },
      });
      requestProgress();
      for await (const message of queue) {
        heard = true;
        if (message.canceled) throw cancelled(message);
        // The answer to a progress request. Its revision is ignored, because old releases report a wrong one
        // (etcd-io/etcd#15220).
        if (message.watch_id === progressId) continue;
        const revision = Number(message.header.revision);
        if (message.created) {
          yield { revision: request.fromRevision === undefined ? revision : request.fromRevision - 1, events: [] };
          continue;
        }
        const events = message.events.map(watchEvent);
        const last = events.at(-1);
        yield { revision: last === undefined ? revision : eventRevision(last), events };
      }
    } finally {
      clearTimeout(timer);
      request.signal.removeEventListener("abort", onAbort);
      stream.cancel();
    }
  }

  async grantLease(ttlSeconds: number): Promise<{ id: string; ttlSeconds: number }> {
    const granted = await this.#call(() => this.client.leaseClient.leaseGrant({ TTL: ttlSeconds }));
    return { id: granted.ID, ttlSeconds: Number(granted.TTL) };
  }

  async keepLease(id: string): Promise<number> {
    const stream = await this.#stream<{ TTL: string }>("Lease", "leaseKeepAlive", keepTimeoutMs);
    const queue = new StreamQueue<{ TTL: string }>(stream);
    try {
      stream.write({ ID: id });
      for await (const answer of queue) {
        const ttl = Number(answer.TTL);
        if (ttl <= 0) throw new KvError("no_lease", "etcdserver: requested lease not found");
        return ttl;
      }
      throw new KvError("unavailable", "the lease stream ended without an answer");
    } finally {
      stream.cancel();
    }
  }

  async revokeLease(id: string): Promise<void> {
    try {
      await this.#call(() => this.client.leaseClient.leaseRevoke({ ID: id }));
    } catch (error) {
      if (!(error instanceof KvError && error.kind === "no_lease")) throw error;
    }
  }

  close(): void {
    this.#closed = true;
    this.client.close();
  }

  /**
   * A separate stream on etcd3's connection. etcd3 itself treats the end of a stream, even a cancellation, as a failure of
   * the host, and breaks every other call to it. With "hasleader", a member that is partitioned from the others ends its
   * streams, so that a watch does not wait for events that this member never receives.
   */
  #stream<T>(service: "Watch" | "Lease", method: string, timeoutMs?: number): Promise<Duplex<T>> {
    const pool = (this.client.watchClient as unknown as { client: Pool }).client;
    return this.#call(() =>
      pool.withConnection(service, ({ client, metadata }) => {
        const own = metadata.clone();
        own.set("hasleader", "true");
        const deadline = timeoutMs === undefined ? {} : { deadline: deadlineAfter(timeoutMs) };
        return client[method]!(own, deadline) as Duplex<T>;
      })
    );
  }

  async #call<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new KvError("closed", "the connection is closed");
    try {
      return await call();
    } catch (error) {
      throw this.#closed ? new KvError("closed", "the connection is closed", { cause: error }) : kvError(error);
    }
  }
}

/** The messages of a stream as an async iterable, which `end` ends. Throws KvError when the stream fails. */
class StreamQueue<T> {
  #messages: T[] = [];
  #ended = false;
  #failure: KvError | undefined;
  #wake = Promise.withResolvers<void>();

  constructor(stream: Duplex<T>) {
    stream.on("data", (message) => {
      this.#messages.push(message);
      this.#wake.resolve();
    });
    stream.on("error", (error) => this.fail(kvError(error)));
    stream.on("end", () => this.fail(new KvError("unavailable", "the stream ended")));
  }

  end(): void {
    this.#ended = true;
    this.#wake.resolve();
  }

  fail(error: KvError): void {
    this.#failure ??= error;
    this.#wake.resolve();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    while (!this.#ended) {
      const message = this.#messages.shift();
      if (message !== undefined) {
        yield message;
        continue;
      }
      if (this.#failure !== undefined) throw this.#failure;
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
  }
}
