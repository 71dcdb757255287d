/**
 * Owns the sockets of gossip: one UDP socket and one TCP listener on the same port. Decodes packets and streams, passes
 * messages to the handlers, and sends. It decides nothing about members. No input may stop it, and the memory that
 * unauthenticated senders can occupy is bounded.
 */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Connection, Connections, Datagrams, HostPort, Listener, Logger, Random } from "../ports.ts";
import { type KeyMismatch, KeyMismatches, type KeyMismatchKind } from "./key_mismatches.ts";
import type { Keyring } from "./wire/keyring.ts";
import type { Message, Ping, PushPull, StreamMessage } from "./wire/message.ts";
import { emptyTransportMetrics, type TransportMetrics } from "./metrics.ts";
import { decodePacket, encodePacket, packetMismatch } from "./wire/packet.ts";
import { nonceBytes } from "./wire/seal.ts";
import { encodeStream, StreamDecoder } from "./wire/stream_frame.ts";

/** The whole life of a stream on either side, as in memberlist. */
export const streamTimeoutMs = 10_000;
/** Concurrent incoming streams. With 3 MiB each this bounds the memory that unauthenticated peers can occupy. */
const streamsMax = 32;
/**
 * An exchange takes milliseconds. When the maximum number of streams is open, a stream older than this is closed for a
 * new one, so that peers that send nothing, or one byte at a time, cannot block members.
 */
const slowStreamMs = 1_000;
/** Packets are processed for this long, then timers and streams get a turn of the event loop. */
const packetBatchMs = 8;
/** One unreadable packet per interval is checked for a key mismatch. */
const mismatchCheckIntervalMs = 50;
/** One warning per reason and interval; the counters cover the rest. */
const warnIntervalMs = 60_000;

export interface TransportOptions {
  bind: HostPort;
  label: Uint8Array;
  /** Undefined: nothing is encrypted, and encrypted data is refused. */
  keyring: Keyring | undefined;
  compress: boolean;
  bindDatagrams: (at: HostPort) => Promise<Datagrams>;
  connections: Connections;
  clock: Clock;
  random: Random;
  log: Logger;
  handlers: TransportHandlers;
}

/** Called synchronously, one at a time. Errors that they throw are logged. */
export interface TransportHandlers {
  packet(messages: readonly Message[], from: HostPort): void;
  /** The answer to a push/pull: this node's full state before it merges the request. */
  pushPull(request: PushPull): PushPull;
  /** Called after the answer to a push/pull is written. */
  pushPullAnswered(request: PushPull): void;
  /** True when the ping is for this node. */
  ping(ping: Ping): boolean;
  user(data: Uint8Array<ArrayBuffer>): void;
  /** The list of key mismatches has changed. */
  keyMismatchesChanged(): void;
}

/**
 * Binds both sockets. The handlers are not called before `start`. Throws E2dError `address_in_use`, `udp_listen` or
 * `tcp_listen`, which name the port.
 */
export async function openTransport(options: TransportOptions): Promise<Transport> {
  const { bind, bindDatagrams, connections } = options;
  // With port 0 the system picks a UDP port whose TCP port may be in use: then another port is tried.
  for (let attempt = 1;; attempt++) {
    const datagrams = await bindDatagrams(bind);
    try {
      return new Transport(
        options,
        datagrams,
        await connections.listen({ host: bind.host, port: datagrams.local.port }),
      );
    } catch (error) {
      datagrams.close();
      if (bind.port !== 0 || attempt === 10 || !isE2dError(error, "address_in_use")) throw error;
    }
  }
}

export class Transport {
  readonly local: HostPort;
  readonly metrics: TransportMetrics = emptyTransportMetrics();
  readonly #options: TransportOptions;
  readonly #datagrams: Datagrams;
  readonly #listener: Listener;
  readonly #open = new Set<Connection>();
  readonly #warnedAtMs = new Map<string, number>();
  readonly #mismatches = new KeyMismatches();
  #nextMismatchCheckMs = -Infinity;
  /** Errors of streams that the list of key mismatches already reports. */
  readonly #mismatchErrors = new WeakSet<Error>();
  readonly #closing = new AbortController();
  readonly #dials = new Set<AbortController>();
  #loops: Promise<void>[] = [];
  /** Open incoming streams and when they were accepted, oldest first. */
  readonly #incoming = new Map<Connection, number>();

  constructor(options: TransportOptions, datagrams: Datagrams, listener: Listener) {
    this.#options = options;
    this.#datagrams = datagrams;
    this.#listener = listener;
    this.local = datagrams.local;
  }

  /** Begins to receive and to call the handlers. */
  start(): void {
    this.#loops = [
      this.#restartUntilClosed("packets", () => this.#receivePackets()),
      this.#restartUntilClosed("streams", () => this.#acceptStreams()),
    ];
  }

  /** Refused data by reason: an error code, or `overflow` for packets that arrived faster than they were read. */
  dropped(): Record<string, number> {
    const overflow = this.#datagrams.overflowed ?? 0;
    return overflow > 0 ? { ...this.metrics.dropped, overflow } : { ...this.metrics.dropped };
  }

  /** Addresses that send gossip which this node's keys cannot read. */
  keyMismatches(): KeyMismatch[] {
    return this.#mismatches.list(this.#options.clock.monotonicMs());
  }

  /** Sends encoded messages as one packet. Never waits and never throws: gossip tolerates lost packets. */
  send(to: HostPort, messages: readonly Uint8Array[]): void {
    const { label, keyring, compress } = this.#options;
    let packet: Uint8Array;
    try {
      packet = encodePacket(messages, { label, key: keyring?.primary, nonce: this.#nonce, compress });
    } catch (error) {
      return this.#sendFailed(to, error);
    }
    this.metrics.packetsSent++;
    this.metrics.bytesSent += packet.length;
    this.#datagrams.send(packet, to).catch((error) => this.#sendFailed(to, error));
  }

  /**
   * Sends this node's state over a stream and returns the peer's. Throws E2dError `tcp_dial`, `gossip_peer` (the peer
   * answered with an error), `gossip_stream` (any other failure of the connection), or a decoder's error.
   */
  async pushPull(to: HostPort, state: PushPull, timeoutMs = streamTimeoutMs): Promise<PushPull> {
    const answer = await this.#exchange(to, state, timeoutMs, true);
    if (answer?.kind === "pushPull") return answer;
    throw unexpected(to, answer);
  }

  /** True when the node answers the ping over a stream within `timeoutMs`; false for every failure. */
  async ping(to: HostPort, ping: Ping, timeoutMs: number): Promise<boolean> {
    try {
      const answer = await this.#exchange(to, ping, timeoutMs, true);
      return answer?.kind === "ack" && answer.sequence === ping.sequence;
    } catch {
      return false;
    }
  }

  /** Sends application data to one node over a stream, without confirmation. Throws as {@link pushPull} does. */
  async sendUser(to: HostPort, data: Uint8Array<ArrayBuffer>, timeoutMs = streamTimeoutMs): Promise<void> {
    await this.#exchange(to, { kind: "user", data }, timeoutMs, false);
  }

  /** Closes every stream at once; resolves when both ports are free. */
  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) this.#shutDown();
    await Promise.all(this.#loops);
  }

  #shutDown(): void {
    const reason = new E2dError("gossip_closed", "Cannot use gossip: it is closed");
    this.#closing.abort(reason);
    for (const dialling of this.#dials) dialling.abort(reason);
    this.#datagrams.close();
    this.#listener.close();
    for (const connection of this.#open) connection.close();
  }

  readonly #nonce = () => this.#options.random.bytes(nonceBytes);

  async #receivePackets(): Promise<void> {
    const { clock, keyring, label, handlers } = this.#options;
    let batchEndsMs = clock.monotonicMs() + packetBatchMs;
    for await (const { data, from } of this.#datagrams.receive()) {
      this.metrics.packetsReceived++;
      this.metrics.bytesReceived += data.length;
      try {
        const { messages, dropped } = decodePacket(data, { label, keys: keyring?.keys });
        if (messages.length === 0) this.#checkMismatch(data, from);
        else this.#clearMismatch(from);
        for (const error of dropped) this.#recordDropped("a part of a packet", from, error);
        if (messages.length > 0) handlers.packet(messages, from);
      } catch (error) {
        this.#checkMismatch(data, from);
        this.#recordDropped("a packet", from, error);
      }
      if (clock.monotonicMs() < batchEndsMs) continue;
      await clock.sleep(0);
      batchEndsMs = clock.monotonicMs() + packetBatchMs;
    }
  }

  async #acceptStreams(): Promise<void> {
    for await (const connection of this.#listener.accept()) {
      const nowMs = this.#options.clock.monotonicMs();
      if (this.#incoming.size >= streamsMax && !this.#closeOldestStream(nowMs)) {
        this.metrics.streamsRefused++;
        connection.close();
        continue;
      }
      this.metrics.streamsAccepted++;
      this.#incoming.set(connection, nowMs);
      this.#withDeadline(connection, streamTimeoutMs, () => this.#serve(connection))
        .catch((error) => this.#recordDropped("a stream", connection.remote, error))
        .finally(() => this.#incoming.delete(connection));
    }
  }

  /** Closes the oldest stream when it is slow; false when every stream is new. */
  #closeOldestStream(nowMs: number): boolean {
    const [oldest] = this.#incoming;
    if (oldest === undefined || nowMs - oldest[1] < slowStreamMs) return false;
    this.metrics.streamsRefused++;
    this.#incoming.delete(oldest[0]);
    oldest[0].close();
    return true;
  }

  /** Reads one request and answers it. Framing errors are answered too, so that the peer can log them. */
  async #serve(connection: Connection): Promise<void> {
    const { handlers } = this.#options;
    let request: StreamMessage | undefined;
    try {
      request = await this.#read(connection, { host: connection.remote.host }, "dialler");
    } catch (error) {
      if (isE2dError(error) && framingErrors.has(error.code)) {
        await this.#write(connection, { kind: "error", text: error.message }, "answerer");
      }
      throw error;
    }
    switch (request?.kind) {
      case "pushPull":
        await this.#write(connection, handlers.pushPull(request), "answerer");
        return handlers.pushPullAnswered(request);
      case "ping":
        if (!handlers.ping(request)) return;
        return this.#write(
          connection,
          { kind: "ack", sequence: request.sequence, payload: new Uint8Array(0) },
          "answerer",
        );
      case "user":
        if (request.data.length > 0) handlers.user(request.data);
        return;
      case "ack":
      case "error":
        throw new E2dError("gossip_decode", `Cannot serve a stream: "${request.kind}" is not a request`);
      case undefined:
        throw new E2dError("gossip_truncated", "Cannot serve a stream: it ended before its request was complete");
      default:
        return request satisfies never;
    }
  }

  async #exchange(to: HostPort, message: StreamMessage, timeoutMs: number, answered: boolean) {
    this.#closing.signal.throwIfAborted();
    this.metrics.streamsDialled++;
    const ending = new AbortController();
    const { signal } = ending;
    const done = new AbortController();
    const timer = this.#options.clock.sleep(timeoutMs, done.signal).then(
      () => ending.abort(new E2dError("gossip_stream", `no answer within ${timeoutMs} ms`)),
      () => {},
    );
    this.#dials.add(ending);
    try {
      const connection = await this.#options.connections.dial(to, signal);
      const abort = () => connection.close();
      signal.addEventListener("abort", abort, { once: true });
      this.#open.add(connection);
      try {
        signal.throwIfAborted();
        await this.#write(connection, message, "dialler");
        return answered ? await this.#read(connection, to, "answerer") : undefined;
      } finally {
        signal.removeEventListener("abort", abort);
        this.#open.delete(connection);
        connection.close();
      }
    } catch (error) {
      this.metrics.streamFailures++;
      const cause = signal.aborted ? signal.reason : error;
      if (isE2dError(cause) && cause.code !== "gossip_stream") throw cause;
      throw new E2dError("gossip_stream", `Cannot exchange with "${to.host}:${to.port}": ${describeError(cause)}`, {
        cause,
      });
    } finally {
      this.#dials.delete(ending);
      done.abort();
      await timer;
    }
  }

  /** One message; undefined when the stream ends before one is complete. */
  async #read(
    connection: Connection,
    from: { host: string; port?: number },
    side: "dialler" | "answerer",
  ): Promise<StreamMessage | undefined> {
    const { label, keyring } = this.#options;
    const decoder = new StreamDecoder({ label, keys: keyring?.keys, side });
    const reader = connection.readable.getReader();
    try {
      while (true) {
        const { value, done } = await reader.read();
        if (done) return undefined;
        const message = decoder.push(value);
        if (message === undefined) continue;
        this.#clearMismatch(from);
        return message;
      }
    } catch (error) {
      const kind = decoder.mismatch();
      if (kind !== undefined) {
        this.#addMismatch(kind, from, side === "answerer" ? "answer" : "stream");
        if (error instanceof Error) this.#mismatchErrors.add(error);
      }
      throw error;
    } finally {
      reader.releaseLock();
    }
  }

  async #write(connection: Connection, message: StreamMessage, side: "dialler" | "answerer"): Promise<void> {
    const { label, keyring, compress } = this.#options;
    const bytes = encodeStream(message, { label, key: keyring?.primary, nonce: this.#nonce, compress, side });
    const writer = connection.writable.getWriter();
    try {
      await writer.write(bytes);
    } finally {
      writer.releaseLock();
    }
  }

  /** Runs `work` and closes the connection after it or after the deadline, whichever comes first. */
  async #withDeadline(connection: Connection, timeoutMs: number, work: () => Promise<void>): Promise<void> {
    const done = new AbortController();
    this.#open.add(connection);
    this.#options.clock.sleep(timeoutMs, done.signal).then(() => connection.close(), () => {});
    try {
      await work();
    } finally {
      done.abort();
      this.#open.delete(connection);
      connection.close();
    }
  }

  /** A receive loop ends when its socket is closed. After any other error it is logged and started again. */
  async #restartUntilClosed(what: string, loop: () => Promise<void>): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        await loop();
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        this.#options.log.error(`Cannot receive gossip ${what}: trying again`, { error: describeError(error) });
      }
      await this.#options.clock.sleep(100, this.#closing.signal).catch(() => {});
    }
  }

  #checkMismatch(data: Uint8Array, from: HostPort): void {
    const { label, keyring, clock } = this.#options;
    // A flood of garbage must not be decoded twice.
    const nowMs = clock.monotonicMs();
    if (nowMs < this.#nextMismatchCheckMs) return;
    this.#nextMismatchCheckMs = nowMs + mismatchCheckIntervalMs;
    const kind = packetMismatch(data, { label, keys: keyring?.keys });
    if (kind !== undefined) this.#addMismatch(kind, from, "packet");
  }

  #clearMismatch(from: { host: string; port?: number }): void {
    if (this.#mismatches.remove(from)) this.#options.handlers.keyMismatchesChanged();
  }

  #addMismatch(
    kind: KeyMismatchKind,
    from: { host: string; port?: number },
    evidence: KeyMismatch["evidence"],
  ): void {
    if (this.#closing.signal.aborted) return;
    const changed = this.#mismatches.add({ kind, ...from, evidence }, this.#options.clock.monotonicMs());
    if (changed) this.#options.handlers.keyMismatchesChanged();
  }

  #sendFailed(to: HostPort, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.metrics.sendFailures++;
    this.#warn("send", `Cannot send gossip to "${to.host}:${to.port}"`, error);
  }

  #recordDropped(what: string, from: HostPort, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const code = isE2dError(error) ? error.code : "other";
    this.metrics.dropped[code] = (this.metrics.dropped[code] ?? 0) + 1;
    if (error instanceof Error && this.#mismatchErrors.has(error)) {
      return this.#options.log.debug(`Dropped ${what} from "${from.host}:${from.port}"`, { reason: code });
    }
    this.#warn(code, `Dropped ${what} from "${from.host}:${from.port}"`, error);
  }

  /**
   * Logs a warning once a minute for each reason. A node whose key or label differs waits, and so do its peers: these
   * lines are the only report of the cause.
   */
  #warn(reason: string, text: string, error: unknown): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const lastMs = this.#warnedAtMs.get(reason);
    const fields = { reason, error: describeError(error) };
    if (lastMs !== undefined && nowMs - lastMs < warnIntervalMs) return log.debug(text, fields);
    this.#warnedAtMs.set(reason, nowMs);
    log.warn(text, fields);
  }
}

/** Errors that memberlist answers with an error message: the request's frame is unreadable. */
const framingErrors: ReadonlySet<string> = new Set([
  "gossip_label",
  "gossip_sealed",
  "gossip_lzw",
  "gossip_oversize",
]);

function unexpected(to: HostPort, answer: StreamMessage | undefined): E2dError {
  const at = `"${to.host}:${to.port}"`;
  if (answer === undefined) {
    return new E2dError(
      "gossip_stream",
      `Cannot exchange with ${at}: the peer closed the connection without an answer`,
      {
        hint: "a peer with another gossip key, or without one, does so: compare the output of e2d pki inspect on both",
      },
    );
  }
  if (answer.kind === "error") {
    return new E2dError("gossip_peer", `Cannot exchange with ${at}: the peer reports "${answer.text}"`);
  }
  return new E2dError(
    "gossip_decode",
    `Cannot exchange with ${at}: the peer answered with an unexpected "${answer.kind}"`,
  );
}
