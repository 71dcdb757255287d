/** AES-256-CTR at any block of its key stream, by WebCrypto, which works beside the event loop. */
export class Ctr {
  readonly #key: Promise<CryptoKey>;
  readonly #start: bigint;

  /** `start` is the counter block that the stream begins with. */
  constructor(key: Uint8Array<ArrayBuffer>, start: Uint8Array = new Uint8Array(16)) {
    this.#key = crypto.subtle.importKey("raw", key, "AES-CTR", false, ["encrypt"]);
    this.#key.catch(() => {});
    this.#start = BigInt(`0x${new Uint8Array(start).toHex()}`);
  }

  /** `offset` in bytes, a multiple of 16. Encrypting and decrypting are the same. */
  async at(offset: number, data: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
    const block = (this.#start + BigInt(offset / 16)) & ((1n << 128n) - 1n);
    const counter = Uint8Array.fromHex(block.toString(16).padStart(32, "0"));
    return new Uint8Array(
      await crypto.subtle.encrypt({ name: "AES-CTR", counter, length: 128 }, await this.#key, data),
    );
  }
}
