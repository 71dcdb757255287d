/**
 * AES-GCM encryption of packets and stream frames: version ‖ nonce (12) ‖ ciphertext ‖ tag (16). Version 1 encrypts the
 * bytes unchanged, version 0 pads them to a multiple of 16 first; a reader accepts both at any time.
 *
 * Uses the synchronous cipher: a packet takes under 20 µs, a sixth of a WebCrypto call, packets stay in order, and the
 * largest stream (2 MiB) stays far below the limit of 100 ms for blocking the event loop.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { E2dError } from "../../errors.ts";
import { concat } from "../../bytes.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** 1: unpadded, protocol version 2 and up. 0: padded, protocol version 1. */
export type SealVersion = 0 | 1;

export const nonceBytes = 12;
const tagBytes = 16;
const blockBytes = 16;
/** Bytes that version 1 adds. Version 0 adds up to one block more. */
export const sealOverheadBytes = 1 + nonceBytes + tagBytes;

/** Bytes of the sealed form of `length` bytes, for the header of a stream frame. */
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
  const sealed = cipher.update(padding === 0 ? plain : concat(plain, new Uint8Array(padding).fill(padding)));
  cipher.final();
  return concat([version], nonce, sealed, cipher.getAuthTag());
}

/**
 * Decrypts with the first key that authenticates the data. Throws E2dError `gossip_sealed` for data that is too short,
 * for an unknown version (also for data that is not sealed), and when no key authenticates it. Empty content is refused
 * too: no peer sends it.
 */
export function open(
  sealed: Uint8Array,
  { keys, additional }: { keys: readonly Uint8Array[]; additional: Uint8Array },
): Bytes {
  const version = sealed[0];
  if (version !== 0 && version !== 1) throw refused("its first byte is not an encryption version");
  const textBytes = sealed.length - sealOverheadBytes;
  if (textBytes < 1 || (version === 0 && textBytes % blockBytes !== 0)) {
    throw refused(`${sealed.length} bytes are not the length of a seal`);
  }
  const nonce = sealed.subarray(1, 1 + nonceBytes);
  const text = sealed.subarray(1 + nonceBytes, sealed.length - tagBytes);
  const tag = sealed.subarray(sealed.length - tagBytes);
  for (const key of keys) {
    const plain = tryKey(key, nonce, text, tag, additional);
    if (plain === undefined) continue;
    // The last byte is the length of the padding; Go does not check the other bytes either.
    const padding = version === 0 ? plain[plain.length - 1]! : 0;
    if (padding > blockBytes || padding >= plain.length || (version === 0 && padding === 0)) {
      throw refused("its padding is wrong");
    }
    return plain.slice(0, plain.length - padding);
  }
  throw refused("no gossip key of this node decrypts it");
}

/** True for bytes with the form of a seal, with any key. */
export function looksSealed(data: Uint8Array): boolean {
  const textBytes = data.length - sealOverheadBytes;
  return textBytes >= 1 && (data[0] === 1 || data[0] === 0 && textBytes % blockBytes === 0);
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
