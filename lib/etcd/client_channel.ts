/**
 * One gRPC connection to each endpoint, and calls over it: to exactly the endpoint that was named, within a time of their
 * own. Nothing that may change anything is repeated; whether it may be made again is known to who made the call.
 *
 * Needs the mends of lib/sys/grpc_tls.ts on Deno (`enableGrpcTls()`), once before the first call.
 */
import type { ChannelCredentials, Client, ServiceError } from "@grpc/grpc-js";
import { Buffer } from "node:buffer";
import { E2dError, isE2dError } from "../errors.ts";
import type { Clock } from "../ports.ts";
import { callError, timeoutError } from "./client_errors.ts";
import type { Method } from "./client_messages.ts";

type Grpc = typeof import("@grpc/grpc-js");

/** PEM texts. Without `certificate` and `key` the client shows none. */
export interface EtcdTls {
  readonly ca: string;
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
}

export interface CallOptions {
  /** Its reason is what an aborted call throws. */
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface UnaryOptions extends CallOptions {
  /** What is being done, for the message of an error: "list members". */
  readonly action: string;
  /** A member without a leader refuses at once instead of waiting for one. */
  readonly requireLeader?: boolean;
  /** The call changes nothing: a connection that proves dead is replaced, and the question asked again. */
  readonly readOnly?: boolean;
}

interface Channel {
  readonly client: Client;
  /** When the server last answered anything; Clock.monotonicMs. */
  heardMs: number;
  /** Calls under way. */
  calls: number;
  /** No further call goes here; closed when the last one is over, as on Deno closing would break them. */
  dropped: boolean;
}

const channelOptions = {
  // An answer may be as large as etcd lets it be; a snapshot's parts are small.
  "grpc.max_receive_message_length": -1,
  "grpc.max_send_message_length": -1,
  "grpc.initial_reconnect_backoff_ms": 100,
  "grpc.max_reconnect_backoff_ms": 1_000,
  // A connection of its own, so that giving one up reaches nobody else.
  "grpc.use_local_subchannel_pool": 1,
  // The members of a cluster are neighbours: a proxy that the environment names for the web is not for them, and the
  // name service has no say in how calls are made.
  "grpc.enable_http_proxy": 0,
  "grpc.service_config_disable_resolution": 1,
} as const;

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

  /** What calls from now on use. */
  get tls(): EtcdTls | undefined {
    return this.#tls;
  }

  /** Calls from now on use these; those under way end as they began. */
  useTls(tls: EtcdTls | undefined): void {
    this.#tls = tls;
    this.#credentials = undefined;
    for (const endpoint of this.#channels.keys()) this.#drop(endpoint);
  }

  /** Calls under way end as they would have; later ones throw E2dError `etcd_client_closed`. */
  close(): void {
    this.#closed = true;
    for (const endpoint of this.#channels.keys()) this.#drop(endpoint);
  }

  /**
   * Throws what `callError` makes of the failure, E2dError `etcd_timeout`, `etcd_endpoint_invalid`,
   * `etcd_client_closed`, or the signal's reason.
   */
  async unary<Q, A>(endpoint: string, method: Method<Q, A>, request: Q, options: UnaryOptions): Promise<A> {
    try {
      return await this.#unaryOnce(endpoint, method, request, options);
    } catch (error) {
      // Deno notices that a server has closed an idle connection only at the next question.
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

  /** One question and its one answer over a method that is a stream both ways. */
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
   * The messages of an answer that is a stream, read no faster than they are asked for. Ends early, freeing the call,
   * when the reader stops. No message for `timeoutMs` of waiting throws E2dError `etcd_timeout`.
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
    // A failure between two reads has nobody listening; the next read throws it.
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

  /** Settles a call by its answer, its failure, its time, or its signal, whichever is first. */
  async #timely<A>(
    endpoint: string,
    { action, signal, timeoutMs = this.#callTimeoutMs }: UnaryOptions,
    start: (
      channel: Channel,
      settle: { answer(decode: () => A): void; fail(error: { code: number; details: string }): void },
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
        const ours = error instanceof Error || typeof error.code === "number"
          ? error
          : { code: 2, details: String(error) };
        const failure = callError(action, endpoint, { code: ours.code ?? 2, details: ours.details ?? String(error) });
        if (!this.#isConnectionFailure(failure)) channel.heardMs = this.#clock.monotonicMs();
        // grpc-js on Deno keeps a broken connection, and fails every later call on it: the next one dials anew.
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
      // A connection on which nothing at all was heard may lead to a machine that is gone, of which TCP would take
      // minutes to tell: the next call dials anew.
      if (channel.heardMs < startedMs) this.#dropUsed(endpoint, channel);
    }, () => {});
    try {
      return await promise;
    } finally {
      this.#leave(channel);
      done.abort();
      signal?.removeEventListener("abort", onAbort);
    }
  }

  #isConnectionFailure(error: E2dError): boolean {
    return ["etcd_unreachable", "etcd_tls", "etcd_connection_lost", "etcd_timeout"].includes(error.code);
  }

  #metadata({ requireLeader }: UnaryOptions) {
    const metadata = new this.#grpc.Metadata();
    if (requireLeader) metadata.set("hasleader", "true");
    return metadata;
  }

  #channel(endpoint: string): Channel {
    if (this.#closed) throw new E2dError("etcd_client_closed", `Cannot ask etcd "${endpoint}": the client is closed`);
    const present = this.#channels.get(endpoint);
    if (present !== undefined) return present;
    const { address, secure } = parseEndpoint(endpoint);
    const credentials = secure ? this.#sslCredentials() : this.#grpc.credentials.createInsecure();
    const channel = {
      client: new this.#grpc.Client(address, credentials, channelOptions),
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

  /** Drops the channel that a call used, unless a newer one has its place by now. */
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

const asBuffer = (data: Uint8Array) => Buffer.from(data.buffer, data.byteOffset, data.byteLength);

/** Throws E2dError `etcd_endpoint_invalid`. */
function parseEndpoint(endpoint: string): { address: string; secure: boolean } {
  const socket = /^unix:\/\/(\/.+)$/.exec(endpoint)?.[1];
  if (socket !== undefined) return { address: `unix:${socket}`, secure: false };
  const match = /^(https?):\/\/([^/?#@]+?)\/?$/.exec(endpoint);
  const [, scheme, host] = match ?? [];
  if (host === undefined) {
    throw new E2dError("etcd_endpoint_invalid", `Cannot use etcd endpoint "${endpoint}": it is no http or https URL`, {
      hint: "write it as https://10.0.0.1:2379",
    });
  }
  const secure = scheme === "https";
  return { address: /:\d+$/.test(host) ? host : `${host}:${secure ? 443 : 80}`, secure };
}
