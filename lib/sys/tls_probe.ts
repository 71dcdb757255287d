import type { HostPort, TlsProbe, TlsProbeResult } from "../ports.ts";

/**
 * One handshake over a new connection. In TLS 1.3 the client finishes before the server has checked the client's
 * certificate, so the first bytes from the server decide: an HTTP answer, an alert, or the end of the connection.
 */
export const systemTlsProbe: TlsProbe = async (to, credentials, signal) => {
  signal.throwIfAborted();
  let connection: Deno.TlsConn | undefined;
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  const opened = Deno.connectTls({
    hostname: to.host,
    port: to.port,
    caCerts: [credentials.trusted],
    cert: credentials.certificate,
    key: credentials.key,
  });
  // A connection that opens after the signal must be closed.
  opened.then((late) => signal.aborted && close(late), () => {});
  try {
    connection = await Promise.race([opened, aborted]);
    return await Promise.race([ask(connection, to), aborted]);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    return verdict(error);
  } finally {
    close(connection);
  }
};

async function ask(connection: Deno.TlsConn, { host, port }: HostPort): Promise<TlsProbeResult> {
  await connection.handshake();
  const name = host.includes(":") ? `[${host}]` : host;
  await connection.write(new TextEncoder().encode(`GET /version HTTP/1.0\r\nHost: ${name}:${port}\r\n\r\n`));
  const count = await connection.read(new Uint8Array(64));
  // On its peer port, etcd closes the connection without an alert when the certificate does not match the address.
  return count === null ? { kind: "refused", detail: "the connection was closed" } : { kind: "accepted" };
}

function verdict(error: unknown): TlsProbeResult {
  const detail = error instanceof Error ? error.message : String(error);
  if (/invalid peer certificate/i.test(detail)) return { kind: "untrusted", detail };
  if (/received fatal alert|connection reset|broken pipe/i.test(detail)) return { kind: "refused", detail };
  return { kind: "unreachable", detail };
}

function close(connection: Deno.TlsConn | undefined): void {
  try {
    connection?.close();
  } catch {
    // The other side has closed it already.
  }
}
