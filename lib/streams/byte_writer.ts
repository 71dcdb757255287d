/** A buffer for binary formats that grows as it is written. */
type Bytes = Uint8Array<ArrayBuffer>;

/** Integers are big-endian. */
export class ByteWriter {
  #bytes: Bytes;
  #length = 0;

  constructor(capacity = 256) {
    this.#bytes = new Uint8Array(capacity);
  }

  get length(): number {
    return this.#length;
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** `width` bytes of a non-negative integer below 2^53. */
  integer(value: number, width: number): void {
    this.#reserve(width);
    for (let at = this.#length + width - 1; at >= this.#length; at--) {
      this.#bytes[at] = value % 256;
      value = Math.floor(value / 256);
    }
    this.#length += width;
  }

  bytes(data: Uint8Array): void {
    this.#reserve(data.length);
    this.#bytes.set(data, this.#length);
    this.#length += data.length;
  }

  /** A copy of the written bytes. */
  finish(): Bytes {
    return this.#bytes.slice(0, this.#length);
  }

  #reserve(count: number): void {
    if (this.#length + count <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(this.#bytes.length * 2, this.#length + count));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
  }
}
