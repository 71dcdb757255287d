import type { Http } from "../../ports.ts";

/** The platform's `fetch`, with the authorities that the system trusts. */
export const systemHttp: Http = (url, init) => fetch(url, init);

/**
 * `fetch` that also trusts these authorities (PEM), for example that of a Kubernetes cluster. `pair` (PEM) is presented to
 * servers that require a client certificate. `close` frees the connections.
 */
export function trustingHttp(
  authorities: readonly string[],
  pair?: { readonly certificate: string; readonly key: string },
): { http: Http; close(): void } {
  const options = { caCerts: [...authorities] };
  const client = Deno.createHttpClient(
    pair === undefined ? options : { ...options, cert: pair.certificate, key: pair.key },
  );
  return { http: (url, init) => fetch(url, { ...init, client }), close: () => client.close() };
}
