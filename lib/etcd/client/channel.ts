/**
 * Owns one gRPC connection to each endpoint. Each call goes to exactly the named endpoint, with its own deadline. A call
 * that may change something is never repeated here: the caller decides.
 *
 * On Deno `enableGrpcTls()` (lib/sys/grpc/tls.ts) must run once before the first call.
 */
import type { ChannelCredentials, Client, ServiceError } from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { E2dError, isE2dError } from "../../errors.ts";
import type { Clock } from "../../ports.ts";
import { callError, type GrpcFailure, timeoutError } from "./errors.ts";
import type { Method } from "./messages.ts";

type Grpc = typeof import("@grpc/grpc-js");

/** PEM texts. Without `certificate` and `key` the client presents no certificate. */
export interface EtcdTls {
  readonly ca: string;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

export interface CallOptions {
  /** An aborted call throws its reason. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface UnaryOptions extends CallOptions {
  /** The action, for error messages: "list members". */
  readonly action: string;
  /** A member without a leader refuses the call instead of waiting for a leader. */
  readonly requireLeader?: boolean;
  /** The call changes nothing: after the loss of the connection it is made once more on a new one. */
  readonly readOnly?: boolean;
}

interface Channel {
  readonly client: Client;
  readonly openedMs: number;
  /** When the server last answered, by Clock.monotonicMs; -Infinity: never. */
  heardMs: number;
  /** Calls in flight. */
  calls: number;
  /** Takes no further calls, and is closed after the last one: on Deno, closing breaks calls in flight. */
  dropped: boolean;
}

/**
 * The time that a new connection has to be established, across the calls that time out meanwhile: TLS needs three round
 * trips, so calls of one second would never reach a member that is 300 ms away.
 */
const connectPatienceMs = 5_000;

const channelOptions = {
  // etcd bounds the size of its answers.
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // A connection per client, so that dropping one affects no other client.
  "grpc.use_local_subchannel_pool": 1,
  // A web proxy of the environment is not for members, and DNS TXT records must not change how calls are made.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
} as const;

/** The interface of the connections, which tests implement in memory. */
export type EtcdCalls = Pick<EtcdChannels, "tls" | "useTls" | "close" | "unary" | "exchange" | "stream">;

export class EtcdChannels {
  readonly #grpc: Grpc;
  readonly #clock: Clock;
  readonly #callTimeoutMs: number;
  #tls: EtcdTls | undefined;
  #credentials: ChannelCredentials | undefined;
  readonly #channels = new Map<string, Channel>();
  #closed = false;

  constructor(grpc: Grpc, options: { clock: Clock; callTimeoutMs: number; tls?: EtcdTls | undefined }) {
    this.#grpc = grpc;
    this.#clock = options.clock;
    this.#callTimeoutMs = options.callTimeoutMs;
    this.#tls = options.tls;
  }

  /** The credentials of future calls. */
  get tls(): EtcdTls | undefined {
    return this.#tls;
  }

  /** For future calls; those in flight keep their connection. */
  useTls(tls: EtcdTls | undefined): void {
    this.#tls = tls;
    this.#credentials = undefined;
    for (const endpoint of this.#channels.keys()) this.#drop(endpoint);
  }

  /** Calls in flight continue; later ones throw E2dError `etcd_client_closed`. */
  close(): void {
    this.#closed = true;
    for (const endpoint of this.#channels.keys()) this.#drop(endpoint);
  }

  /**
   * Throws the error that `callError` makes of the failure, E2dError `etcd_timeout`, `etcd_endpoint_invalid`,
   * `etcd_client_closed`, or the signal's reason.
   */
  async unary<Q, A>(endpoint: string, method: Method<Q, A>, request: Q, options: UnaryOptions): Promise<A> {
    try {
      return await this.#unaryOnce(endpoint, method, request, options);
    } catch (error) {
      // Deno detects only at the next call that the server has closed an idle connection.
      if (!options.readOnly || !isE2dError(error, "etcd_connection_lost")) throw error;
      return await this.#unaryOnce(endpoint, method, request, options);
    }
  }

  #unaryOnce<Q, A>(endpoint: string, method: Method<Q, A>, request: Q, options: UnaryOptions): Promise<A> {
    return this.#timely(endpoint, options, (channel, settle) => {
      const call = channel.client.makeUnaryRequest(
        method.path,
        asBuffer,
        (data: Buffer) => data,
        method.request.encode(request),
        this.#metadata(options),
        {},
        (error: ServiceError | null, data?: Buffer) => {
          if (error !== null) settle.fail(error);
          else settle.answer(() => method.answer.decode(data ?? new Uint8Array(0)));
        },
      );
      return () => call.cancel();
    });
  }

  /** Sends one request over a bidirectional stream and returns the first answer. */
  exchange<Q, A>(endpoint: string, method: Method<Q, A>, request: Q, options: UnaryOptions): Promise<A> {
    return this.#timely(endpoint, options, (channel, settle) => {
      const call = channel.client.makeBidiStreamRequest(
        method.path,
        asBuffer,
        (data: Buffer) => data,
        this.#metadata(options),
        {},
      );
      call.on("error", (error: ServiceError) => settle.fail(error));
      call.on("end", () => settle.fail({ code: 14, details: "the stream ended without an answer" }));
      call.on("data", (data: Buffer) => {
        settle.answer(() => method.answer.decode(data));
        call.cancel();
      });
      call.write(method.request.encode(request));
      return () => call.cancel();
    });
  }

  /**
   * The messages of a streamed answer, with backpressure. The call is cancelled when the reader stops early. Throws
   * E2dError `etcd_timeout` when the reader waits for a message longer than `timeoutMs`.
   */
  async *stream<Q, A>(endpoint: string, method: Method<Q, A>, request: Q, options: UnaryOptions): AsyncGenerator<A> {
    options.signal?.throwIfAborted();
    const channel = this.#channel(endpoint);
    channel.calls++;
    const call = channel.client.makeServerStreamRequest(
      method.path,
      asBuffer,
      (data: Buffer) => data,
      method.request.encode(request),
      this.#metadata(options),
      {},
    );
    // Without a listener, a failure between two reads would end the process. The next read throws it.
    call.on("error", () => {});
    const messages = call[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
    try {
      for (;;) {
        const next = await this.#timely<IteratorResult<Buffer>>(endpoint, options, (_, settle) => {
          messages.next().then((result) => settle.answer(() => result), (error) => settle.fail(error as ServiceError));
          return () => call.cancel();
        }, channel);
        if (next.done) return;
        yield method.answer.decode(next.value);
      }
    } finally {
      call.cancel();
      this.#leave(channel);
    }
  }

  /** Settles a call by its answer, its failure, its deadline or its signal, whichever is first. */
  async #timely<A>(
    endpoint: string,
    { action, signal, timeoutMs = this.#callTimeoutMs }: UnaryOptions,
    start: (
      channel: Channel,
      settle: { answer(decode: () => A): void; fail(error: GrpcFailure): void },
    ) => () => void,
    channel = this.#channel(endpoint),
  ): Promise<A> {
    signal?.throwIfAborted();
    const { promise, resolve, reject } = Promise.withResolvers<A>();
    const done = new AbortController();
    const startedMs = this.#clock.monotonicMs();
    channel.calls++;
    const cancel = start(channel, {
      answer: (decode) => {
        channel.heardMs = this.#clock.monotonicMs();
        try {
          resolve(decode());
        } catch (error) {
          reject(error);
        }
      },
      fail: (error) => {
        const failure = callError(action, endpoint, grpcFailure(error));
        if (!connectionFailures.has(failure.code)) channel.heardMs = this.#clock.monotonicMs();
        // On Deno, grpc-js keeps a broken connection and fails every later call on it: the next call needs a new one.
        if (failure.code === "etcd_connection_lost") this.#dropUsed(endpoint, channel);
        reject(failure);
      },
    });
    const onAbort = () => {
      reject(signal!.reason);
      cancel();
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    this.#clock.sleep(timeoutMs, done.signal).then(() => {
      reject(timeoutError(action, endpoint, timeoutMs));
      cancel();
      // A connection without any answer may lead to a machine that is down, which TCP reports after minutes: the next
      // call uses a new one.
      const connecting = channel.heardMs === -Infinity &&
        this.#clock.monotonicMs() - channel.openedMs < connectPatienceMs;
      if (channel.heardMs < startedMs && !connecting) this.#dropUsed(endpoint, channel);
    }, () => {});
    try {
      return await promise;
    } finally {
      this.#leave(channel);
      done.abort();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #metadata({ requireLeader }: UnaryOptions) {
    const metadata = new this.#grpc.Metadata();
    if (requireLeader) metadata.set("hasleader", "true");
    return metadata;
  }

  #channel(endpoint: string): Channel {
    if (this.#closed) throw new E2dError("etcd_client_closed", `Cannot call etcd "${endpoint}": the client is closed`);
    const present = this.#channels.get(endpoint);
    if (present !== undefined) return present;
    const { address, secure } = parseEndpoint(endpoint);
    const credentials = secure ? this.#sslCredentials() : this.#grpc.credentials.createInsecure();
    const channel = {
      client: new this.#grpc.Client(address, credentials, channelOptions),
      openedMs: this.#clock.monotonicMs(),
      heardMs: -Infinity,
      calls: 0,
      dropped: false,
    };
    this.#channels.set(endpoint, channel);
    return channel;
  }

  #sslCredentials(): ChannelCredentials {
    const { ca, certificate, key } = this.#tls ?? {};
    const pem = (text: string | undefined) => text === undefined ? null : Buffer.from(text);
    this.#credentials ??= this.#grpc.credentials.createSsl(pem(ca), pem(key), pem(certificate));
    return this.#credentials;
  }

  /** Drops the channel that a call used, unless a newer one has replaced it. */
  #dropUsed(endpoint: string, channel: Channel): void {
    if (this.#channels.get(endpoint) === channel) this.#drop(endpoint);
  }

  #drop(endpoint: string): void {
    const channel = this.#channels.get(endpoint);
    if (channel === undefined) return;
    this.#channels.delete(endpoint);
    channel.dropped = true;
    if (channel.calls === 0) channel.client.close();
  }

  #leave(channel: Channel): void {
    channel.calls--;
    if (channel.calls === 0 && channel.dropped) channel.client.close();
  }
}

/** Failures of which the server knows nothing: they are no sign that it answers. */
const connectionFailures = new Set(["etcd_unreachable", "etcd_tls", "etcd_connection_lost", "etcd_timeout"]);

/** gRPC's UNKNOWN stands for errors that carry no status. */
function grpcFailure(error: unknown): GrpcFailure {
  const { code = 2, details = String(error) } = typeof error === "object" && error !== null
    ? error as Partial<GrpcFailure>
    : {};
  return typeof code === "number" ? { code, details } : { code: 2, details: String(error) };
}

const asBuffer = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/** Throws E2dError `etcd_endpoint_invalid`. */
function parseEndpoint(endpoint: string): { address: string; secure: boolean } {
  const socket = /^unix:\/\/(\/.+)$/.exec(endpoint)?.[1];
  if (socket !== undefined) return { address: `unix:${socket}`, secure: false };
  const match = /^(https?):\/\/([^/?#@]+?)\/?$/.exec(endpoint);
  const [, scheme, host] = match ?? [];
  if (host === undefined) {
    throw new E2dError(
      "etcd_endpoint_invalid",
      `Cannot use etcd endpoint "${endpoint}": it is not an http or https URL`,
      {
        hint: "write it as https://10.0.0.1:2379",
      },
    );
  }
  const secure = scheme === "https";
  return { address: /:\d+$/.test(host) ? host : `${host}:${secure ? 443 : 80}`, secure };
}
