/** AES-256-CTR at any block of its key stream, by WebCrypto, which does not block the event loop. */
export class Ctr {
  readonly #key: CryptoKey;
  readonly #start: bigint;

  private constructor(key: CryptoKey, start: Uint8Array) {
    this.#key = key;
    this.#start = BigInt(`0x${new Uint8Array(start).toHex()}`);
  }

  /** @param start counter block at offset 0 */
  static async of(key: Uint8Array<ArrayBuffer>, start: Uint8Array = new Uint8Array(16)): Promise<Ctr> {
    return new Ctr(await crypto.subtle.importKey("raw", key, "AES-CTR", false, ["encrypt"]), start);
  }

  /**
   * Encrypts or decrypts. The work begins at the call, in parallel to the caller's work before it awaits the result.
   *
   * @param offset of `data` in the stream, in bytes; a multiple of 16
   */
  at(offset: number, data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const block = (this.#start + BigInt(offset / 16)) & ((1n << 128n) - 1n);
    const counter = Uint8Array.fromHex(block.toString(16).padStart(32, "0"));
    return crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, this.#key, data)
      .then((result) => new Uint8Array(result));
  }
}
