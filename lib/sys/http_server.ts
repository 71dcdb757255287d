import { E2dError } from "../errors.ts";
import type { HostPort } from "../ports.ts";
import { osError } from "./failure.ts";

export interface HttpServer {
  readonly local: HostPort;
  close(): Promise<void>;
}

/**
 * Answers HTTP until it is closed; HTTPS with PEM texts. Throws E2dError `address_in_use` or `http_listen`. What the
 * handler throws becomes an answer 500 without words.
 */
export function serveHttp(
  at: HostPort,
  handler: (request: Request) => Response | Promise<Response>,
  tls?: { certificate: string; key: string },
): HttpServer {
  try {
    const server = Deno.serve({
      hostname: at.host,
      port: at.port,
      onListen: () => {},
      onError: () => new Response("the node could not answer\n", { status: 500 }),
      ...(tls === undefined ? {} : { cert: tls.certificate, key: tls.key }),
    }, handler);
    const { hostname, port } = server.addr as Deno.NetAddr;
    return { local: { host: hostname, port }, close: () => server.shutdown() };
  } catch (cause) {
    const busy = cause instanceof Deno.errors.AddrInUse || osError(cause, 98);
    throw new E2dError(
      busy ? "address_in_use" : "http_listen",
      `Cannot answer HTTP at ${at.host}:${at.port}: ${busy ? "the address is in use" : "the system refused"}`,
      { cause, hint: 'give another --status-addr, or "off"' },
    );
  }
}
