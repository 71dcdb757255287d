import type { Http } from "../ports.ts";

/** The platform's own `fetch`, which trusts what the system trusts. */
export const systemHttp: Http = (url, init) => fetch(url, init);

/**
 * `fetch` that trusts these authorities (PEM), too: a company's own, or that of a Kubernetes cluster. `close` frees its
 * connections.
 */
export function trustingHttp(authorities: readonly string[]): { http: Http; close(): void } {
  const client = Deno.createHttpClient({ caCerts: [...authorities] });
  return { http: (url, init) => fetch(url, { ...init, client }), close: () => client.close() };
}
