/**
 * Authentication of manifests, see DESIGN.md: for each recipient of the snapshot a MAC over all other fields and a keyed
 * checksum of the plain database. Write access to the store is then not enough to create a manifest that a cluster with
 * encryption trusts. A MAC proves the origin of a manifest, not that it is the newest.
 */
import { createHmac } from "node:crypto";
import { derive, equalInConstantTime, keyBytes } from "./format/keys.ts";
import type { Manifest, ManifestTag } from "./manifest.ts";

type Bytes = Uint8Array<ArrayBuffer>;

const idBytes = 8;

/** The manifest of a sealed snapshot: the tags contain the keyed checksum of the plain database, which is removed. */
export function authenticateManifest(
  manifest: Manifest & { readonly plainSha256: string },
  recipients: readonly Bytes[],
  randomBytes: (length: number) => Bytes,
): Manifest {
  const { plainSha256, authentication: _, ...fields } = manifest;
  const salt = randomBytes(keyBytes);
  const tags = recipients.map((recipient) => {
    const id = idOf(recipient, salt);
    const plain = plainTag(recipient, salt, plainSha256);
    return { id, plain, mac: macOf(recipient, salt, fields, { id, plain }) };
  });
  return { ...fields, authentication: { salt: salt.toHex(), tags } };
}

/** True if a tag of the manifest verifies under one of these keys. */
export function isAuthentic(manifest: Manifest, keys: readonly Bytes[]): boolean {
  const { authentication, ...fields } = manifest;
  if (authentication === undefined) return false;
  const salt = Uint8Array.fromHex(authentication.salt);
  return keys.some((key) => {
    const id = idOf(key, salt);
    return authentication.tags.some((tag) => tag.id === id && sameHex(tag.mac, macOf(key, salt, fields, tag)));
  });
}

/** True if a tag was created for one of these keys, valid or not. */
export function keyFits({ authentication }: Manifest, keys: readonly Bytes[]): boolean {
  if (authentication === undefined) return false;
  const salt = Uint8Array.fromHex(authentication.salt);
  return keys.some((key) => authentication.tags.some(({ id }) => id === idOf(key, salt)));
}

/** True if the checksum of the database is that of the manifest, verified under one of these keys. */
export function plainSumFits(manifest: Manifest, sha256: string, keys: readonly Bytes[]): boolean {
  const { authentication, plainSha256 } = manifest;
  if (plainSha256 !== undefined) return sameHex(plainSha256, sha256);
  if (authentication === undefined) return false;
  const salt = Uint8Array.fromHex(authentication.salt);
  return keys.some((key) => {
    const id = idOf(key, salt);
    return authentication.tags.some((tag) => tag.id === id && sameHex(tag.plain, plainTag(key, salt, sha256)));
  });
}

const idOf = (key: Bytes, salt: Bytes) => derive(key, salt, "e2d manifest id").slice(0, idBytes).toHex();

function plainTag(key: Bytes, salt: Bytes, sha256: string): string {
  return hmac(derive(key, salt, "e2d manifest plain"), Uint8Array.fromHex(sha256));
}

function macOf(
  key: Bytes,
  salt: Bytes,
  fields: Omit<Manifest, "authentication">,
  { id, plain }: Pick<ManifestTag, "id" | "plain">,
): string {
  const text = canonicalJson({ ...fields, authentication: { salt: salt.toHex(), id, plain } });
  return hmac(derive(key, salt, "e2d manifest mac"), new TextEncoder().encode(text));
}

function hmac(key: Bytes, data: Uint8Array): string {
  return createHmac("sha256", key).update(data).digest("hex");
}

const sameHex = (a: string, b: string) => equalInConstantTime(new TextEncoder().encode(a), new TextEncoder().encode(b));

/** Equal text for equal values: no blanks, names sorted, undefined fields omitted. */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const fields = Object.entries(value).filter(([, each]) => each !== undefined);
  fields.sort(([a], [b]) => a < b ? -1 : 1);
  return `{${fields.map(([name, each]) => `${JSON.stringify(name)}:${canonicalJson(each)}`).join(",")}}`;
}
