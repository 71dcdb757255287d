/** Reads certificates into plain values for checks and reports. It only reads; issue.ts creates certificates. */
import type * as library from "@peculiar/x509";
import { E2dError } from "../errors.ts";
import { type Host, parseIp } from "./host.ts";
import { readPem, writePem } from "./pem.ts";
import type { PemSource } from "./private_key.ts";
import { x509Library } from "./x509.ts";

/** Extended key usages. Other usages appear as their object identifiers. */
export type CertificateUsage = "server auth" | "client auth" | string;

export interface Certificate {
  der: Uint8Array<ArrayBuffer>;
  /** "C=US, ST=Boston, L=MA, CN=etcd server". */
  subject: string;
  issuer: string;
  /** The encoded names: Go, and so etcd, compares issuer and subject byte by byte. */
  subjectDer: Uint8Array<ArrayBuffer>;
  issuerDer: Uint8Array<ArrayBuffer>;
  /** The last common name of the subject; "" without one. */
  commonName: string;
  /** Hexadecimal, without leading zeros. */
  serial: string;
  notBeforeMs: number;
  notAfterMs: number;
  /** May sign certificates: the basic constraints say CA, and the key usages, if present, include certificate signing. */
  isAuthority: boolean;
  /** Undefined: not restricted. */
  usages: readonly CertificateUsage[] | undefined;
  /** Subject alternative names, the only names that a TLS client checks. */
  names: readonly Host[];
  /** DER of the public key (SubjectPublicKeyInfo). */
  publicKey: Uint8Array<ArrayBuffer>;
  keyKind: "rsa" | "ecdsa" | "other";
  /** SHA-256 of the DER, hexadecimal: the identity of the certificate. */
  fingerprint: string;
}

/** Far above any CA bundle; the bound limits the time that a wrong file can take. */
const bundleCertificatesMax = 200;

const usageNames: Readonly<Record<string, CertificateUsage>> = {
  "1.3.6.1.5.5.7.3.1": "server auth",
  "1.3.6.1.5.5.7.3.2": "client auth",
};

const keyKinds: Readonly<Record<string, Certificate["keyKind"]>> = { "RSASSA-PKCS1-v1_5": "rsa", ECDSA: "ecdsa" };

/**
 * All certificates of a PEM text in order; at least one.
 *
 * Throws E2dError `pki_pem`, `pki_certificate_missing`, `pki_certificate_is_key` or `pki_certificate_damaged`.
 */
export async function readCertificates(text: string, source: PemSource): Promise<[Certificate, ...Certificate[]]> {
  const what = `${source.role} "${source.path}"`;
  const blocks = readPem(text, what);
  const found = blocks.filter((block) => block.label === "CERTIFICATE" || block.label === "X509 CERTIFICATE");
  if (found.length === 0) {
    if (blocks.some((block) => block.label.endsWith("PRIVATE KEY"))) {
      throw new E2dError(
        "pki_certificate_is_key",
        `Cannot read ${what}: the file holds a private key, not a certificate`,
        {
          hint: `the certificate is usually in "${source.path.replace(/\.(key|pem)$/i, "")}.crt"`,
        },
      );
    }
    throw new E2dError("pki_certificate_missing", `Cannot read ${what}: the file holds no certificate`);
  }
  if (found.length > bundleCertificatesMax) {
    throw new E2dError("pki_pem", `Cannot read ${what}: it holds more than ${bundleCertificatesMax} certificates`);
  }
  const certificates: Certificate[] = [];
  for (const block of found) certificates.push(await readCertificateDer(block.bytes, what));
  return certificates as [Certificate, ...Certificate[]];
}

/** Certificates as PEM, one after another. */
export function writeCertificates(certificates: readonly Pick<Certificate, "der">[]): string {
  return certificates.map((certificate) => writePem("CERTIFICATE", certificate.der)).join("");
}

/** True when the extended key usages allow this use. */
export function allowsUsage(certificate: Pick<Certificate, "usages">, usage: "server auth" | "client auth"): boolean {
  // 2.5.29.37.0 is anyExtendedKeyUsage.
  return certificate.usages === undefined || certificate.usages.some((u) => u === usage || u === "2.5.29.37.0");
}

async function readCertificateDer(der: Uint8Array<ArrayBuffer>, what: string): Promise<Certificate> {
  const x509 = await x509Library();
  try {
    // The library parses extensions on access, so all accesses that can fail are here.
    const parsed = new x509.X509Certificate(der);
    const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", der));
    const extended = parsed.getExtension(x509.ExtendedKeyUsageExtension);
    const facts: Certificate = {
      der,
      subject: parsed.subject,
      issuer: parsed.issuer,
      subjectDer: new Uint8Array(parsed.subjectName.toArrayBuffer()),
      issuerDer: new Uint8Array(parsed.issuerName.toArrayBuffer()),
      commonName: parsed.subjectName.getField("CN").at(-1) ?? "",
      serial: parsed.serialNumber.replace(/^0+(?=.)/, ""),
      notBeforeMs: parsed.notBefore.getTime(),
      notAfterMs: parsed.notAfter.getTime(),
      isAuthority: isAuthority(x509, parsed),
      usages: extended === null
        ? undefined
        : Array.from(extended.usages, (usage) => usageNames[String(usage)] ?? String(usage)),
      names: hostNames(x509, parsed),
      publicKey: new Uint8Array(parsed.publicKey.rawData),
      keyKind: keyKinds[parsed.publicKey.algorithm.name] ?? "other",
      fingerprint: digest.toHex(),
    };
    if (!Number.isFinite(facts.notBeforeMs) || !Number.isFinite(facts.notAfterMs)) throw new Error("no validity");
    return facts;
  } catch (cause) {
    throw new E2dError("pki_certificate_damaged", `Cannot read ${what}: the certificate is damaged`, { cause });
  }
}

function isAuthority(x509: typeof library, parsed: library.X509Certificate): boolean {
  const constraints = parsed.getExtension(x509.BasicConstraintsExtension);
  const usages = parsed.getExtension(x509.KeyUsagesExtension);
  return constraints?.ca === true && (usages === null || (usages.usages & x509.KeyUsageFlags.keyCertSign) !== 0);
}

function hostNames(x509: typeof library, parsed: library.X509Certificate): Host[] {
  const extension = parsed.getExtension(x509.SubjectAlternativeNameExtension);
  const names: Host[] = [];
  for (const name of extension?.names.items ?? []) {
    if (name.type === "dns") names.push({ kind: "dns", name: name.value.toLowerCase() });
    if (name.type === "ip") {
      const text = parseIp(name.value);
      if (text !== undefined) names.push({ kind: "ip", text });
    }
  }
  return names;
}
