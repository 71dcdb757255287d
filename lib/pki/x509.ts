/**
 * The X.509 library, loaded when the first certificate is read or created: with its dependencies it takes several times
 * longer to load than the rest of e2d, and most commands use no certificate. Its types must stay inside lib/pki.
 */
import type * as library from "@peculiar/x509";

export type X509Library = typeof library;

let loaded: Promise<X509Library> | undefined;

export function x509Library(): Promise<X509Library> {
  loaded ??= (async () => {
    // The library's dependency injection needs this polyfill loaded first.
    await import("reflect-metadata");
    return await import("@peculiar/x509");
  })();
  return loaded;
}
