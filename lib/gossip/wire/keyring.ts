import { sameBytes } from "../../bytes.ts";
import { E2dError } from "../../errors.ts";

/** The secret keys of a cluster. The first (primary) key encrypts, every key decrypts, so a key can be changed live. */
export class Keyring {
  #keys: Uint8Array[] = [];

  /** Throws E2dError `gossip_key` for a key that is not 16 or 32 bytes long, or when there is none. */
  constructor(keys: readonly Uint8Array[]) {
    for (const key of keys) this.add(key);
    if (this.#keys.length === 0) throw new E2dError("gossip_key", "Cannot create a keyring: it has no key");
  }

  /** The primary key first. */
  get keys(): readonly Uint8Array[] {
    return this.#keys;
  }

  get primary(): Uint8Array {
    return this.#keys[0]!;
  }

  /** Adds a key for decryption; a known key changes nothing. Throws E2dError `gossip_key` for another length. */
  add(key: Uint8Array): void {
    // memberlist also accepts 24 bytes (AES-192), which this platform's synchronous cipher does not support.
    if (![16, 32].includes(key.length)) {
      throw new E2dError("gossip_key", `Cannot use a gossip key of ${key.length} bytes`, {
        hint: "a gossip key has 16 or 32 bytes",
      });
    }
    if (!this.#keys.some((known) => sameBytes(known, key))) this.#keys = [...this.#keys, key.slice()];
  }

  /** Encrypts with this key from now on. Throws E2dError `gossip_key` when it has not been added. */
  usePrimary(key: Uint8Array): void {
    const known = this.#keys.find((candidate) => sameBytes(candidate, key));
    if (!known) {
      throw new E2dError("gossip_key", "Cannot encrypt with this gossip key: it is not in the keyring", {
        hint: "add the key on every node before any node uses it",
      });
    }
    this.#keys = [known, ...this.#keys.filter((candidate) => candidate !== known)];
  }

  /** Replaces all keys, the primary key first. Throws E2dError `gossip_key` as the constructor does. */
  replace(keys: readonly Uint8Array[]): void {
    this.#keys = [...new Keyring(keys).keys];
  }

  /** Removes a key; an unknown key changes nothing. Throws E2dError `gossip_key` for the primary key. */
  remove(key: Uint8Array): void {
    if (sameBytes(this.primary, key)) {
      throw new E2dError("gossip_key", "Cannot remove this gossip key: it is the primary key", {
        hint: "make another key primary first",
      });
    }
    this.#keys = this.#keys.filter((candidate) => !sameBytes(candidate, key));
  }
}
