/** Keys of a v2 file: a random file key, wrapped for each recipient, and the keys derived from it. See DESIGN.md. */
import { createHmac, hkdfSync } from "node:crypto";
import type { Clock } from "../../ports.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const keyBytes = 32;
export const tagBytes = 32;

/** HKDF-SHA-512. Each use has its own `label`. */
export function derive(key: Bytes, salt: Bytes, label: string): Bytes {
  return new Uint8Array(hkdfSync("sha512", key, salt, new TextEncoder().encode(label), keyBytes));
}

/** The MACs of chunks that a header can name, each with the hash that node:crypto knows it by. */
const macHashes = { "HMAC-SHA-256": "sha256", "HMAC-SHA-512/256": "sha512-256" } as const;

export type MacName = keyof typeof macHashes;

/** That of the header itself, and of the chunks of a header that names none. */
export const headerMac: MacName = "HMAC-SHA-512/256";

export const isMacName = (name: string): name is MacName => Object.hasOwn(macHashes, name);

export function mac(name: MacName, key: Bytes, ...parts: Uint8Array[]): Bytes {
  const hmac = createHmac(macHashes[name], key);
  for (const part of parts) hmac.update(part);
  return new Uint8Array(hmac.digest());
}

const measuredBytes = 262_144;
const measurements = 3;
const fastest = new WeakMap<Pick<Clock, "monotonicMs">, MacName>();

/**
 * The faster MAC of this machine: HMAC-SHA-256 with the SHA extensions of the processor, else HMAC-SHA-512/256. Measures
 * both once per clock, for about 2 ms in total. HMAC-SHA-256 if the clock shows no difference.
 */
export function fastestMac(clock: Pick<Clock, "monotonicMs">): MacName {
  const known = fastest.get(clock);
  if (known !== undefined) return known;
  const data = new Uint8Array(measuredBytes);
  const key = new Uint8Array(keyBytes);
  const bestMs = (name: MacName) => {
    const tookMs = Array.from({ length: measurements }, () => {
      const fromMs = clock.monotonicMs();
      mac(name, key, data);
      return clock.monotonicMs() - fromMs;
    });
    return Math.min(...tookMs);
  };
  const name = bestMs("HMAC-SHA-256") <= bestMs("HMAC-SHA-512/256") ? "HMAC-SHA-256" : "HMAC-SHA-512/256";
  fastest.set(clock, name);
  return name;
}

/** The time does not depend on the position of the first difference. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  let difference = a.length ^ b.length;
  for (let at = 0; at < a.length; at++) difference |= a[at]! ^ (b[at] ?? 0);
  return difference === 0;
}

export interface WrappedKey {
  readonly id: string;
  readonly key: string;
}

const wrapping = (nonce = new Uint8Array(12)) => ({ name: "AES-GCM", iv: nonce });

export async function wrapKey(fileKey: Bytes, recipient: Bytes, salt: Bytes): Promise<WrappedKey> {
  const key = await wrappingKey(recipient, salt);
  const wrapped = new Uint8Array(await crypto.subtle.encrypt(wrapping(), key, fileKey));
  return { id: recipientId(recipient, salt), key: wrapped.toHex() };
}

/** Undefined: none of these keys opens the file. */
export async function unwrapKey(
  wrapped: readonly WrappedKey[],
  recipients: readonly Bytes[],
  salt: Bytes,
): Promise<Bytes | undefined> {
  for (const recipient of recipients) {
    const id = recipientId(recipient, salt);
    for (const each of wrapped.filter((one) => one.id === id)) {
      try {
        const key = await wrappingKey(recipient, salt);
        return new Uint8Array(await crypto.subtle.decrypt(wrapping(), key, Uint8Array.fromHex(each.key)));
      } catch {
        // Damaged, or the id matches by chance: another one may open it.
      }
    }
  }
  return undefined;
}

function recipientId(recipient: Bytes, salt: Bytes): string {
  return derive(recipient, salt, "e2d v2 id").slice(0, 8).toHex();
}

async function wrappingKey(recipient: Bytes, salt: Bytes): Promise<CryptoKey> {
  return await crypto.subtle.importKey("raw", derive(recipient, salt, "e2d v2 wrap"), "AES-GCM", false, [
    "encrypt",
    "decrypt",
  ]);
}
