/** Who vouches for a certificate: a path from it, through what its file carries along, to a trusted authority. */
import type { Certificate } from "./certificate.ts";
import { sameBytes } from "./der.ts";
import { x509Library } from "./x509.ts";

export type Chain =
  /** `authority` is the trusted end of the path. */
  | { kind: "verified"; authority: Certificate }
  | { kind: "unverified"; reason: string };

/** Leaf, intermediates, authority: longer paths are nobody's. */
const chainDepthMax = 5;

/**
 * Looks for a path from `certificate` to one of `authorities`, at one moment; signatures are verified, usages and names
 * are not looked at. Every certificate handed in as an authority is trusted as an end, self-signed or not, as Go and
 * etcd do it.
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
      for (const [parent, trusted] of [...both(authorities, true), ...both(intermediates, false)]) {
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

const both = (list: readonly Certificate[], trusted: boolean): [Certificate, boolean][] =>
  list.map((certificate) => [certificate, trusted]);

/** True when `parent`'s name stands as the issuer of `child` and `parent`'s key made its signature. */
export async function isSignedBy(child: Certificate, parent: Certificate): Promise<boolean> {
  if (!sameBytes(child.issuerDer, parent.subjectDer)) return false;
  const x509 = await x509Library();
  try {
    const signed = new x509.X509Certificate(child.der);
    return await signed.verify({ publicKey: new x509.X509Certificate(parent.der).publicKey, signatureOnly: true });
  } catch {
    // A key or signature of an algorithm that is not known here vouches for nothing.
    return false;
  }
}
