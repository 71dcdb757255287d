/** Keys of a v2 file: a random file key, wrapped for each recipient, and the keys derived from it. See DESIGN.md. */
import { createHmac, hkdfSync } from "node:crypto";
import { E2dError } from "../../errors.ts";

type Bytes = Uint8Array<ArrayBuffer>;

export const keyBytes = 32;
export const tagBytes = 32;

/** HKDF-SHA-512. Each use has its own `label`. */
export function derive(key: Bytes, salt: Bytes, label: string): Bytes {
  return new Uint8Array(hkdfSync("sha512", key, salt, new TextEncoder().encode(label), keyBytes));
}

export function mac(key: Bytes, ...parts: Uint8Array[]): Bytes {
  const hmac = createHmac("sha512-256", key);
  for (const part of parts) hmac.update(part);
  return new Uint8Array(hmac.digest());
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

/** Throws E2dError `snapshot_wrong_key` if none of these keys opens the file. */
export async function unwrapKey(
  wrapped: readonly WrappedKey[],
  recipients: readonly Bytes[],
  salt: Bytes,
): Promise<Bytes> {
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
  const why = recipients.length === 0 ? "it is sealed, and no key was given" : "it is sealed for other keys";
  throw new E2dError("snapshot_wrong_key", `Cannot open the snapshot: ${why}`, {
    hint: "pass --ca-key of the cluster that made it, or --snapshot-recipient with a key file it was sealed for",
  });
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
