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
  readonly #byKey = new Map<string, Waiting>();
  /** The same, the most urgent first: sorting anew for each packet would cost a large cluster most of its time. */
  #sorted: Waiting[] = [];
  #order = 0;

  get length(): number {
    return this.#byKey.size;
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** Queues an encoded message; one under the same key is out of date and goes. */
  add(key: string, bytes: Bytes): void {
    this.delete(key);
    const entry = { key, bytes, transmits: 0, order: this.#order++ };
    this.#byKey.set(key, entry);
    this.#sorted.splice(placeOf(entry, this.#sorted), 0, entry);
  }

  delete(key: string): void {
    const entry = this.#byKey.get(key);
    if (entry === undefined) return;
    this.#byKey.delete(key);
    this.#sorted.splice(placeOf(entry, this.#sorted), 1);
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
    const taken: Waiting[] = [];
    const passed: Waiting[] = [];
    let left = bytesMax;
    let at = 0;
    for (; at < this.#sorted.length && taken.length < count && left > overheadBytes; at++) {
      const entry = this.#sorted[at]!;
      const cost = entry.bytes.length + overheadBytes;
      if (cost > left) {
        passed.push(entry);
        continue;
      }
      left -= cost;
      taken.push(entry);
    }
    if (taken.length === 0) return [];
    this.#sorted = passed.concat(this.#sorted.slice(at));
    for (const entry of taken) {
      if (++entry.transmits >= transmitsMax) this.#byKey.delete(entry.key);
      else this.#sorted.splice(placeOf(entry, this.#sorted), 0, entry);
    }
    return taken.map(({ bytes }) => bytes);
  }
}

function urgency(a: Waiting, b: Waiting): number {
  return a.transmits - b.transmits || b.bytes.length - a.bytes.length || b.order - a.order;
}

/** Where the entry stands in the sorted list, or would stand. */
function placeOf(entry: Waiting, sorted: readonly Waiting[]): number {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (urgency(sorted[middle]!, entry) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
