/**
 * Recipients whose private key is on no node: age's X25519 keys (`age1…`). The file key is wrapped as a whole age file, so
 * that `age -d` opens it, too. Owns the use of `age-encryption`, the library of age's author; it loads only with such keys.
 * Its ephemeral key comes from the library's own random source. @noble/curves alone would be 0.7 MB smaller, and leave
 * the protocol to this project.
 */
import { E2dError } from "../../errors.ts";
import { keyBytes } from "./keys.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** Of a wrapped key for such a recipient. It tells nothing of the recipient. */
export const ageId = "age";

/** Bech32 of 32 bytes: the X25519 keys of age, and not those of its plugins. */
const recipientForm = /^age1[02-9ac-hj-np-z]{58}$/;
const identityForm = /^AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}$/;

/** Of the text alone; its checksum is verified when it is used. */
export const isAgeRecipient = (text: string): boolean => recipientForm.test(text);

/** Throws E2dError `recipient_key` for an invalid recipient. */
export async function wrapForAge(fileKey: Bytes, recipient: string): Promise<{ id: string; key: string }> {
  const { Encrypter } = await import("age-encryption");
  const encrypter = new Encrypter();
  try {
    if (!isAgeRecipient(recipient)) throw new Error("it is no X25519 recipient");
    encrypter.addRecipient(recipient);
  } catch (cause) {
    throw new E2dError("recipient_key", `Cannot use --snapshot-recipient "${recipient}": it is not valid`, {
      cause,
      hint: "pass the public key that age-keygen prints",
    });
  }
  return { id: ageId, key: (await encrypter.encrypt(fileKey)).toHex() };
}

/** Undefined: none of the wrapped keys is for one of these identities, which must be valid. */
export async function unwrapByAge(
  wrapped: readonly string[],
  identities: readonly string[],
): Promise<Bytes | undefined> {
  if (wrapped.length === 0 || identities.length === 0) return undefined;
  const { Decrypter } = await import("age-encryption");
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  for (const key of wrapped) {
    try {
      const fileKey = await decrypter.decrypt(Uint8Array.fromHex(key));
      if (fileKey.length === keyBytes) return new Uint8Array(fileKey);
    } catch {
      // Damaged, or for another identity: another one may open it.
    }
  }
  return undefined;
}

/** The identities in a file of age-keygen. Throws an Error that names the line, and never its text. */
export async function parseIdentities(text: string): Promise<string[]> {
  const lines = text.split("\n").map((line, at) => ({ line: line.trim(), number: at + 1 }));
  const identities = lines.filter(({ line }) => line !== "" && !line.startsWith("#"));
  const { identityToRecipient } = await import("age-encryption");
  for (const { line, number } of identities) {
    const valid = identityForm.test(line) && await identityToRecipient(line).then(() => true, () => false);
    if (!valid) throw new Error(`line ${number} is no X25519 identity`);
  }
  if (identities.length === 0) throw new Error("it has no identity");
  return identities.map(({ line }) => line);
}
