/**
 * What waits to be gossiped. A message goes out a bounded number of times; those that went out least come first, among
 * them the larger, among those the newer.
 */
type Bytes = Uint8Array<ArrayBuffer>;

interface Waiting {
  key: string;
  bytes: Bytes;
  transmits: number;
  order: number;
}

export class BroadcastQueue {
  readonly #waiting = new Map<string, Waiting>();
  #order = 0;

  get length(): number {
    return this.#waiting.size;
  }

  has(key: string): boolean {
    return this.#waiting.has(key);
  }

  /** Queues an encoded message; one under the same key is out of date and goes. */
  add(key: string, bytes: Bytes): void {
    this.#waiting.set(key, { key, bytes, transmits: 0, order: this.#order++ });
  }

  delete(key: string): void {
    this.#waiting.delete(key);
  }

  /**
   * Messages for one packet: at most `count`, together no more than `bytesMax` with `overheadBytes` each. Each is sent
   * once more; the one that has been sent `transmitsMax` times is done.
   */
  take(bytesMax: number, { overheadBytes, transmitsMax, count }: {
    overheadBytes: number;
    transmitsMax: number;
    count: number;
  }): Bytes[] {
    if (this.#waiting.size === 0) return [];
    const taken: Bytes[] = [];
    let left = bytesMax;
    for (const entry of [...this.#waiting.values()].sort(urgency)) {
      if (taken.length >= count) break;
      const cost = entry.bytes.length + overheadBytes;
      if (cost > left) continue;
      left -= cost;
      taken.push(entry.bytes);
      if (++entry.transmits >= transmitsMax) this.#waiting.delete(entry.key);
    }
    return taken;
  }
}

function urgency(a: Waiting, b: Waiting): number {
  return a.transmits - b.transmits || b.bytes.length - a.bytes.length || b.order - a.order;
}
