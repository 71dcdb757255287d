/** A small HTTP/1 server for status, page and metrics: one request per connection, with bounds on connections and time. */
import { E2dError } from "../../errors.ts";
import type { HostPort } from "../../ports.ts";
import { osError } from "../failure.ts";
import { parseHttpHead } from "./head.ts";

export interface HttpServer {
  readonly local: HostPort;
  close(): Promise<void>;
}

type Handler = (request: Request) => Response | Promise<Response>;

/**
 * Concurrent connections. Without a bound, any client can exhaust the file descriptors of this process, so that etcd could
 * not be started again. Deno's own server has no bound, and ends permanently when no descriptor is left.
 */
const connectionsMax = 64;
/** At the bound, a connection that has waited for its client this long is closed in favour of a new one. */
const slowMs = 1_000;
/** For the client to send the head, and after the answer to close the connection. */
const headTimeoutMs = 10_000;
/** A client that accepts no byte of its answer for this long is disconnected. */
const writeTimeoutMs = 30_000;
/** Answers up to this size are sent with their length, longer ones as chunks. */
const bufferedMaxBytes = 262_144;
const headMaxBytes = 16_384;
/** Bytes read after the head, so that a reset does not destroy the answer. */
const drainMaxBytes = 262_144;
const acceptPauseMs = 50;

/**
 * Serves HTTP, or HTTPS with the PEM texts of `tls`, until it is closed. Bodies of requests are ignored. An error of the
 * handler becomes an answer 500 without details. Throws E2dError `address_in_use` or `http_listen`.
 */
export function serveHttp(at: HostPort, handler: Handler, tls?: { certificate: string; key: string }): HttpServer {
  let listener: Deno.TcpListener | Deno.TlsListener;
  const address = { hostname: at.host, port: at.port };
  try {
    listener = tls === undefined
      ? Deno.listen(address)
      : Deno.listenTls({ ...address, cert: tls.certificate, key: tls.key, alpnProtocols: ["http/1.1"] });
  } catch (cause) {
    const busy = cause instanceof Deno.errors.AddrInUse || osError(cause, 98);
    throw new E2dError(
      busy ? "address_in_use" : "http_listen",
      `Cannot listen on "${at.host}:${at.port}" for HTTP: ${busy ? "the address is in use" : "the system refused"}`,
      { cause, hint: 'pass another --status-addr, or "off"' },
    );
  }
  const server = new Server(listener, handler, tls === undefined ? "http" : "https");
  const running = server.run();
  const { hostname, port } = listener.addr;
  return {
    local: { host: hostname, port },
    async close() {
      server.close();
      await running;
    },
  };
}

class Server {
  readonly #listener: Deno.TcpListener | Deno.TlsListener;
  readonly #handler: Handler;
  readonly #scheme: "http" | "https";
  readonly #open = new Set<Exchange>();
  #closed = false;

  constructor(listener: Deno.TcpListener | Deno.TlsListener, handler: Handler, scheme: "http" | "https") {
    this.#listener = listener;
    this.#handler = handler;
    this.#scheme = scheme;
  }

  async run(): Promise<void> {
    while (!this.#closed) {
      let connection: Deno.Conn;
      try {
        connection = await this.#listener.accept();
      } catch {
        if (this.#closed) return;
        // A temporary lack of file descriptors. The pause prevents a busy loop while it lasts.
        await new Promise((resolve) => setTimeout(resolve, acceptPauseMs));
        continue;
      }
      if (this.#open.size >= connectionsMax && !this.#closeSlowest()) connection.close();
      else void this.#serve(new Exchange(connection));
    }
  }

  close(): void {
    this.#closed = true;
    this.#listener.close();
    for (const exchange of this.#open) exchange.end();
  }

  /** Closes the oldest connection that waits for its client; false when all are younger than {@link slowMs}. */
  #closeSlowest(): boolean {
    for (const exchange of this.#open) {
      if (!exchange.waits || performance.now() - exchange.sinceMs < slowMs) continue;
      exchange.end();
      return this.#open.delete(exchange);
    }
    return false;
  }

  async #serve(exchange: Exchange): Promise<void> {
    this.#open.add(exchange);
    try {
      const text = await exchange.readHead();
      if (text !== undefined) await this.#answer(text, exchange);
    } catch {
      // The client has disconnected, was too slow or does not speak HTTP, or the handler's body failed.
    } finally {
      exchange.end();
      this.#open.delete(exchange);
    }
  }

  async #answer(text: string, exchange: Exchange): Promise<void> {
    if (text.length >= headMaxBytes) return await exchange.write(refusal(431, "the request is too long"), true);
    const head = parseHttpHead(text, this.#scheme);
    if (head === undefined) return await exchange.write(refusal(400, "this is not a valid request"), true);
    let request: Request;
    try {
      request = new Request(head.url, { method: head.method });
    } catch {
      // A Request does not support TRACE and CONNECT.
      return await exchange.write(refusal(405, "only GET is answered here"), true);
    }
    let response: Response;
    try {
      response = await this.#handler(request);
    } catch {
      response = refusal(500, "the node could not answer");
    }
    await exchange.write(response, head.method !== "HEAD");
  }
}

const refusal = (status: number, text: string) =>
  new Response(`${text}\n`, { status, headers: { "content-type": "text/plain; charset=utf-8" } });

/** One connection with its single request. */
class Exchange {
  readonly sinceMs = performance.now();
  /** True while the client must act. */
  waits = true;
  readonly #connection: Deno.Conn;
  #timer: ReturnType<typeof setTimeout>;
  #ended = false;

  constructor(connection: Deno.Conn) {
    this.#connection = connection;
    this.#timer = setTimeout(() => this.end(), headTimeoutMs);
  }

  end(): void {
    clearTimeout(this.#timer);
    if (this.#ended) return;
    this.#ended = true;
    this.#connection.close();
  }

  #within(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), ms);
  }

  /** The text before the empty line, cut at the allowed size; undefined when the connection ends before it. */
  async readHead(): Promise<string | undefined> {
    const data = new Uint8Array(headMaxBytes);
    let length = 0;
    while (length < data.length) {
      const count = await this.#connection.read(data.subarray(length));
      if (count === null) return undefined;
      length += count;
      const text = latin1.decode(data.subarray(0, length));
      const end = text.indexOf("\r\n\r\n");
      if (end >= 0) return text.slice(0, end);
    }
    return latin1.decode(data);
  }

  async write(response: Response, withBody: boolean): Promise<void> {
    this.waits = false;
    const reader = response.body?.getReader();
    try {
      const { chunks, whole } = await firstChunks(reader);
      const length = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      const lines = [
        `HTTP/1.1 ${response.status} ${response.statusText}`,
        ...[...response.headers].map(([name, value]) => `${name}: ${value}`),
        whole ? `content-length: ${length}` : "transfer-encoding: chunked",
        "connection: close",
      ];
      await this.#send(encoder.encode(`${lines.join("\r\n")}\r\n\r\n`));
      if (withBody) {
        for (const chunk of chunks) await (whole ? this.#send(chunk) : this.#sendChunk(chunk));
        if (!whole) {
          for (let next = await reader!.read(); !next.done; next = await reader!.read()) {
            await this.#sendChunk(next.value);
          }
          // Without this last chunk the client detects a truncated answer.
          await this.#send(encoder.encode("0\r\n\r\n"));
        }
      }
    } finally {
      await reader?.cancel().catch(() => {});
    }
    await this.#connection.closeWrite();
    this.waits = true;
    this.#within(headTimeoutMs);
    await this.#drain();
  }

  async #sendChunk(chunk: Uint8Array): Promise<void> {
    if (chunk.length === 0) return;
    await this.#send(encoder.encode(`${chunk.length.toString(16)}\r\n`));
    await this.#send(chunk);
    await this.#send(encoder.encode("\r\n"));
  }

  async #send(data: Uint8Array): Promise<void> {
    for (let at = 0; at < data.length;) {
      this.#within(writeTimeoutMs);
      at += await this.#connection.write(data.subarray(at));
    }
    // No limit while the handler makes the next chunk.
    clearTimeout(this.#timer);
  }

  async #drain(): Promise<void> {
    const chunk = new Uint8Array(16_384);
    for (let left = drainMaxBytes; left > 0;) {
      const count = await this.#connection.read(chunk);
      if (count === null) return;
      left -= count;
    }
  }
}

const latin1 = new TextDecoder("latin1");
const encoder = new TextEncoder();

/** The beginning of a body; `whole` when that is the complete body. */
async function firstChunks(reader: ReadableStreamDefaultReader<Uint8Array> | undefined) {
  const chunks: Uint8Array[] = [];
  for (let length = 0; reader !== undefined && length <= bufferedMaxBytes;) {
    const { value, done } = await reader.read();
    if (done) return { chunks, whole: true };
    chunks.push(value);
    length += value.length;
  }
  return { chunks, whole: reader === undefined };
}
