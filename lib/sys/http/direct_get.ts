import type { DirectGet } from "../../ports.ts";

const answerMaxBytes = 65_536;

/**
 * One HTTP/1.0 request over a new connection. `fetch` would use the web proxy of the environment, which is not for the
 * members of a cluster, and presents a client certificate only with a client that is kept open.
 */
export const directGet: DirectGet = async (url, tls, options) => {
  const timeout = AbortSignal.timeout(options.timeoutMs);
  const signal = options.signal === undefined ? timeout : AbortSignal.any([timeout, options.signal]);
  signal.throwIfAborted();
  const to = new URL(url);
  const hostname = to.hostname.replace(/^\[|\]$/g, "");
  const port = Number(to.port || (to.protocol === "https:" ? 443 : 80));
  const connection = to.protocol === "https:"
    ? await opened(
      Deno.connectTls({
        hostname,
        port,
        caCerts: tls === undefined ? [] : [tls.ca],
        ...(tls?.certificate !== undefined && tls.key !== undefined && { cert: tls.certificate, key: tls.key }),
      }),
      signal,
    )
    : await Deno.connect({ hostname, port, signal });
  const abort = () => close(connection);
  signal.addEventListener("abort", abort, { once: true });
  try {
    await connection.write(new TextEncoder().encode(`GET ${to.pathname} HTTP/1.0\r\nHost: ${to.host}\r\n\r\n`));
    return bodyOf(await readAll(connection));
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener("abort", abort);
    close(connection);
  }
};

/** A handshake cannot be aborted: a connection that opens after the signal is closed. */
async function opened(connecting: Promise<Deno.TlsConn>, signal: AbortSignal): Promise<Deno.TlsConn> {
  connecting.then((late) => signal.aborted && close(late), () => {});
  const aborted = new Promise<never>((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
  return await Promise.race([connecting, aborted]);
}

async function readAll(connection: Deno.Conn): Promise<string> {
  const decoder = new TextDecoder();
  const chunk = new Uint8Array(4_096);
  let text = "";
  for (;;) {
    const count = await connection.read(chunk);
    if (count === null) return text;
    text += decoder.decode(chunk.subarray(0, count), { stream: true });
    if (text.length > answerMaxBytes) throw new Error(`the answer has more than ${answerMaxBytes} bytes`);
  }
}

/** Throws Error unless the answer is complete and has status 200. */
function bodyOf(text: string): string {
  const headEnd = text.indexOf("\r\n\r\n");
  if (headEnd < 0) throw new Error("the answer ended before its body");
  const head = text.slice(0, headEnd);
  const body = text.slice(headEnd + 4);
  if (!/^HTTP\/1\.[01] 200 /.test(head)) throw new Error(`the answer is "${head.split("\r\n")[0]}"`);
  const length = /^content-length: *(\d+)$/im.exec(head)?.[1];
  if (length !== undefined && new TextEncoder().encode(body).length < Number(length)) {
    throw new Error("the answer ended within its body");
  }
  return body;
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch {
    // Closed already.
  }
}
