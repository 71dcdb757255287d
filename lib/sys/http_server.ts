import { E2dError } from "../errors.ts";
import type { HostPort } from "../ports.ts";
import { osError } from "./failure.ts";
import { parseHttpHead } from "./http_head.ts";

export interface HttpServer {
  readonly local: HostPort;
  close(): Promise<void>;
}

type Handler = (request: Request) => Response | Promise<Response>;

/**
 * Connections at a time. Without a bound, whoever can connect takes every file descriptor of this process, and etcd
 * could not be started again: Deno's own server has none, and ends for good when there is none left.
 */
const connectionsMax = 64;
/** When all places are taken, one that has said nothing of use for this long makes way for a new one. */
const slowMs = 1_000;
/** For the question to be complete, and after the answer for the asker to hang up. */
const headTimeoutMs = 10_000;
/** An asker that takes nothing of its answer for this long is gone. */
const writeTimeoutMs = 30_000;
/** Answers up to here are sent with their length, longer ones in pieces as they come. */
const bufferedMaxBytes = 262_144;
const headMaxBytes = 16_384;
/** Of what comes after the head, so that the answer is not lost by a reset. */
const drainMaxBytes = 262_144;
const acceptPauseMs = 50;

/**
 * Answers HTTP/1, one request a connection, until it is closed; HTTPS with PEM texts. Throws E2dError `address_in_use`
 * or `http_listen`. Bodies of requests are not read. What the handler throws becomes an answer 500 without words.
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
      `Cannot answer HTTP at ${at.host}:${at.port}: ${busy ? "the address is in use" : "the system refused"}`,
      { cause, hint: 'give another --status-addr, or "off"' },
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
        // No file descriptor left for a moment; the pause keeps a lasting shortage from becoming a busy loop.
        await new Promise((resolve) => setTimeout(resolve, acceptPauseMs));
        continue;
      }
      if (this.#open.size >= connectionsMax && !this.#makeWay()) connection.close();
      else void this.#serve(new Exchange(connection));
    }
  }

  close(): void {
    this.#closed = true;
    this.#listener.close();
    for (const exchange of this.#open) exchange.end();
  }

  /** Ends the exchange that has waited longest for its asker, when that is long; false when there is none. */
  #makeWay(): boolean {
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
      // The asker has gone, was too slow, or speaks something else; or the answer broke off, and so does its sending.
    } finally {
      exchange.end();
      this.#open.delete(exchange);
    }
  }

  async #answer(text: string, exchange: Exchange): Promise<void> {
    if (text.length >= headMaxBytes) return await exchange.write(refusal(431, "the request is too long"), true);
    const head = parseHttpHead(text, this.#scheme);
    if (head === undefined) return await exchange.write(refusal(400, "this is no request"), true);
    let request: Request;
    try {
      request = new Request(head.url, { method: head.method });
    } catch {
      // TRACE and CONNECT, which are no methods of a Request.
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

/** One connection with its one question. */
class Exchange {
  readonly sinceMs = performance.now();
  /** True while only the asker can go on. */
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

  /** The text before the empty line, or as much as is allowed; undefined when the connection ends before it. */
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
          // Without it the asker knows that something is missing.
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
    // The next piece may take its time: it is ours to make.
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

/** As much of a body as is sent with its length; `whole` when that is all of it. */
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
