/**
 * The cluster's secret key, which encrypts gossip and snapshots in the Go original's format. It is derived from the CA's
 * private key, so that every node with the CA key has it and no further secret must be distributed.
 */
import { createHash } from "node:crypto";
import { derTag, readDerList, readDerSequence } from "./der.ts";
import { readPem } from "./pem.ts";
import { type PemSource, type PrivateKey, readPrivateKey } from "./private_key.ts";

export interface SecretKey {
  /** 32 bytes. */
  bytes: Uint8Array<ArrayBuffer>;
  /**
   * Undefined when legacy (Go) peers derive the same secret from this file; else a sentence with the reason and the
   * remedy. Legacy peers read only a PKCS#1 RSA key in the first block.
   */
  legacyPeerProblem: string | undefined;
}

/**
 * SHA-512/256 of the DER of the PKCS#1 RSA key, as in the Go original. An RSA key in PKCS#8 yields the same secret,
 * because it contains that DER. For other keys, which the Go original refuses, the hash covers the algorithm and the
 * secret number, independent of the container.
 *
 * Throws what {@link readPrivateKey} throws.
 */
export function secretKeyFromCaKey(pem: string, source: PemSource): SecretKey {
  const key = readPrivateKey(pem, source);
  const bytes = new Uint8Array(createHash("sha512-256").update(key.pkcs1 ?? secretPart(key)).digest());
  if (key.pkcs1 === undefined) {
    return {
      bytes,
      legacyPeerProblem: `${source.role} "${source.path}" is not an RSA key: Go nodes cannot use it`,
    };
  }
  const first = readPem(pem, `${source.role} "${source.path}"`)[0]!.bytes;
  const pkcs1 = key.pkcs1;
  if (first.length === pkcs1.length && first.every((byte, at) => byte === pkcs1[at])) {
    return { bytes, legacyPeerProblem: undefined };
  }
  return {
    bytes,
    legacyPeerProblem: `${source.role} "${source.path}" does not begin with a PKCS#1 key: Go nodes need ` +
      `the format of "openssl rsa -traditional"`,
  };
}

/** Algorithm and secret of a PKCS#8 key, without the optional parts of containers (second curve, public point). */
function secretPart(key: PrivateKey): Uint8Array<ArrayBuffer> {
  const [, algorithm, inner] = readDerSequence(key.pkcs8);
  const content = readDerList(inner!.content)[0]!;
  const secret = content.tag === derTag.sequence
    ? readDerSequence(content.encoded).find((member) => member.tag === derTag.octetString)!
    : content;
  const part = new Uint8Array(algorithm!.encoded.length + secret.content.length);
  part.set(algorithm!.encoded);
  part.set(secret.content, algorithm!.encoded.length);
  return part;
}
