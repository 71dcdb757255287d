/** The certificate authority (CA): its certificate, its key, and the other certificates that the CA file trusts. */
import { E2dError } from "../errors.ts";
import type { Clock, Random } from "../ports.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { sameBytes } from "../bytes.ts";
import { defaultLifetimeMs, issueAuthority } from "./issue.ts";
import {
  makePrivateKey,
  type NewKeyKind,
  type PrivateKey,
  publicKeyOf,
  readPrivateKey,
  writePrivateKey,
} from "./private_key.ts";

export interface Authority {
  /** The certificate of `key`. */
  certificate: Certificate;
  key: PrivateKey;
  /** All certificates of the CA file in order, including `certificate`; several during a rollover. */
  trusted: readonly Certificate[];
}

/** A PEM text and the path of its file. */
export interface PemFile {
  path: string;
  text: string;
}

/** The common name of the Go original's CA. */
export const defaultAuthorityName = "e2d-ca";

/** Creates a self-signed CA; returns the PEM texts of its two files. `lifetimeMs` defaults to five years. */
export async function createAuthority(options: {
  kind?: NewKeyKind | undefined;
  commonName?: string;
  lifetimeMs?: number | undefined;
  clock: Pick<Clock, "wallMs">;
  random: Pick<Random, "bytes">;
}): Promise<{ certificate: string; key: string }> {
  const key = await makePrivateKey(options.kind ?? "rsa-2048");
  const certificate = await issueAuthority({
    ...options,
    key,
    commonName: options.commonName ?? defaultAuthorityName,
    lifetimeMs: options.lifetimeMs ?? defaultLifetimeMs,
  });
  return { certificate, key: writePrivateKey(key) };
}

/**
 * Loads the CA from its certificate file and its key. In a bundle, the certificate that belongs to the key is used.
 *
 * Throws E2dError: the errors of readCertificates and readPrivateKey, `pki_key_mismatch` when the key belongs to no
 * certificate of the file, `pki_not_authority` when its certificate may not sign others.
 */
export async function loadAuthority(files: { certificate: PemFile; key: PemFile }): Promise<Authority> {
  const trusted = await readCertificates(files.certificate.text, {
    role: "CA certificate",
    path: files.certificate.path,
  });
  const key = readPrivateKey(files.key.text, { role: "CA key", path: files.key.path });
  const publicKey = await publicKeyOf(key, { role: "CA key", path: files.key.path });
  const certificate = trusted.find((candidate) => sameBytes(candidate.publicKey, publicKey));
  const both = `"${files.certificate.path}" with the CA key "${files.key.path}"`;
  if (certificate === undefined) {
    const none = trusted.length === 1 ? "the certificate" : `any of the ${trusted.length} certificates`;
    throw new E2dError("pki_key_mismatch", `Cannot use the CA certificate ${both}: the key does not belong to ${none}`);
  }
  if (!certificate.isAuthority) {
    throw new E2dError("pki_not_authority", `Cannot use the CA certificate ${both}: it may not sign certificates`, {
      hint: `pass the certificate of the CA; this certificate belongs to "${certificate.subject}"`,
    });
  }
  return { certificate, key, trusted };
}
