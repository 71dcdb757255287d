/**
 * Messages that wait to be gossiped. Each is sent a bounded number of times. The order: fewest transmissions first, then
 * the larger message, then the newer one, as in memberlist's TransmitLimitedQueue.
 */
type Bytes = Uint8Array<ArrayBuffer>;

interface QueuedBroadcast {
  key: string;
  bytes: Bytes;
  transmits: number;
  order: number;
}

export class BroadcastQueue {
  readonly #byKey = new Map<string, QueuedBroadcast>();
  /** The same entries, most urgent first. Kept sorted: sorting for each packet would dominate the CPU of a large cluster. */
  #sorted: QueuedBroadcast[] = [];
  #order = 0;

  get length(): number {
    return this.#byKey.size;
  }

  has(key: string): boolean {
    return this.#byKey.has(key);
  }

  /** Queues an encoded message; it replaces a message with the same key. */
  add(key: string, bytes: Bytes): void {
    this.delete(key);
    const entry = { key, bytes, transmits: 0, order: this.#order++ };
    this.#byKey.set(key, entry);
    this.#sorted.splice(insertionIndex(entry, this.#sorted), 0, entry);
  }

  delete(key: string): void {
    const entry = this.#byKey.get(key);
    if (entry === undefined) return;
    this.#byKey.delete(key);
    this.#sorted.splice(insertionIndex(entry, this.#sorted), 1);
  }

  /**
   * Takes messages for one packet: at most `count`, together at most `bytesMax` bytes including `overheadBytes` for each.
   * A message leaves the queue after `transmitsMax` transmissions.
   */
  take(bytesMax: number, { overheadBytes, transmitsMax, count }: {
    overheadBytes: number;
    transmitsMax: number;
    count: number;
  }): Bytes[] {
    const taken: QueuedBroadcast[] = [];
    const passed: QueuedBroadcast[] = [];
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
      else this.#sorted.splice(insertionIndex(entry, this.#sorted), 0, entry);
    }
    return taken.map(({ bytes }) => bytes);
  }
}

function compareUrgency(a: QueuedBroadcast, b: QueuedBroadcast): number {
  return a.transmits - b.transmits || b.bytes.length - a.bytes.length || b.order - a.order;
}

/** The index of the entry in the sorted list, or the index to insert it at. */
function insertionIndex(entry: QueuedBroadcast, sorted: readonly QueuedBroadcast[]): number {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareUrgency(sorted[middle]!, entry) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
