/**
 * The cluster's secret: what gossip is sealed with, and snapshots of the original's format. It comes from the CA's
 * private key, so that every node that may issue certificates has it and nothing more must be handed out.
 */
import { createHash } from "node:crypto";
import { derTag, readDerList, readDerSequence } from "./der.ts";
import { readPem } from "./pem.ts";
import { type PemSource, type PrivateKey, readPrivateKey } from "./private_key.ts";

export interface SecretKey {
  /** 32 bytes. */
  bytes: Uint8Array<ArrayBuffer>;
  /**
   * Undefined when nodes of the Go original get the same secret from this very file; else a sentence that says why not
   * and what to do. They read nothing but a PKCS#1 RSA key in the first block.
   */
  goNodesCannot: string | undefined;
}

/**
 * SHA-512/256 over the DER of the PKCS#1 RSA key, as the original has it. An RSA key in PKCS#8 gives the same secret, for
 * it holds that DER: converting the file changes nothing. For other keys, which the original refuses, it is taken over
 * algorithm and secret number, whatever the container.
 *
 * Throws what {@link readPrivateKey} throws, most of all for a file that is no private key at all.
 */
export function secretKeyFromCaKey(pem: string, source: PemSource): SecretKey {
  const key = readPrivateKey(pem, source);
  const bytes = new Uint8Array(createHash("sha512-256").update(key.pkcs1 ?? secretPart(key)).digest());
  if (key.pkcs1 === undefined) {
    return {
      bytes,
      goNodesCannot: `${source.role} "${source.path}" is no RSA key: nodes of the Go original cannot use it`,
    };
  }
  const first = readPem(pem, `${source.role} "${source.path}"`)[0]!.bytes;
  const pkcs1 = key.pkcs1;
  if (first.length === pkcs1.length && first.every((byte, at) => byte === pkcs1[at])) {
    return { bytes, goNodesCannot: undefined };
  }
  return {
    bytes,
    goNodesCannot: `${source.role} "${source.path}" does not begin with a PKCS#1 key: nodes of the Go original need ` +
      `it as "openssl rsa -traditional" writes it`,
  };
}

/** Algorithm and secret of a PKCS#8 key, without what containers add or leave out (the curve again, the public point). */
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
