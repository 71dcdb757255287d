/**
 * Joins bytes and sockets to messages: one UDP socket and one TCP listener on the same port. Decides nothing about
 * members; takes packets and streams apart, hands messages up, and performs what it is asked to send. Nothing that
 * arrives ends it, and what it keeps of strangers is bounded.
 */
import { describeError, E2dError, isE2dError } from "../errors.ts";
import type { Clock, Connection, Connections, Datagrams, HostPort, Listener, Logger, Random } from "../ports.ts";
import type { Keyring } from "./keyring.ts";
import type { Message, Ping, PushPull, StreamMessage } from "./message.ts";
import { emptyTransportMetrics, type TransportMetrics } from "./metrics.ts";
import { decodePacket, encodePacket } from "./packet.ts";
import { nonceBytes } from "./seal.ts";
import { encodeStream, StreamDecoder } from "./stream_frame.ts";

/** Both sides give a stream this long from its first byte to its last, as memberlist does. */
export const streamTimeoutMs = 10_000;
/** Incoming streams at a time: with 3 MiB each, the most that strangers can have this process hold. */
const streamsMax = 32;
/**
 * An exchange takes milliseconds. When all places are taken, a stream that has lasted this long makes way for a new one:
 * so those who say nothing, or one byte now and then, cannot keep members out.
 */
const streamSlowMs = 1_000;
/** After this long without a pause, packets wait for timers and streams to have their turn. */
const packetTurnMs = 8;
/** A reason for refusing data is told once in this time; the counters tell the rest. */
const warnEveryMs = 60_000;

export interface TransportOptions {
  bind: HostPort;
  label: Uint8Array;
  /** Undefined: nothing is encrypted, and nothing encrypted is taken. */
  keyring: Keyring | undefined;
  compress: boolean;
  bindDatagrams: (at: HostPort) => Promise<Datagrams>;
  connections: Connections;
  clock: Clock;
  random: Random;
  log: Logger;
  handlers: TransportHandlers;
}

/** Called synchronously, one at a time. What they throw is logged and goes no further. */
export interface TransportHandlers {
  packet(messages: readonly Message[], from: HostPort): void;
  /** The answer to a push/pull: this node's own full state, from before it merges the request. */
  pushPull(request: PushPull): PushPull;
  /** Called when the answer to a push/pull is on its way. */
  pushPullAnswered(request: PushPull): void;
  /** True when the ping is for this node. */
  ping(ping: Ping): boolean;
  user(data: Uint8Array<ArrayBuffer>): void;
}

/** Binds both sockets; nothing is handed up before `start`. Throws E2dError `address_in_use`, `udp_listen` or `tcp_listen`, naming the port. */
export async function openTransport(options: TransportOptions): Promise<Transport> {
  const { bind, bindDatagrams, connections } = options;
  // With port 0 the system picks one for UDP that TCP may find taken; then it gets another try.
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
  readonly #closing = new AbortController();
  readonly #dialling = new Set<AbortController>();
  #loops: Promise<void>[] = [];
  /** Streams that are served, and since when; the longest first. */
  readonly #incoming = new Map<Connection, number>();

  constructor(options: TransportOptions, datagrams: Datagrams, listener: Listener) {
    this.#options = options;
    this.#datagrams = datagrams;
    this.#listener = listener;
    this.local = datagrams.local;
  }

  /** Begins to hand up what comes in. */
  start(): void {
    this.#loops = [
      this.#keepGoing("packets", () => this.#receivePackets()),
      this.#keepGoing("streams", () => this.#acceptStreams()),
    ];
  }

  /** What was not taken, by reason: the code of the error that refused it, or `overflow` for packets that came too fast. */
  dropped(): Record<string, number> {
    const overflow = this.#datagrams.overflowed ?? 0;
    return overflow > 0 ? { ...this.metrics.dropped, overflow } : { ...this.metrics.dropped };
  }

  /** Sends encoded messages as one packet; never waits, never throws: a packet that is lost is what gossip is made for. */
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
   * Sends our state over a stream and gives the peer's. Throws E2dError: `tcp_dial`, `gossip_peer` (it has answered with
   * an error), `gossip_stream` (anything else that went wrong on the way), or a decoder's.
   */
  async pushPull(to: HostPort, state: PushPull, timeoutMs = streamTimeoutMs): Promise<PushPull> {
    const answer = await this.#dialled(to, state, timeoutMs, true);
    if (answer?.kind === "pushPull") return answer;
    throw unexpected(to, answer);
  }

  /** True when the node answers our ping over a stream in time; false for every way in which it may not. */
  async ping(to: HostPort, ping: Ping, timeoutMs: number): Promise<boolean> {
    try {
      const answer = await this.#dialled(to, ping, timeoutMs, true);
      return answer?.kind === "ack" && answer.sequence === ping.sequence;
    } catch {
      return false;
    }
  }

  /** Hands application data to one node over a stream. Nothing confirms it. Throws as {@link pushPull} does. */
  async sendUser(to: HostPort, data: Uint8Array<ArrayBuffer>, timeoutMs = streamTimeoutMs): Promise<void> {
    await this.#dialled(to, { kind: "user", data }, timeoutMs, false);
  }

  /** Ends every stream at once; resolves when both ports are free again. */
  async close(): Promise<void> {
    if (!this.#closing.signal.aborted) this.#end();
    await Promise.all(this.#loops);
  }

  #end(): void {
    const reason = new E2dError("gossip_closed", "Cannot go on: gossip is closed");
    this.#closing.abort(reason);
    for (const dialling of this.#dialling) dialling.abort(reason);
    this.#datagrams.close();
    this.#listener.close();
    for (const connection of this.#open) connection.close();
  }

  readonly #nonce = () => this.#options.random.bytes(nonceBytes);

  async #receivePackets(): Promise<void> {
    const { clock, keyring, label, handlers } = this.#options;
    let turnEndsMs = clock.monotonicMs() + packetTurnMs;
    for await (const { data, from } of this.#datagrams.receive()) {
      this.metrics.packetsReceived++;
      this.metrics.bytesReceived += data.length;
      try {
        const { messages, dropped } = decodePacket(data, { label, keys: keyring?.keys });
        for (const error of dropped) this.#refused("a part of a packet", from, error);
        if (messages.length > 0) handlers.packet(messages, from);
      } catch (error) {
        this.#refused("a packet", from, error);
      }
      if (clock.monotonicMs() < turnEndsMs) continue;
      await clock.sleep(0);
      turnEndsMs = clock.monotonicMs() + packetTurnMs;
    }
  }

  async #acceptStreams(): Promise<void> {
    for await (const connection of this.#listener.accept()) {
      const nowMs = this.#options.clock.monotonicMs();
      if (this.#incoming.size >= streamsMax && !this.#makeWay(nowMs)) {
        this.metrics.streamsRefused++;
        connection.close();
        continue;
      }
      this.metrics.streamsAccepted++;
      this.#incoming.set(connection, nowMs);
      this.#within(connection, streamTimeoutMs, () => this.#serve(connection))
        .catch((error) => this.#refused("a stream", connection.remote, error))
        .finally(() => this.#incoming.delete(connection));
    }
  }

  /** Ends the stream that has lasted longest, when that is long; false when all of them are new. */
  #makeWay(nowMs: number): boolean {
    const [oldest] = this.#incoming;
    if (oldest === undefined || nowMs - oldest[1] < streamSlowMs) return false;
    this.metrics.streamsRefused++;
    this.#incoming.delete(oldest[0]);
    oldest[0].close();
    return true;
  }

  /** Reads one request and answers it. Framing errors are answered, so that the peer's log can say what is wrong. */
  async #serve(connection: Connection): Promise<void> {
    const { handlers } = this.#options;
    let request: StreamMessage | undefined;
    try {
      request = await this.#read(connection, "dialler");
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
        throw new E2dError("gossip_decode", `Cannot serve a stream: "${request.kind}" is no request`);
      case undefined:
        throw new E2dError("gossip_truncated", "Cannot serve a stream: it ended before its request was complete");
      default:
        return request satisfies never;
    }
  }

  async #dialled(to: HostPort, message: StreamMessage, timeoutMs: number, answered: boolean) {
    this.#closing.signal.throwIfAborted();
    this.metrics.streamsDialled++;
    const ending = new AbortController();
    const { signal } = ending;
    const done = new AbortController();
    const timer = this.#options.clock.sleep(timeoutMs, done.signal).then(
      () => ending.abort(new E2dError("gossip_stream", `no answer within ${timeoutMs} ms`)),
      () => {},
    );
    this.#dialling.add(ending);
    try {
      const connection = await this.#options.connections.dial(to, signal);
      const abort = () => connection.close();
      signal.addEventListener("abort", abort, { once: true });
      this.#open.add(connection);
      try {
        signal.throwIfAborted();
        await this.#write(connection, message, "dialler");
        return answered ? await this.#read(connection, "answerer") : undefined;
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
      this.#dialling.delete(ending);
      done.abort();
      await timer;
    }
  }

  /** One message; undefined when the stream ends before one is complete. */
  async #read(connection: Connection, side: "dialler" | "answerer"): Promise<StreamMessage | undefined> {
    const { label, keyring } = this.#options;
    const decoder = new StreamDecoder({ label, keys: keyring?.keys, side });
    const reader = connection.readable.getReader();
    try {
      while (true) {
        const { value, done } = await reader.read();
        if (done) return undefined;
        const message = decoder.push(value);
        if (message !== undefined) return message;
      }
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

  /** Runs `work` and frees the connection after it, or after the deadline, whichever comes first. */
  async #within(connection: Connection, timeoutMs: number, work: () => Promise<void>): Promise<void> {
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

  /** A receive loop ends when its socket is closed. Should it break, it is told and begun again. */
  async #keepGoing(what: string, loop: () => Promise<void>): Promise<void> {
    while (!this.#closing.signal.aborted) {
      try {
        await loop();
      } catch (error) {
        if (this.#closing.signal.aborted) return;
        this.#options.log.error(`gossip: receiving ${what} failed, going on`, { error: describeError(error) });
      }
      await this.#options.clock.sleep(100, this.#closing.signal).catch(() => {});
    }
  }

  #sendFailed(to: HostPort, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    this.metrics.sendFailures++;
    this.#warn("send", `Cannot send gossip to "${to.host}:${to.port}"`, error);
  }

  #refused(what: string, from: HostPort, error: unknown): void {
    if (this.#closing.signal.aborted) return;
    const code = isE2dError(error) ? error.code : "other";
    this.metrics.dropped[code] = (this.metrics.dropped[code] ?? 0) + 1;
    this.#warn(code, `Dropped ${what} from "${from.host}:${from.port}"`, error);
  }

  /**
   * Once a minute for each reason. A node whose key or label differs can do nothing but wait, and so can its peers:
   * these lines are all that tells why.
   */
  #warn(reason: string, text: string, error: unknown): void {
    const { clock, log } = this.#options;
    const nowMs = clock.monotonicMs();
    const lastMs = this.#warnedAtMs.get(reason);
    const fields = { reason, error: describeError(error) };
    if (lastMs !== undefined && nowMs - lastMs < warnEveryMs) return log.debug(text, fields);
    this.#warnedAtMs.set(reason, nowMs);
    log.warn(text, fields);
  }
}

/** What memberlist answers with an error message: the request's frame could not be read. */
const framingErrors: ReadonlySet<string> = new Set([
  "gossip_label",
  "gossip_sealed",
  "gossip_lzw",
  "gossip_oversize",
]);

function unexpected(to: HostPort, answer: StreamMessage | undefined): E2dError {
  const at = `"${to.host}:${to.port}"`;
  if (answer === undefined) {
    return new E2dError("gossip_stream", `Cannot exchange with ${at}: it hung up without an answer`, {
      hint: "a node with another gossip key, or without one, does so",
    });
  }
  if (answer.kind === "error") {
    return new E2dError("gossip_peer", `Cannot exchange with ${at}: it says "${answer.text}"`);
  }
  return new E2dError("gossip_decode", `Cannot exchange with ${at}: it answered with "${answer.kind}"`);
}
