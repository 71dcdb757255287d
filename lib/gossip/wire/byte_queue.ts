type Bytes = Uint8Array<ArrayBuffer>;

/** A buffer of received bytes until a decoder consumes them. Appending has amortised constant cost per byte. */
export class ByteQueue {
  #buffer: Bytes = new Uint8Array(0);
  #start = 0;
  #end = 0;

  get length(): number {
    return this.#end - this.#start;
  }

  append(data: Uint8Array): void {
    if (this.#end + data.length > this.#buffer.length) {
      const live = this.length;
      const grown = new Uint8Array(Math.max(live * 2, live + data.length));
      grown.set(this.view());
      this.#buffer = grown;
      this.#start = 0;
      this.#end = live;
    }
    this.#buffer.set(data, this.#end);
    this.#end += data.length;
  }

  /** All unconsumed bytes; valid until the next append. */
  view(): Bytes {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  consume(count: number): void {
    this.#start += count;
  }
}
