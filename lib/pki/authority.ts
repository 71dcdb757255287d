/** The certificate authority: its certificate, the key that belongs to it, and what ca.crt trusts beside it. */
import { E2dError } from "../errors.ts";
import type { Clock, Random } from "../ports.ts";
import { type Certificate, readCertificates } from "./certificate.ts";
import { sameBytes } from "./der.ts";
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
  /** Everything in the CA file, `certificate` included, in its order; more than one during a rollover. */
  trusted: readonly Certificate[];
}

/** A PEM text and where it lies. */
export interface PemFile {
  path: string;
  text: string;
}

/** The name the original gives its authority. */
export const defaultAuthorityName = "e2d-ca";

/** A new self-signed authority as the two files that hold it. */
export async function createAuthority(options: {
  kind?: NewKeyKind;
  commonName?: string;
  lifetimeMs?: number;
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
 * The authority whose key this is. In a bundle of several certificates the one that the key belongs to is taken.
 *
 * Throws E2dError: all that readCertificates and readPrivateKey throw, `pki_key_mismatch` when the key belongs to no
 * certificate of the file, `pki_not_authority` when the one it belongs to may not sign others.
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
      hint: `pass the certificate of the authority; this one is of "${certificate.subject}"`,
    });
  }
  return { certificate, key, trusted };
}
