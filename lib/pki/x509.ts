/**
 * The X.509 library, loaded when the first certificate is read or made: it and its dependencies take several times
 * longer to load than the rest of e2d, and most commands never touch a certificate. Its types stay inside lib/pki.
 */
import type * as library from "@peculiar/x509";

export type X509Library = typeof library;

let loaded: Promise<X509Library> | undefined;

export function x509Library(): Promise<X509Library> {
  loaded ??= (async () => {
    // The library's dependency injection reads its decorators through this polyfill, which must be there first.
    await import("reflect-metadata");
    return await import("@peculiar/x509");
  })();
  return loaded;
}
