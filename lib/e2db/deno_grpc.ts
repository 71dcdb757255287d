/**
 * What @grpc/grpc-js needs to work on Deno (2.6), which Node does by itself. Elsewhere, nothing happens here.
 *
 * TCP_NODELAY: a gRPC call is two small HTTP/2 frames, headers and data; with Nagle's algorithm the second waits for the
 * acknowledgement of the first, which the other side delays by 40 ms. Deno's node:http2 leaves the algorithm on, and its
 * Socket.setNoDelay is lost when called before the connection is made. grpc-js gives no hold on its plain sockets, so
 * the method they all begin with is extended, once for the process.
 *
 * TLS: Deno's node:http2 opens https connections without the options it was given, so no private CA is trusted and no
 * client certificate shown; and what it takes from `createConnection` it believes to be ready at "connect", which for
 * TLS comes before the handshake. Here the connection is opened with all options and handed over after the handshake.
 * (lib/sys/grpc_tls.ts does this for e2d; e2db stands alone.)
 */
import type { Socket } from "node:net";
import type { SecureContext, TLSSocket } from "node:tls";

interface ConnectionOptions {
  secureContext?: SecureContext;
  createConnection?: (host: string, options: { host?: string; port?: number; servername?: string }) => Socket;
}

let prepared: Promise<void> | undefined;

/** For every gRPC channel opened from now on. May be called again. */
export function prepareGrpc(): Promise<void> {
  // deno-lint-ignore no-explicit-any -- `navigator` is not in every platform's types
  const agent: unknown = (globalThis as any).navigator?.userAgent;
  if (typeof agent !== "string" || !agent.startsWith("Deno/")) return Promise.resolve();
  return prepared ??= prepare();
}

async function prepare(): Promise<void> {
  const [{ credentials }, { isIP, Socket }, tls] = await Promise.all([
    import("@grpc/grpc-js"),
    import("node:net"),
    import("node:tls"),
  ]);
  const connect = Socket.prototype.connect as (...args: unknown[]) => unknown;
  Socket.prototype.connect = function (this: Socket, ...args: unknown[]) {
    this.once("connect", () => this.setNoDelay(true));
    return connect.apply(this, args);
  } as typeof Socket.prototype.connect;

  const prototype = Object.getPrototypeOf(credentials.createSsl()) as {
    _getConnectionOptions(): ConnectionOptions | null;
  };
  const original = prototype._getConnectionOptions;
  prototype._getConnectionOptions = function () {
    const options = original.call(this);
    const secureContext = options?.secureContext;
    if (options === null || secureContext === undefined || options.createConnection !== undefined) return options;
    return {
      ...options,
      createConnection: (authority, { host = authority, port = 443, servername = authority }) =>
        readyAfterHandshake(tls.connect({
          host,
          port,
          secureContext,
          ALPNProtocols: ["h2"],
          ...(isIP(servername) ? {} : { servername }),
        })),
    };
  };
}

/** The socket, telling whoever waits for "connect" of the end of the handshake instead. */
function readyAfterHandshake(socket: TLSSocket): TLSSocket {
  const once = socket.once.bind(socket) as (event: string, listener: () => void) => TLSSocket;
  const wait = (event: string, listener: () => void): TLSSocket => {
    if (event !== "connect") return once(event, listener);
    return once("secureConnect", () => {
      // Deno tells of the handshake's end either way; only one that went well has agreed on a protocol.
      if (socket.alpnProtocol === "h2") listener();
      else socket.destroy(new Error("the TLS handshake failed: the server is not trusted, or speaks no HTTP/2"));
    });
  };
  socket.once = wait as typeof socket.once;
  return socket;
}
