/**
 * AES-GCM around packets and stream frames: version ‖ nonce (12) ‖ ciphertext ‖ tag (16). Version 1 seals the bytes as
 * they are, version 0 pads them to 16 first; a reader accepts both at any time.
 *
 * Uses the synchronous cipher: sealing a packet takes under 20 µs, six times less than a round through WebCrypto, it
 * keeps packets in order, and the largest stream of 2 MiB stays far below the 100 ms that nothing here may block.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { E2dError } from "../errors.ts";
import { joinBytes } from "./byte_writer.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** 1: as is, protocol version 2 and up. 0: padded, protocol version 1. */
export type SealVersion = 0 | 1;

export const nonceBytes = 12;
const tagBytes = 16;
const blockBytes = 16;
/** What sealing adds in version 1. Version 0 adds up to one block more. */
export const sealOverheadBytes = 1 + nonceBytes + tagBytes;

/** Bytes of the sealed form of `length` bytes; a stream frame says so before its content. */
export function sealedLength(length: number, version: SealVersion): number {
  return sealOverheadBytes + length + (version === 0 ? blockBytes - length % blockBytes : 0);
}

export interface SealOptions {
  key: Uint8Array;
  /** 12 bytes, never used before with this key. */
  nonce: Uint8Array;
  /** Authenticated, not sent: the label, the frame's first five bytes. */
  additional: Uint8Array;
  /** Default 1. */
  version?: SealVersion;
}

export function seal(plain: Uint8Array, { key, nonce, additional, version = 1 }: SealOptions): Bytes {
  const cipher = createCipheriv(algorithm(key), key, nonce);
  cipher.setAAD(additional);
  const padding = version === 0 ? blockBytes - plain.length % blockBytes : 0;
  const sealed = cipher.update(padding === 0 ? plain : joinBytes(plain, new Uint8Array(padding).fill(padding)));
  cipher.final();
  return joinBytes([version], nonce, sealed, cipher.getAuthTag());
}

/**
 * Opens with the first key that fits. Throws E2dError `gossip_sealed`: too short, an unknown version (also every packet
 * that is not sealed at all), or no key that authenticates it. An empty content is refused too, as no peer sends one.
 */
export function open(
  sealed: Uint8Array,
  { keys, additional }: { keys: readonly Uint8Array[]; additional: Uint8Array },
): Bytes {
  const version = sealed[0];
  if (version !== 0 && version !== 1) throw refused("its first byte is not an encryption version");
  const textBytes = sealed.length - sealOverheadBytes;
  if (textBytes < 1 || (version === 0 && textBytes % blockBytes !== 0)) {
    throw refused(`${sealed.length} bytes are no seal`);
  }
  const nonce = sealed.subarray(1, 1 + nonceBytes);
  const text = sealed.subarray(1 + nonceBytes, sealed.length - tagBytes);
  const tag = sealed.subarray(sealed.length - tagBytes);
  for (const key of keys) {
    const plain = tryKey(key, nonce, text, tag, additional);
    if (plain === undefined) continue;
    // The padding says how long it is in its last byte; Go does not look at the others either.
    const padding = version === 0 ? plain[plain.length - 1]! : 0;
    if (padding > blockBytes || padding >= plain.length || (version === 0 && padding === 0)) {
      throw refused("its padding is wrong");
    }
    return plain.slice(0, plain.length - padding);
  }
  throw refused("no key of this node opens it");
}

function tryKey(key: Uint8Array, nonce: Uint8Array, text: Uint8Array, tag: Uint8Array, additional: Uint8Array) {
  const cipher = createDecipheriv(algorithm(key), key, nonce);
  cipher.setAAD(additional);
  cipher.setAuthTag(tag);
  const plain = cipher.update(text);
  try {
    cipher.final();
  } catch {
    return undefined;
  }
  return new Uint8Array(plain.buffer as ArrayBuffer, plain.byteOffset, plain.length);
}

function algorithm(key: Uint8Array): "aes-128-gcm" | "aes-256-gcm" {
  return key.length === 16 ? "aes-128-gcm" : "aes-256-gcm";
}

const refused = (why: string) => new E2dError("gossip_sealed", `Cannot open sealed data: ${why}`);
