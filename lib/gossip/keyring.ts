import { E2dError } from "../errors.ts";

/** The secret keys of a cluster. The first one seals, every one opens; so a key changes without dropping a node. */
export class Keyring {
  #keys: Uint8Array[] = [];

  /** Throws E2dError `gossip_key` for a key that is not 16 or 32 bytes long, or when there is none. */
  constructor(keys: readonly Uint8Array[]) {
    for (const key of keys) this.add(key);
    if (this.#keys.length === 0) throw new E2dError("gossip_key", "Cannot make a keyring: there is no key");
  }

  /** The sealing key first. */
  get keys(): readonly Uint8Array[] {
    return this.#keys;
  }

  get primary(): Uint8Array {
    return this.#keys[0]!;
  }

  /** Takes one more key to open with. Again is fine. */
  add(key: Uint8Array): void {
    // memberlist also takes 24 bytes (AES-192), which this platform's synchronous cipher does not have.
    if (![16, 32].includes(key.length)) {
      throw new E2dError("gossip_key", `Cannot use a gossip key of ${key.length} bytes`, {
        hint: "a gossip key has 16 or 32 bytes",
      });
    }
    if (!this.#keys.some((known) => equal(known, key))) this.#keys = [...this.#keys, key.slice()];
  }

  /** Seals with this key from now on. Throws E2dError `gossip_key` when it has not been added. */
  use(key: Uint8Array): void {
    const known = this.#keys.find((candidate) => equal(candidate, key));
    if (!known) {
      throw new E2dError("gossip_key", "Cannot seal with a key that is not in the keyring", {
        hint: "add the key on every node before any node uses it",
      });
    }
    this.#keys = [known, ...this.#keys.filter((candidate) => candidate !== known)];
  }

  /** These and no others from now on, the sealing key first. Throws E2dError `gossip_key` as the constructor does. */
  replace(keys: readonly Uint8Array[]): void {
    this.#keys = [...new Keyring(keys).keys];
  }

  /** Forgets a key. Throws E2dError `gossip_key` for the one that seals; one that is not there is forgotten already. */
  remove(key: Uint8Array): void {
    if (equal(this.primary, key)) {
      throw new E2dError("gossip_key", "Cannot remove the key that seals", { hint: "use another key first" });
    }
    this.#keys = this.#keys.filter((candidate) => !equal(candidate, key));
  }
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}
