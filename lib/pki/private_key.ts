/**
 * Private keys in the three usual containers: PKCS#1 (`RSA PRIVATE KEY`, the only one that the Go original reads and
 * writes), SEC1 (`EC PRIVATE KEY`) and PKCS#8 (`PRIVATE KEY`). The error for any other content names that content.
 */
import { E2dError, type E2dErrorOptions } from "../errors.ts";
import { DerError, derTag, readDerList, readDerSequence, readObjectId, writeDer } from "./der.ts";
import { type PemBlock, readPem, writePem } from "./pem.ts";

export type KeyAlgorithm =
  | { kind: "rsa"; bits: number }
  | { kind: "ecdsa"; curve: "P-256" | "P-384" }
  | { kind: "ed25519" };

export interface PrivateKey {
  algorithm: KeyAlgorithm;
  /** DER of the PKCS#8 container. */
  pkcs8: Uint8Array<ArrayBuffer>;
  /** DER of the PKCS#1 container; only RSA keys have one. */
  pkcs1: Uint8Array<ArrayBuffer> | undefined;
}

/** The name of a file in errors, and its path: `{ role: "CA key", path: "/etc/e2d/ca.key" }`. */
export interface PemSource {
  role: string;
  path: string;
}

/** The kinds of new keys. The Go original creates RSA 2048, which every tool reads. */
export type NewKeyKind = "rsa-2048" | "ecdsa-p256";

const oid = { rsa: "1.2.840.113549.1.1.1", ec: "1.2.840.10045.2.1", ed25519: "1.3.101.112" } as const;
const curveOfOid: Readonly<Record<string, "P-256" | "P-384">> = {
  "1.2.840.10045.3.1.7": "P-256",
  "1.3.132.0.34": "P-384",
};
const integerZero = new Uint8Array([derTag.integer, 1, 0]);
const oidRsaDer = new Uint8Array([0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]);
const oidEcDer = new Uint8Array([0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01]);
const nullDer = new Uint8Array([derTag.null, 0]);

/**
 * The one private key of a PEM text.
 *
 * Throws E2dError `pki_pem` (damaged PEM), `pki_key_missing` (no private key), `pki_key_is_certificate`,
 * `pki_key_encrypted`, `pki_key_unsupported` (another kind of key), `pki_key_damaged` or `pki_key_several`.
 */
export function readPrivateKey(text: string, source: PemSource): PrivateKey {
  const what = `${source.role} "${source.path}"`;
  const fail = (code: string, state: string, options: E2dErrorOptions = {}) =>
    new E2dError(code, `Cannot read ${what}: ${state}`, options);
  const blocks = readPem(text, what);
  // openssl writes the name of the curve in a block of its own before an EC key; the key contains it too.
  const keys = blocks.filter((block) => block.label.endsWith("PRIVATE KEY"));
  const key = keys[0];
  if (key === undefined) throw notAPrivateKeyError(blocks, text, source, fail);
  if (keys.length > 1) throw fail("pki_key_several", `the file holds ${keys.length} private keys, one is expected`);
  if (key.label === "ENCRYPTED PRIVATE KEY" || key.headers["Proc-Type"]?.includes("ENCRYPTED")) {
    throw fail("pki_key_encrypted", "the key is encrypted with a passphrase", {
      hint:
        `e2d starts unattended and needs a key without one: openssl pkey -in ${source.path} -out <plain>.key, with mode 0600`,
    });
  }
  try {
    switch (key.label) {
      case "RSA PRIVATE KEY":
        return fromPkcs1(key.bytes);
      case "EC PRIVATE KEY":
        return fromSec1(key.bytes);
      case "PRIVATE KEY":
        return fromPkcs8(key.bytes);
      default:
        throw new UnsupportedKey(`a block "${key.label}"`);
    }
  } catch (error) {
    if (error instanceof UnsupportedKey) {
      throw fail("pki_key_unsupported", `${error.message} is not supported`, {
        hint: "use an RSA key of 2048 bits or more, or ECDSA on P-256 or P-384",
      });
    }
    if (error instanceof DerError) throw fail("pki_key_damaged", error.message, { cause: error });
    throw error;
  }
}

/** The key as PEM: PKCS#1 for RSA, which the Go original can read, PKCS#8 for other keys. */
export function writePrivateKey(key: PrivateKey): string {
  return key.pkcs1 ? writePem("RSA PRIVATE KEY", key.pkcs1) : writePem("PRIVATE KEY", key.pkcs8);
}

/** Generates a key. WebCrypto works outside of the event loop's thread. */
export async function makePrivateKey(kind: NewKeyKind): Promise<PrivateKey> {
  const pair = await crypto.subtle.generateKey(
    kind === "rsa-2048"
      ? { ...rsaSignature, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) }
      : { name: "ECDSA", namedCurve: "P-256" },
    true,
    ["sign", "verify"],
  ) as CryptoKeyPair;
  return fromPkcs8(new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey)));
}

const rsaSignature = { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" } as const;

/** The parameters of WebCrypto for importing and signing. RSA and P-256 sign SHA-256, P-384 signs SHA-384. */
export function cryptoParameters(
  algorithm: KeyAlgorithm,
): { import: Algorithm & { namedCurve?: string; hash?: string }; sign: Algorithm & { hash?: string } } {
  switch (algorithm.kind) {
    case "rsa":
      return { import: { ...rsaSignature }, sign: { ...rsaSignature } };
    case "ecdsa":
      return {
        import: { name: "ECDSA", namedCurve: algorithm.curve },
        sign: { name: "ECDSA", hash: algorithm.curve === "P-256" ? "SHA-256" : "SHA-384" },
      };
    case "ed25519":
      return { import: { name: "Ed25519" }, sign: { name: "Ed25519" } };
    default:
      return algorithm satisfies never;
  }
}

/** Imports the key into WebCrypto as extractable. Throws E2dError `pki_key_damaged` when its numbers are inconsistent. */
export async function importPrivateKey(key: PrivateKey, source: PemSource): Promise<CryptoKey> {
  try {
    return await crypto.subtle.importKey("pkcs8", key.pkcs8, cryptoParameters(key.algorithm).import, true, ["sign"]);
  } catch (cause) {
    throw damagedKeyError(source, cause);
  }
}

function damagedKeyError(source: PemSource, cause: unknown): E2dError {
  return new E2dError(
    "pki_key_damaged",
    `Cannot use ${source.role} "${source.path}": the numbers of the key are inconsistent`,
    {
      hint: "restore the file from its backup",
      cause,
    },
  );
}

/**
 * DER of the public key, as in certificates. A trial signature verifies that both halves belong together: the import
 * alone accepts damaged numbers. Throws E2dError `pki_key_damaged`.
 */
export async function publicKeyOf(
  key: PrivateKey,
  source: PemSource = { role: "private key", path: "in memory" },
): Promise<Uint8Array<ArrayBuffer>> {
  const privateKey = await importPrivateKey(key, source);
  const { import: importAs, sign } = cryptoParameters(key.algorithm);
  try {
    const jwk = await crypto.subtle.exportKey("jwk", privateKey);
    for (const part of ["d", "p", "q", "dp", "dq", "qi"] as const) delete jwk[part];
    jwk.key_ops = ["verify"];
    const publicKey = await crypto.subtle.importKey("jwk", jwk, importAs, true, ["verify"]);
    const trial = new Uint8Array(32);
    const signature = await crypto.subtle.sign(sign, privateKey, trial);
    if (!await crypto.subtle.verify(sign, publicKey, signature, trial)) {
      throw new Error("a trial signature does not verify");
    }
    return new Uint8Array(await crypto.subtle.exportKey("spki", publicKey));
  } catch (cause) {
    throw damagedKeyError(source, cause);
  }
}

class UnsupportedKey extends Error {}

/** RFC 8017 appendix A.1.2: SEQUENCE { version 0, n, e, d, p, q, dP, dQ, qInv }. */
function fromPkcs1(der: Uint8Array<ArrayBuffer>): PrivateKey {
  const numbers = readDerSequence(der);
  const [version, modulus] = numbers;
  if (version?.tag !== derTag.integer || version.content.length !== 1) throw new DerError("the RSA key has no version");
  if (version.content[0] !== 0) throw new UnsupportedKey("an RSA key of more than two primes");
  if (numbers.length !== 9 || numbers.some((number) => number.tag !== derTag.integer)) {
    throw new DerError("the RSA key does not consist of nine numbers");
  }
  const bits = bitLength(modulus!.content);
  if (bits < 1024 || bits > 16_384) throw new UnsupportedKey(`an RSA key of ${bits} bits`);
  const algorithm = writeDer(derTag.sequence, oidRsaDer, nullDer);
  const pkcs8 = writeDer(derTag.sequence, integerZero, algorithm, writeDer(derTag.octetString, der));
  return { algorithm: { kind: "rsa", bits }, pkcs8, pkcs1: der };
}

/** RFC 5915: SEQUENCE { 1, the secret, [0] curve, [1] public point }; the curve is optional only inside PKCS#8. */
function fromSec1(der: Uint8Array<ArrayBuffer>): PrivateKey {
  const members = readDerSequence(der);
  const named = members.find((member) => member.tag === 0xa0);
  if (members[1]?.tag !== derTag.octetString) throw new DerError("the EC key has no secret");
  if (named === undefined) throw new DerError("the EC key does not name its curve");
  const curve = readDerList(named.content)[0];
  if (curve?.tag !== derTag.objectId) throw new UnsupportedKey("an EC key with explicit curve parameters");
  const algorithm = writeDer(derTag.sequence, oidEcDer, curve.encoded);
  return fromPkcs8(writeDer(derTag.sequence, integerZero, algorithm, writeDer(derTag.octetString, der)));
}

/** RFC 5958: SEQUENCE { version, SEQUENCE { algorithm, parameters }, OCTET STRING { the key }, … }. */
function fromPkcs8(der: Uint8Array<ArrayBuffer>): PrivateKey {
  const [version, algorithm, inner] = readDerSequence(der);
  if (version?.tag !== derTag.integer || algorithm?.tag !== derTag.sequence || inner?.tag !== derTag.octetString) {
    throw new DerError("the structure is not a PKCS#8 key");
  }
  const [id, parameters] = readDerList(algorithm.content);
  if (id?.tag !== derTag.objectId) throw new DerError("the key does not name its algorithm");
  const name = readObjectId(id.content);
  switch (name) {
    case oid.rsa:
      // The copy does not keep the whole buffer alive.
      return { ...fromPkcs1(inner.content.slice()), pkcs8: der };
    case oid.ec: {
      if (parameters?.tag !== derTag.objectId) throw new UnsupportedKey("an EC key with explicit curve parameters");
      const curveName = readObjectId(parameters.content);
      const curve = curveOfOid[curveName];
      if (curve === undefined) throw new UnsupportedKey(`an EC key on the curve ${curveName}`);
      return { algorithm: { kind: "ecdsa", curve }, pkcs8: der, pkcs1: undefined };
    }
    case oid.ed25519:
      return { algorithm: { kind: "ed25519" }, pkcs8: der, pkcs1: undefined };
    default:
      throw new UnsupportedKey(`a key of the algorithm ${name}`);
  }
}

function bitLength(integer: Uint8Array): number {
  const start = integer.findIndex((byte) => byte !== 0);
  if (start < 0) return 0;
  return (integer.length - start) * 8 - Math.clz32(integer[start]!) + 24;
}

/** The error for a file without a private key; it names the file's content. */
function notAPrivateKeyError(
  blocks: readonly PemBlock[],
  text: string,
  source: PemSource,
  fail: (code: string, state: string, options?: E2dErrorOptions) => E2dError,
): E2dError {
  const labels = new Set(blocks.map((block) => block.label));
  if (labels.has("CERTIFICATE")) {
    return fail("pki_key_is_certificate", "the file holds a certificate, not a private key", {
      hint: `the key is usually in "${likelyKeyPath(source.path)}"`,
    });
  }
  if (labels.has("PUBLIC KEY") || labels.has("RSA PUBLIC KEY")) {
    return fail("pki_key_missing", "the file holds a public key, not a private one");
  }
  if (labels.has("CERTIFICATE REQUEST")) {
    return fail("pki_key_missing", "the file holds a certificate request, not a private key");
  }
  if (blocks.length > 0) return fail("pki_key_missing", `the file holds ${[...labels].join(", ")}, not a private key`);
  if (text.trim() === "") return fail("pki_key_missing", "the file is empty");
  return fail("pki_key_missing", "the file holds no PEM block", {
    hint: `if it is DER: openssl pkey -inform DER -in ${source.path} -out <file>.key`,
  });
}

/** "ca.key" for "ca.crt": the usual path of a certificate's key. */
export function likelyKeyPath(certificatePath: string): string {
  const stem = certificatePath.replace(/\.(crt|cert|cer|pem)$/i, "");
  return `${stem}.key`;
}
