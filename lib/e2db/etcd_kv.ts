/**
 * {@link Kv} over `npm:etcd3`, which is loaded when the first connection is opened and not before.
 *
 * The raw requests of its generated client are used, not its builders, because of five traps found in version 1.1.2:
 * its default policy repeats a call three times after a broken connection, transactions too, though the first may have
 * been applied; after three failures its circuit breaker refuses a healthy server for five seconds; its watch manager
 * reconnects without telling from which revision, and the end of one of its streams breaks all other calls; and answers over 4 MiB fail unless the limit of gRPC is lifted.
 */
import type { Etcd3, IOptions } from "etcd3";
import {
  type Compare,
  type KeyValue,
  type Kv,
  KvError,
  type Operation,
  type RangeRequest,
  type RangeResponse,
  type TxnRequest,
  type TxnResponse,
  type WatchBatch,
  type WatchEvent,
  type WatchRequest,
} from "./kv.ts";
import { deadlineAfter } from "./platform.ts";
import { prepareGrpc } from "./deno_grpc.ts";

export interface EtcdOptions {
  /** One URL or several: "http://127.0.0.1:2379". */
  hosts: string | string[];
  /** PEM texts; without a root certificate the system's are used for https hosts. */
  tls?: { rootCertificate?: string; privateKey?: string; certificate?: string };
  auth?: { username: string; password: string };
  /** How long one call may take before it counts as unanswered. Default 5,000. */
  callTimeoutMs?: number;
}

interface RawKeyValue {
  key: Uint8Array;
  value: Uint8Array;
  create_revision: string;
  mod_revision: string;
  version: string;
}

interface RawRange {
  header: { revision: string };
  kvs: RawKeyValue[];
  more: boolean;
  count: string;
}

interface RawTxn {
  header: { revision: string };
  succeeded: boolean;
  responses: { response_range?: RawRange | null }[];
}

interface RawWatch {
  header: { revision: string };
  created: boolean;
  canceled: boolean;
  watch_id: string;
  compact_revision: string;
  cancel_reason: string;
  events: { type: string; kv: RawKeyValue; prev_kv: RawKeyValue | null }[];
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
 * How often a watch asks etcd for a sign of life; without one until the next time it counts as broken. gRPC's own pings
 * would do the same, but Deno's node:http2 (2.6) never answers them, so that every connection would end after ten seconds.
 */
const lifeSignMs = 10_000;
/** The watch id in answers to progress requests, which belong to no watch. */
const progressId = "-1";

/** Runs a call once: whether to repeat it is decided above, where it is known what it does. */
const once = {
  _altReturn: undefined as never,
  onSuccess: () => ({ dispose() {} }),
  onFailure: () => ({ dispose() {} }),
  execute: <T>(call: (context: { signal: AbortSignal }) => PromiseLike<T> | T) =>
    Promise.resolve(call({ signal: new AbortController().signal })),
};

/** Opens no connection yet: gRPC dials at the first call. */
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
      // A pool of its own, so that closing one client does not end the calls of another.
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

  /** Takes over a client of `npm:etcd3`, which should have been made with fault handling turned off. */
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
    const inbox = new Inbox<RawWatch>(stream);
    const onAbort = () => inbox.end();
    request.signal.addEventListener("abort", onAbort, { once: true });
    if (request.signal.aborted) inbox.end();
    let heard = true;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const askForLife = () => {
      timer = setTimeout(() => {
        if (!heard) return inbox.fail(new KvError("unavailable", `etcd was silent for ${lifeSignMs} ms`));
        heard = false;
        stream.write({ progress_request: {} });
        askForLife();
      }, lifeSignMs);
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
      askForLife();
      for await (const message of inbox) {
        heard = true;
        if (message.canceled) throw cancelled(message);
        // The answer to a question of ours; its revision counts for nothing, as old releases gave a wrong one
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
    const inbox = new Inbox<{ TTL: string }>(stream);
    try {
      stream.write({ ID: id });
      for await (const answer of inbox) {
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
   * A stream of our own on etcd3's connection. The streams that etcd3 hands out take the end of one, a cancellation
   * included, for a failure of the host, and break every other call to it. With "hasleader" a member that is cut off from
   * the others ends its streams, so that a watch does not wait for news it will never hear.
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

/** The messages of a stream as an async iterable that ends when told, and throws KvError when the stream breaks. */
class Inbox<T> {
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

const keyValue = (raw: RawKeyValue): KeyValue => ({
  key: raw.key,
  value: raw.value,
  createRevision: Number(raw.create_revision),
  modRevision: Number(raw.mod_revision),
  version: Number(raw.version),
});

const rangeResponse = (raw: RawRange): RangeResponse => ({
  revision: Number(raw.header?.revision ?? 0),
  kvs: raw.kvs.map(keyValue),
  more: raw.more,
  count: Number(raw.count),
});

const rawRange = (request: RangeRequest) => ({
  key: request.key,
  ...(request.end !== undefined && { range_end: request.end }),
  ...(request.limit && { limit: request.limit }),
  ...(request.revision && { revision: request.revision }),
  ...(request.keysOnly && { keys_only: true }),
  ...(request.countOnly && { count_only: true }),
});

const rawCompare = (compare: Compare) => ({
  key: compare.key,
  ...(compare.end !== undefined && { range_end: compare.end }),
  result: { equal: "Equal", less: "Less", greater: "Greater" }[compare.result],
  ...(compare.target === "mod"
    ? { target: "Mod", mod_revision: compare.revision }
    : { target: "Create", create_revision: compare.revision }),
});

function rawOperation(operation: Operation) {
  switch (operation.kind) {
    case "put":
      return {
        request_put: {
          key: operation.key,
          value: operation.value,
          ...(operation.lease !== undefined && { lease: operation.lease }),
        },
      };
    case "delete":
      return {
        request_delete_range: {
          key: operation.key,
          ...(operation.end !== undefined && { range_end: operation.end }),
        },
      };
    case "range":
      return { request_range: rawRange(operation.request) };
    default:
      return operation satisfies never;
  }
}

function watchEvent(raw: RawWatch["events"][number]): WatchEvent {
  const before = raw.prev_kv ? keyValue(raw.prev_kv) : undefined;
  if (raw.type.toUpperCase() !== "DELETE") return { kind: "put", kv: keyValue(raw.kv), before };
  return { kind: "delete", key: raw.kv.key, modRevision: Number(raw.kv.mod_revision), before };
}

const eventRevision = (event: WatchEvent) => event.kind === "put" ? event.kv.modRevision : event.modRevision;

function cancelled(message: RawWatch): KvError {
  const compactRevision = Number(message.compact_revision);
  if (compactRevision > 0) {
    return new KvError("compacted", "mvcc: required revision has been compacted", { compactRevision });
  }
  return new KvError("unavailable", `etcd ended the watch: ${message.cancel_reason || "no reason given"}`);
}

/**
 * Sorts what etcd3 throws into the kinds that matter. etcd3 drops gRPC's status code and keeps a class and the text, so
 * the text decides first. The texts are those of etcd's rpctypes/error.go.
 */
function kvError(error: unknown): KvError {
  if (error instanceof KvError) return error;
  const message = error instanceof Error ? error.message : String(error);
  const name = error instanceof Error ? error.constructor.name : "";
  const of = (kind: ConstructorParameters<typeof KvError>[0]) => new KvError(kind, message, { cause: error });
  if (message.includes("has been compacted")) return of("compacted");
  if (message.includes("too many operations")) return of("too_many_operations");
  if (/request is too large|larger than max/.test(message)) return of("too_large");
  if (message.includes("requested lease not found")) return of("no_lease");
  if (message.includes("too many requests")) return of("refused");
  if (name === "EtcdPermissionDeniedError" || name.startsWith("EtcdAuth") || name === "GRPCUnauthenticatedError") {
    return of("denied");
  }
  // A database over its quota refuses writes until an operator acts; it still answers reads.
  if (message.includes("database space exceeded")) return of("denied");
  if (
    /^GRPC(Unavailable|Cancelled|DeadlineExceeded|Internal|Unknown|Aborted|DataLoss|Generic)Error$/.test(name) ||
    /request timed out|leader changed|no leader|server stopped|not capable|ECONN|socket/i.test(message)
  ) return of("unavailable");
  return of("invalid");
}
