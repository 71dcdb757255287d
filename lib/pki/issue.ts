/** Issues certificates: of a CA, of a profile, and renewed ones with a new validity. */
import type * as library from "@peculiar/x509";
import type { Clock, Random } from "../ports.ts";
import type { Certificate } from "./certificate.ts";
import { formatHost, type Host } from "./host.ts";
import { writePem } from "./pem.ts";
import { cryptoParameters, importPrivateKey, type PrivateKey, publicKeyOf } from "./private_key.ts";
import { type X509Library, x509Library } from "./x509.ts";

/** The use of a pair. A server only serves; a peer serves and dials. */
export type Profile = "server" | "peer" | "client";
export const profiles: readonly Profile[] = ["client", "peer", "server"];

/** The extended key usages of each profile (criticalstack/e2d pkg/pki/pki.go, SigningProfiles). */
export const profileUsages: Readonly<Record<Profile, readonly ("server auth" | "client auth")[]>> = {
  server: ["server auth"],
  peer: ["server auth", "client auth"],
  client: ["client auth"],
};

const dayMs = 24 * 60 * 60 * 1000;
/** Five years, for certificates and CAs, as in the Go original. */
export const defaultLifetimeMs = 5 * 365 * dayMs;

/** The organisation fields of the Go original. */
const originalNames = [{ C: ["US"] }, { ST: ["Boston"] }, { L: ["MA"] }];

export interface Signer {
  /** Undefined: the certificate is self-signed. */
  certificate: Certificate | undefined;
  key: PrivateKey;
}

interface Term {
  lifetimeMs: number;
  clock: Pick<Clock, "wallMs">;
  random: Pick<Random, "bytes">;
}

/** The certificate of a self-signed CA, as PEM. */
export async function issueAuthority(options: Term & { key: PrivateKey; commonName: string }): Promise<string> {
  const x509 = await x509Library();
  return await sign(x509, {
    ...options,
    signer: { certificate: undefined, key: options.key },
    subject: [...originalNames, { O: ["Critical Stack"] }, { CN: [options.commonName] }],
    extensions: [
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      new x509.BasicConstraintsExtension(true, undefined, true),
    ],
  });
}

/** A certificate of one profile, as PEM. The names of a client certificate are checked by the servers that it dials. */
export async function issueCertificate(
  options: Term & { signer: Required<Signer>; profile: Profile; hosts: readonly Host[]; key: PrivateKey },
): Promise<string> {
  const x509 = await x509Library();
  const { digitalSignature, keyEncipherment } = x509.KeyUsageFlags;
  const usage = options.key.algorithm.kind === "rsa" ? digitalSignature | keyEncipherment : digitalSignature;
  const extensions: library.Extension[] = [
    new x509.KeyUsagesExtension(usage, true),
    new x509.ExtendedKeyUsageExtension(
      profileUsages[options.profile].map((u) => x509.ExtendedKeyUsage[extendedKey[u]]),
    ),
    new x509.BasicConstraintsExtension(false, undefined, true),
  ];
  if (options.hosts.length > 0) {
    extensions.push(
      new x509.SubjectAlternativeNameExtension(
        options.hosts.map((host) => ({ type: host.kind, value: formatHost(host) })),
      ),
    );
  }
  return await sign(x509, {
    ...options,
    subject: [...originalNames, { CN: [`etcd ${options.profile}`] }],
    extensions,
  });
}

const extendedKey = { "server auth": "serverAuth", "client auth": "clientAuth" } as const;

/** Reissues a certificate, signed by `signer`, with a new validity and serial, and the same subject, names and usages. */
export async function reissueCertificate(
  options: Term & { signer: Required<Signer>; certificate: Certificate; key: PrivateKey },
): Promise<string> {
  const x509 = await x509Library();
  const old = new x509.X509Certificate(options.certificate.der);
  // Key identifiers are derived from the keys again; the URLs of the old issuer and its revocation lists are stale.
  const kept = old.extensions.filter((extension) => !issuerExtensions.has(extension.type));
  return await sign(x509, { ...options, subject: old.subjectName, extensions: kept });
}

const issuerExtensions = new Set([
  "2.5.29.14", // subject key identifier
  "2.5.29.35", // authority key identifier
  "2.5.29.31", // CRL distribution points
  "2.5.29.46", // freshest CRL
  "1.3.6.1.5.5.7.1.1", // authority information access
  "1.3.6.1.4.1.11129.2.4.2", // signed certificate timestamps
]);

interface Unsigned extends Term {
  signer: Signer;
  key: PrivateKey;
  /** A Name is copied byte by byte: Go compares names by their encoding. */
  subject: library.JsonName | library.Name;
  extensions: readonly library.Extension[];
}

async function sign(x509: X509Library, options: Unsigned): Promise<string> {
  const { signer, key, lifetimeMs, clock, random } = options;
  const nowMs = clock.wallMs();
  // A certificate is valid from shortly before now, because clocks differ: five minutes, at most a tenth of its life.
  const notBeforeMs = nowMs - Math.min(5 * 60_000, lifetimeMs / 10);
  const endMs = notBeforeMs + lifetimeMs;
  // No certificate may outlive the CA that signs it.
  const notAfterMs = signer.certificate ? Math.min(endMs, signer.certificate.notAfterMs) : endMs;
  const spki = await publicKeyOf(key);
  const issuer = signer.certificate ? new x509.X509Certificate(signer.certificate.der) : undefined;
  const issuerKey = issuer ? issuer.publicKey : new x509.PublicKey(spki);
  const made = await x509.X509CertificateGenerator.create({
    serialNumber: serialNumber(random),
    subject: options.subject,
    issuer: issuer ? issuer.subjectName : options.subject,
    notBefore: wholeSeconds(notBeforeMs),
    notAfter: wholeSeconds(notAfterMs),
    publicKey: new x509.PublicKey(spki),
    signingKey: await importPrivateKey(signer.key, { role: "CA key", path: "in memory" }),
    signingAlgorithm: cryptoParameters(signer.key.algorithm).sign as EcdsaParams,
    extensions: [
      ...options.extensions,
      await x509.SubjectKeyIdentifierExtension.create(new x509.PublicKey(spki)),
      // A self-signed CA has no authority key identifier, as in the Go original.
      ...(issuer ? [await authorityKeyId(x509, issuer, issuerKey)] : []),
    ],
  });
  return writePem("CERTIFICATE", new Uint8Array(made.rawData));
}

/** The issuer's subject key identifier if it has one: TLS libraries build chains by comparing the two. */
async function authorityKeyId(x509: X509Library, issuer: library.X509Certificate, key: library.PublicKey) {
  const id = issuer.getExtension(x509.SubjectKeyIdentifierExtension)?.keyId;
  return id === undefined
    ? await x509.AuthorityKeyIdentifierExtension.create(key)
    : new x509.AuthorityKeyIdentifierExtension(id);
}

/** 20 bytes, positive, never zero (RFC 5280 section 4.1.2.2). */
function serialNumber(random: Pick<Random, "bytes">): string {
  const bytes = random.bytes(20);
  bytes[0] = (bytes[0]! & 0x3f) | 0x40;
  return bytes.toHex();
}

const wholeSeconds = (ms: number) => new Date(Math.floor(ms / 1000) * 1000);
