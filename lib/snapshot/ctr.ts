/** AES-256-CTR at any block of its key stream, by WebCrypto, which works beside the event loop. */
export class Ctr {
  readonly #key: CryptoKey;
  readonly #start: bigint;

  private constructor(key: CryptoKey, start: Uint8Array) {
    this.#key = key;
    this.#start = BigInt(`0x${new Uint8Array(start).toHex()}`);
  }

  /** `start` is the counter block that the stream begins with. */
  static async of(key: Uint8Array<ArrayBuffer>, start: Uint8Array = new Uint8Array(16)): Promise<Ctr> {
    return new Ctr(await crypto.subtle.importKey("raw", key, "AES-CTR", false, ["encrypt"]), start);
  }

  /**
   * `offset` in bytes, a multiple of 16. Encrypting and decrypting are the same. The work begins at the call, so what the
   * caller does before it waits for the result is done at the same time.
   */
  at(offset: number, data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const block = (this.#start + BigInt(offset / 16)) & ((1n << 128n) - 1n);
    const counter = Uint8Array.fromHex(block.toString(16).padStart(32, "0"));
    return crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, this.#key, data)
      .then((result) => new Uint8Array(result));
  }
}
