/** The fingerprint of the gossip key, which operators compare between nodes. */
import { createHash } from "node:crypto";

/**
 * 12 hexadecimal digits. Reveals nothing about the key: the prefix of a hash of 256 bits of key with a label that is used
 * only for this purpose.
 */
export function gossipKeyFingerprint(key: Uint8Array): string {
  return createHash("sha256").update("e2d gossip key fingerprint 1\0").update(key).digest("hex").slice(0, 12);
}
