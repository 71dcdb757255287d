/**
 * gRPC response streams over Deno's own HTTP/2, which transfers a database about ten times as fast as its node:http2.
 * Works without TLS, too (prior knowledge).
 */
import type { OpenGrpcStream } from "../../ports.ts";

/** Resolves with `refusal` for any answer that has no message stream. See the port. */
export const openGrpcStream: OpenGrpcStream = async ({ url, message, tls, signal }) => {
  const { ca, certificate, key } = tls ?? {};
  const client = withoutProxies(() =>
    Deno.createHttpClient({
      http1: false,
      http2: true,
      ...(ca !== undefined && { caCerts: [ca] }),
      ...(certificate !== undefined && key !== undefined && { cert: certificate, key }),
    })
  );
  try {
    const framed = new Uint8Array(5 + message.length);
    new DataView(framed.buffer).setUint32(1, message.length);
    framed.set(message, 5);
    const headers = { "content-type": "application/grpc", te: "trailers" };
    const response = await fetch(url, { method: "POST", headers, body: framed, client, signal });
    const status = response.headers.get("grpc-status");
    if (response.status !== 200 || status !== null || response.body === null) {
      await response.body?.cancel();
      client.close();
      const details = response.headers.get("grpc-message");
      return {
        kind: "refusal",
        code: Number(status ?? 2),
        details: details === null ? `HTTP status ${response.status}` : decoded(details),
      };
    }
    return { kind: "messages", body: response.body, close: () => client.close() };
  } catch (error) {
    client.close();
    throw error;
  }
};

const proxyVariables = ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"].flatMap((name) => [name, name.toLowerCase()]);

/**
 * Members of a cluster are reached directly, not through the web proxy of the environment. Deno reads these variables
 * when it creates a client and has no option to ignore them.
 */
function withoutProxies<T>(make: () => T): T {
  const kept = proxyVariables.map((name) => [name, Deno.env.get(name)] as const);
  try {
    for (const [name, value] of kept) if (value !== undefined) Deno.env.delete(name);
    return make();
  } finally {
    for (const [name, value] of kept) if (value !== undefined) Deno.env.set(name, value);
  }
}

/** The status message is percent-encoded. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
