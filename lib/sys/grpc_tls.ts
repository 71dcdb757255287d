/**
 * Lets @grpc/grpc-js dial without delay, and with a CA and a certificate of its own, on Deno.
 *
 * TCP_NODELAY: a call is two small HTTP/2 frames, headers and data; with Nagle's algorithm the second waits for the
 * acknowledgement of the first, which the other side delays by 40 ms. Deno's node:http2 leaves the algorithm on, and its
 * Socket.setNoDelay is lost when called before the connection is made. grpc-js gives no hold on its plain sockets, so
 * the method they all begin with is extended, once for the process.
 *
 * TLS: Deno's node:http2 (2.6.10) opens https connections without the TLS options it was given, so no private CA is trusted
 * and no client certificate shown; what it takes from `createConnection` it believes to be ready at the event
 * "connect", which for TLS comes before the handshake. Here the connection is opened with all options and handed over
 * when the handshake is done. A handshake that fails becomes an error of the connection, as in Node; left alone, it
 * would surface as an unhandled rejection and end the process.
 */
import { isIP, type Socket } from "node:net";
import type { SecureContext, TLSSocket } from "node:tls";
import { mendGrpcDisconnects } from "./grpc_disconnect.ts";
import { mendGrpcStreams } from "./grpc_streams.ts";

interface ConnectionOptions {
  secureContext?: SecureContext;
  checkServerIdentity?: unknown;
  createConnection?: (host: string, options: { host?: string; port?: number; servername?: string }) => Socket;
}

interface ChannelCredentialsPrototype {
  _getConnectionOptions(): ConnectionOptions | null;
}

let enabled: Promise<void> | undefined;

/** All the mends that grpc-js needs on Deno, for every channel opened from now on, those of libraries built on grpc-js too. May be called again. */
export function enableGrpcTls(): Promise<void> {
  enabled ??= enable();
  return enabled;
}

async function enable(): Promise<void> {
  const [{ credentials }, tls, net] = await Promise.all([
    import("@grpc/grpc-js"),
    import("node:tls"),
    import("node:net"),
  ]);
  sendWithoutDelay(net.Socket.prototype);
  await mendGrpcStreams();
  await mendGrpcDisconnects();
  const prototype = Object.getPrototypeOf(credentials.createSsl()) as ChannelCredentialsPrototype;
  const original = prototype._getConnectionOptions;
  prototype._getConnectionOptions = function () {
    const options = original.call(this);
    const secureContext = options?.secureContext;
    if (options === null || secureContext === undefined) return options;
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

function sendWithoutDelay(prototype: Socket): void {
  const connect = prototype.connect as (...args: unknown[]) => Socket;
  prototype.connect = function (this: Socket, ...args: unknown[]) {
    this.once("connect", () => this.setNoDelay(true));
    return connect.apply(this, args);
  } as typeof prototype.connect;
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
