/** Verifies certificate chains: from a certificate, through the intermediates of its file, to a trusted CA. */
import type { Certificate } from "./certificate.ts";
import { sameBytes } from "../bytes.ts";
import { x509Library } from "./x509.ts";

export type Chain =
  /** `authority` is the trusted CA at the end of the chain. */
  | { kind: "verified"; authority: Certificate }
  | { kind: "unverified"; reason: string };

/** Maximum length of a chain: leaf, intermediates and CA. */
const chainDepthMax = 5;

/**
 * Searches a chain from `certificate` to one of `authorities` that is valid at `nowMs`. Verifies signatures, but not
 * usages and names. Every certificate in `authorities` is trusted, self-signed or not, as in Go and etcd.
 */
export async function verifyChain(options: {
  certificate: Certificate;
  intermediates?: readonly Certificate[];
  authorities: readonly Certificate[];
  nowMs: number;
}): Promise<Chain> {
  const { authorities, intermediates = [], nowMs } = options;
  let reason = `signed by none of the ${authorities.length} trusted authorities`;
  if (authorities.length === 1) reason = `not signed by the trusted authority "${authorities[0]!.subject}"`;
  const visited = new Set<string>();
  let level: Certificate[] = [options.certificate];
  for (let depth = 0; depth < chainDepthMax && level.length > 0; depth++) {
    const next: Certificate[] = [];
    for (const child of level) {
      const self = authorities.find((authority) => authority.fingerprint === child.fingerprint);
      if (self) return { kind: "verified", authority: self };
      for (const [parent, trusted] of [...withTrust(authorities, true), ...withTrust(intermediates, false)]) {
        if (!trusted && visited.has(parent.fingerprint)) continue;
        if (!parent.isAuthority || !await isSignedBy(child, parent)) continue;
        if (nowMs >= parent.notAfterMs || nowMs < parent.notBeforeMs) {
          reason = `its authority "${parent.subject}" ${
            nowMs >= parent.notAfterMs ? "has expired" : "is not valid yet"
          }`;
          continue;
        }
        if (trusted) return { kind: "verified", authority: parent };
        visited.add(parent.fingerprint);
        next.push(parent);
      }
    }
    level = next;
  }
  return { kind: "unverified", reason };
}

const withTrust = (list: readonly Certificate[], trusted: boolean): [Certificate, boolean][] =>
  list.map((certificate) => [certificate, trusted]);

/** True when `parent` is the issuer of `child` by name and its key verifies the signature. */
export async function isSignedBy(child: Certificate, parent: Certificate): Promise<boolean> {
  if (!sameBytes(child.issuerDer, parent.subjectDer)) return false;
  const x509 = await x509Library();
  try {
    const signed = new x509.X509Certificate(child.der);
    return await signed.verify({ publicKey: new x509.X509Certificate(parent.der).publicKey, signatureOnly: true });
  } catch {
    // A key or signature with an unsupported algorithm cannot be verified.
    return false;
  }
}
