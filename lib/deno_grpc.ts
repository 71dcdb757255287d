/**
 * Makes @grpc/grpc-js on Deno (2.6) connect without delay, and with its own CA and client certificate. A no-op on other
 * platforms. Shared by lib/sys/grpc and lib/e2db, which is published separately; imports nothing of e2d.
 *
 * TCP_NODELAY: a gRPC call is two small HTTP/2 frames, headers and data; with Nagle's algorithm the second waits for the
 * acknowledgement of the first, which the other side delays by 40 ms. Deno's node:http2 leaves the algorithm on, and its
 * Socket.setNoDelay is lost when called before the connection is made. grpc-js gives no access to its plain sockets, so
 * Socket.connect is extended, once for the process.
 *
 * TLS: Deno's node:http2 ignores the options of https connections, so no private CA is trusted and no client certificate
 * is presented. It treats a socket from `createConnection` as ready at "connect", which TLS emits before the handshake.
 * Here the connection is opened with all options and handed over after the handshake. A failed handshake becomes an error
 * of the connection, as in Node; otherwise it is an unhandled rejection, which ends the process.
 */
import type { Socket } from "node:net";
import type { SecureContext, TLSSocket } from "node:tls";

interface ConnectionOptions {
  secureContext?: SecureContext;
  createConnection?: (host: string, options: { host?: string; port?: number; servername?: string }) => Socket;
}

let prepared: Promise<void> | undefined;

/** Affects every gRPC channel that is opened later, also by libraries built on grpc-js. Idempotent. */
export function prepareGrpc(): Promise<void> {
  // deno-lint-ignore no-explicit-any -- `navigator` is not in every platform's types
  const agent: unknown = (globalThis as any).navigator?.userAgent;
  if (typeof agent !== "string" || !agent.startsWith("Deno/")) return Promise.resolve();
  return prepareGrpcOnDeno();
}

/** The same without the check of the platform. */
export function prepareGrpcOnDeno(): Promise<void> {
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

/** Makes listeners of "connect" wait for the end of the handshake. */
function readyAfterHandshake(socket: TLSSocket): TLSSocket {
  const once = socket.once.bind(socket) as (event: string, listener: () => void) => TLSSocket;
  const wait = (event: string, listener: () => void): TLSSocket => {
    if (event !== "connect") return once(event, listener);
    return once("secureConnect", () => {
      // Deno emits "secureConnect" after a failed handshake, too; only a successful one has negotiated a protocol.
      if (socket.alpnProtocol === "h2") listener();
      else socket.destroy(new Error("the TLS handshake failed: the server is not trusted, or does not support HTTP/2"));
    });
  };
  socket.once = wait as typeof socket.once;
  return socket;
}
